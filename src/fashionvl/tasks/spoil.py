"""Spoil words and patches, and say what is asked of them (Kaleido-BERT section 3.6, and its family).

The family asks other things of the same pairs: MLM and ITM are the same everywhere, OSCAR swaps and hides tags too
(tags.py), and those that read regions ask about regions (regions.py) where Kaleido-BERT plays puzzles.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Generator, Tensor

from fashionvl import masking, puzzles
from fashionvl.alignment import NONE, Aligned
from fashionvl.batches import Batch, Pictures, moved, trimmed
from fashionvl.patches.pyramid import Layout, Pyramid, Regions
from fashionvl.patches.store import Store
from fashionvl.tasks import regions
from fashionvl.tasks.pairs import Chance, Pairs, Shop, by_length, draw_epoch
from fashionvl.words import NO_WORD, Texts, Words

PUZZLES = ("rotation", "jigsaw", "camouflage", "grey", "blank")
OBJECTIVES = ("mlm", "itm", *PUZZLES, *puzzles.OF_REGIONS)
OF_VECTORS = ("grey", "blank", "mrc", "mrfr")  # whose answers are vectors, and no classes

HIDDEN_SHARE = 0.15  # of the pieces of a text, as BERT
HIDDEN_TAGS = 3  # pieces of the tags of a picture, at most


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    texts       of every product of the catalogue
    store       vectors of every picture; its layout is the one that is played on
    objectives  which losses are asked for
    matched_only  objectives that count on matched pairs only (specification D9)
    aligned     the words and patches of every picture that belong together, for AGM; of none, what is hidden is random
    """

    words: Words
    texts: Texts
    store: Store
    objectives: Sequence[str]
    matched_only: Sequence[str]
    aligned: Aligned


@dataclass(frozen=True)
class Question:
    """One spoiled batch, the positions that are asked for, and the answers; None where an objective is off.

    wanted     (B, K) int64   [CLS], the hidden words and tags, the patches of every puzzle that is played, the regions
    itm        (B,) int64     1 = match, 0 = mismatch
    mlm        (B, 10) int64  the hidden pieces, IGNORE where fewer; (B, 13) where tags are read, theirs the last
    rotation, jigsaw, camouflage   (B,) int64   classes, IGNORE where not counted
    grey, blank                    (B, K, D)   the clean vectors, K of each as `puzzles.quota` has it
    drawn      (2, B) bool    True where grey, blank count
    moc        (B, K) int64   classes of the hidden regions, IGNORE where not counted
    mrc, mrfr  (B, K, C) and (B, K, D)   how likely each class is, and the clean vectors
    compared   (2, B, K) bool True where mrc, mrfr count; None where no region is asked about
    counts     how many items each loss is summed over
    """

    batch: Batch
    wanted: Tensor
    itm: Tensor
    mlm: Tensor | None
    rotation: Tensor | None
    jigsaw: Tensor | None
    camouflage: Tensor | None
    grey: Tensor | None
    blank: Tensor | None
    moc: Tensor | None
    mrc: Tensor | None
    mrfr: Tensor | None
    drawn: Tensor
    compared: Tensor | None
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(
    desk: Desk, shop: Shop, *, batch: int, same_kind: float, tags: float = 0.0, chance: Chance
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    same_kind, tags  of the mismatches, as in `draw_epoch`
    """
    lengths = (desk.texts.ids != desk.words.pad).sum(dim=1)
    batch = min(batch, len(shop.products))
    in_epoch = len(shop.products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Pairs:
        generator = chance(0, number)
        share = mismatched(desk.objectives)
        pairs = draw_epoch(shop, same_kind=same_kind, mismatched=share, tags=tags, generator=generator)
        return by_length(pairs, lengths, batch=batch, generator=generator)

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        pairs = epoch(step // in_epoch)[slice(at, at + batch)]
        mine = slice(part * batch // parts, (part + 1) * batch // parts)
        return ask(desk, pairs, rows=mine, generator=chance(1, step))

    return draw


def mismatched(objectives: Sequence[str]) -> float:
    """The share of the pairs that are no match: half of them, or none where nothing asks whether they are (VL-BERT)."""
    return 0.5 if "itm" in objectives else 0.0


def ask(desk: Desk, pairs: Pairs, *, rows: slice = slice(None), generator: Generator) -> Question:
    """Spoil the words and patches of some pairs.

    rows  the part that is returned; what is hidden is drawn for all, so that parts together are the whole
    """
    layout, pad = desk.store.layout, desk.words.pad
    luck = _draw(desk, len(pairs), generator)
    pairs, luck = pairs[rows], luck[rows]
    ids, whole = desk.texts.ids[pairs.text], desk.texts.whole[pairs.text]
    room = masking.room_for(whole != NO_WORD, share=HIDDEN_SHARE)
    hidden = masking.hide(whole, _aligned(desk, pairs), luck.words, room=room, quotas=_quotas(layout))
    seen, slots, mlm = masking.spell(ids, hidden.words, luck.words, mask_id=desk.words.mask)
    if "mlm" not in desk.objectives:
        seen = ids
    slots_of = dict(zip(puzzles.quota(layout), hidden.patches, strict=True))
    spoiled, answers, places_asked = _play(desk, pairs, slots_of, luck.chosen)
    pictures, asked = desk.store.pictures(pairs.picture, spoiled), None
    if luck.regions is not None:
        pictures, asked = regions.ask(desk.store, pairs.picture, pictures, luck.regions, desk.objectives)
        answers |= {name: getattr(asked, name) for name in puzzles.OF_REGIONS}
        places_asked.append(asked.slots)
    seen = trimmed(seen, pad=pad, patches=pictures.shown.shape[1])
    wanted = [torch.zeros(len(seen), 1, dtype=torch.int64)]
    wanted += [slots] if "mlm" in desk.objectives else []
    if luck.tags is not None:
        pictures, of_tags, named = _tagged(desk, pairs, pictures, luck.tags)
        if "mlm" in desk.objectives:
            wanted.append(seen.shape[1] + layout.patches + of_tags)
            mlm = torch.cat([mlm, named], dim=1)
    wanted += [seen.shape[1] + place for place in places_asked]
    answers["mlm"] = mlm if "mlm" in desk.objectives else None
    batch = Batch.of(seen, seen != pad, pictures)
    return _counted(desk, pairs.matched, batch, torch.cat(wanted, 1), answers, asked)


@dataclass(frozen=True)
class Luck:
    """All that is random about a batch; None where there is nothing of the kind.

    words    what is hidden of words and patches
    chosen   what camouflage borrows and which turn and permutation are shown, by name (rows,) int64
    regions  which regions are hidden
    tags     which pieces of the tags are hidden
    """

    words: masking.Luck
    chosen: dict[str, Tensor]
    regions: regions.Luck | None
    tags: masking.Luck | None

    def __getitem__(self, rows: slice) -> "Luck":
        chosen = {name: drawn[rows] for name, drawn in self.chosen.items()}
        of_regions = None if self.regions is None else self.regions[rows]
        return Luck(self.words[rows], chosen, of_regions, None if self.tags is None else self.tags[rows])


def _draw(desk: Desk, rows: int, generator: Generator) -> Luck:
    layout, tags, of_regions = desk.store.layout, desk.store.tags, None
    special = torch.tensor(desk.words.special())
    draw = partial(masking.draw, vocabulary=desk.words.vocabulary, special=special, generator=generator)
    luck = draw(rows, desk.texts.ids.shape[1], _quotas(layout), pairs=desk.aligned.most)
    counts = puzzles.classes(layout)
    names: list[str] = [name for name in ("camouflage", "rotation", "jigsaw") if name in counts]
    chosen = {name: torch.randint(counts[name], (rows,), generator=generator) for name in names}
    if isinstance(layout, Regions) and set(desk.objectives) & set(puzzles.OF_REGIONS):
        of_regions = regions.Luck.draw(rows, layout, generator)
    return Luck(luck, chosen, of_regions, None if tags is None else draw(rows, tags[0].shape[1]))


def _tagged(desk: Desk, pairs: Pairs, pictures: Pictures, luck: masking.Luck) -> tuple[Pictures, Tensor, Tensor]:
    """Read tags beside the pictures, those of a stranger where they are swapped, and hide some of their pieces.

    -> the pictures, slots (B, HIDDEN_TAGS) and answers (B, HIDDEN_TAGS) of the hidden pieces
    """
    assert desk.store.tags is not None
    ids, real = (each[torch.where(pairs.retagged, pairs.stranger, pairs.picture)] for each in desk.store.tags)
    number = torch.arange(ids.shape[1]).expand_as(ids).masked_fill(~real, NO_WORD)  # each piece a word of its own
    room = masking.room_for(real, share=HIDDEN_SHARE, most=HIDDEN_TAGS)
    none = torch.full((len(ids), 0, 3), NONE)
    hidden = masking.hide(number, none, luck, room=room, quotas=[], most=HIDDEN_TAGS)
    seen, slots, named = masking.spell(ids, hidden.words, luck, mask_id=desk.words.mask, most=HIDDEN_TAGS)
    shown = torch.cat([pictures.shown[:, : desk.store.layout.patches], real], dim=1)
    return replace(pictures, shown=shown, tags=seen if "mlm" in desk.objectives else ids), slots, named


def _quotas(pyramid: Layout) -> list[masking.Quota]:
    """How many patches of which level camouflage, grey and blank change."""
    levels = {level.puzzle: (index, level.patches) for index, level in enumerate(pyramid.levels)}
    return [masking.Quota(*levels[name], count) for name, count in puzzles.quota(pyramid).items()]


def _aligned(desk: Desk, pairs: Pairs) -> Tensor:
    """The words and patches that guide what is hidden: (B, M, 3), NONE where the text is of another product, and at
    levels whose puzzle is off."""
    found = desk.aligned.of(pairs.picture)
    if not desk.aligned.most:
        return found
    played = torch.tensor([level.puzzle in desk.objectives for level in desk.store.layout.levels])
    counts = pairs.matched[:, None] & played[found[..., 1]]
    return found.masked_fill(~counts[..., None], NONE)


def _play(
    desk: Desk, mine: Pairs, slots: dict[str, Tensor], chosen: dict[str, Tensor]
) -> tuple[Tensor, dict, list[Tensor]]:
    """Play every puzzle that is on -> the patches (B, P, D), the answers by name, the patch positions asked for.

    slots   which patches of their level camouflage, grey and blank change, by name (B, K) int64
    chosen  as `_draw` gives it
    """
    pyramid = desk.store.layout
    vectors = desk.store.vectors(mine.picture)
    answers: dict[str, Tensor | None] = {name: None for name in OBJECTIVES if name != "itm"}
    asked: list[Tensor] = []
    if not isinstance(pyramid, Pyramid):
        return vectors, answers, asked
    patches = puzzles.clean(pyramid, vectors)
    for name in desk.objectives:
        if name == "rotation":
            answers[name] = puzzles.rotate(pyramid, patches, vectors, chosen[name])
        elif name == "jigsaw":
            answers[name] = puzzles.shuffle(pyramid, patches, chosen[name])
        elif name == "camouflage":
            strangers = desk.store.at(mine.stranger, pyramid.span(name).start + chosen[name])
            answers[name] = puzzles.camouflage(pyramid, patches, strangers, slots[name])
        elif name == "grey":
            answers[name] = puzzles.turn_grey(pyramid, patches, vectors, slots[name])
        elif name == "blank":
            answers[name] = puzzles.blank(pyramid, patches, slots[name])
    for name in PUZZLES:
        if name in desk.objectives:
            level = pyramid.span(name)
            everything = torch.arange(level.start, level.stop).expand(len(mine), -1)
            asked.append(everything if name in puzzles.classes(pyramid) else level.start + slots[name])
    return patches, answers, asked


def _counted(
    desk: Desk, matched: Tensor, batch: Batch, wanted: Tensor, answers: dict, asked: regions.Asked | None
) -> Question:
    """Leave out what does not count on mismatched pairs, and count the rest."""
    rows = len(matched)
    counts: dict[str, float] = {}
    drawn = torch.ones(2, rows, dtype=torch.bool)
    compared = None if asked is None else asked.taken.repeat(2, 1, 1)
    for name in desk.objectives:
        if name == "itm":
            counts[name] = rows
            continue
        counts_here = matched if name in desk.matched_only else torch.ones(rows, dtype=torch.bool)
        answer = answers[name]
        if name in ("grey", "blank"):
            drawn[("grey", "blank").index(name)] = counts_here
            counts[name] = float(counts_here.sum()) * answer.shape[1]
        elif name in ("mrc", "mrfr"):
            assert compared is not None
            compared[("mrc", "mrfr").index(name)] &= counts_here[:, None]
            counts[name] = float(compared[("mrc", "mrfr").index(name)].sum())
        else:
            answer = torch.where(counts_here if answer.ndim == 1 else counts_here[:, None], answer, masking.IGNORE)
            answers[name] = answer
            counts[name] = float((answer != masking.IGNORE).sum())
    return Question(
        batch=batch, wanted=wanted, itm=matched.long(), drawn=drawn, compared=compared, counts=counts, **answers
    )
