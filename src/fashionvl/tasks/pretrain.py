"""Pre-training of Kaleido-BERT (section 3.6): spoil, read, answer. Seven losses, each one row of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from fashionvl import losses, masking, puzzles
from fashionvl.alignment import NONE, Aligned
from fashionvl.batches import Batch, moved, trimmed
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import Pyramid
from fashionvl.patches.store import Store
from fashionvl.tasks.pairs import Chance, Pairs, Shop, by_length, draw_epoch
from fashionvl.words import NO_WORD, Texts, Words

OBJECTIVES = ("mlm", "itm", "rotation", "jigsaw", "camouflage", "grey", "blank")

HIDDEN_SHARE = 0.15  # of the pieces of a text, as BERT


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    texts       of every product of the catalogue
    store       vectors of every picture; its pyramid is the one that is played on
    objectives  which puzzles are played
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

    wanted     (B, K) int64   [CLS], the hidden words, then the patches of every puzzle that is played
    itm        (B,) int64     1 = match, 0 = mismatch
    mlm        (B, 10) int64  the hidden pieces, IGNORE where fewer
    rotation, jigsaw, camouflage   (B,) int64   classes, IGNORE where not counted
    grey, blank                    (B, K, D)   the clean vectors, K of each as `puzzles.quota` has it
    drawn      (2, B) bool    True where grey, blank count
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
    drawn: Tensor
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(
    desk: Desk, shop: Shop, *, batch: int, same_kind: float, chance: Chance
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function."""
    lengths = (desk.texts.ids != desk.words.pad).sum(dim=1)
    batch = min(batch, len(shop.products))
    in_epoch = len(shop.products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Pairs:
        generator = chance(0, number)
        pairs = draw_epoch(shop, same_kind=same_kind, mismatched=0.5, generator=generator)
        return by_length(pairs, lengths, batch=batch, generator=generator)

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        pairs = epoch(step // in_epoch)[slice(at, at + batch)]
        mine = slice(part * batch // parts, (part + 1) * batch // parts)
        return ask(desk, pairs, rows=mine, generator=chance(1, step))

    return draw


def ask(desk: Desk, pairs: Pairs, *, rows: slice = slice(None), generator: Generator) -> Question:
    """Spoil the words and patches of some pairs.

    rows  the part that is returned; what is hidden is drawn for all, so that parts together are the whole
    """
    pyramid, pad = desk.store.pyramid, desk.words.pad
    luck, chosen = _draw(desk, len(pairs), generator)
    pairs, luck, chosen = pairs[rows], luck[rows], {name: drawn[rows] for name, drawn in chosen.items()}
    ids, whole = desk.texts.ids[pairs.text], desk.texts.whole[pairs.text]
    room = masking.room_for(whole != NO_WORD, share=HIDDEN_SHARE)
    hidden = masking.hide(whole, _aligned(desk, pairs), luck, room=room, quotas=_quotas(pyramid))
    seen, slots, mlm = masking.spell(ids, hidden.words, luck, mask_id=desk.words.mask)
    if "mlm" not in desk.objectives:
        seen = ids
    slots_of = dict(zip(puzzles.quota(pyramid), hidden.patches, strict=True))
    spoiled, answers, places_asked = _play(desk, pairs, slots_of, chosen)
    seen = trimmed(seen, pad=pad, patches=pyramid.patches)
    real = seen != pad
    wanted = [torch.zeros(len(seen), 1, dtype=torch.int64)]
    wanted += [slots] if "mlm" in desk.objectives else []
    wanted += [seen.shape[1] + place for place in places_asked]
    shown = torch.ones(len(seen), pyramid.patches, dtype=torch.bool)
    answers["mlm"] = mlm if "mlm" in desk.objectives else None
    batch = Batch(seen, real, spoiled, shown, pyramid.places(), pyramid.levels_of())
    return _counted(desk, pairs.matched, batch, torch.cat(wanted, 1), answers)


def _draw(desk: Desk, rows: int, generator: Generator) -> tuple[masking.Luck, dict[str, Tensor]]:
    """All that is random about a batch: what is hidden, and what camouflage borrows and which turn and permutation are
    shown, by name (rows,) int64."""
    pyramid = desk.store.pyramid
    luck = masking.draw(
        rows,
        desk.texts.ids.shape[1],
        _quotas(pyramid),
        pairs=desk.aligned.most,
        vocabulary=desk.words.vocabulary,
        special=torch.tensor(desk.words.special()),
        generator=generator,
    )
    counts = puzzles.classes(pyramid)
    names = [name for name in ("camouflage", "rotation", "jigsaw") if name in counts]
    return luck, {name: torch.randint(counts[name], (rows,), generator=generator) for name in names}


def _quotas(pyramid: Pyramid) -> list[masking.Quota]:
    """How many patches of which level camouflage, grey and blank change."""
    levels = {level.puzzle: (index, level.patches) for index, level in enumerate(pyramid.levels)}
    return [masking.Quota(*levels[name], count) for name, count in puzzles.quota(pyramid).items()]


def _aligned(desk: Desk, pairs: Pairs) -> Tensor:
    """The words and patches that guide what is hidden: (B, M, 3), NONE where the text is of another product, and at
    levels whose puzzle is off."""
    found = desk.aligned.of(pairs.picture)
    played = torch.tensor([level.puzzle in desk.objectives for level in desk.store.pyramid.levels])
    counts = pairs.matched[:, None] & played[found[..., 1]]
    return found.masked_fill(~counts[..., None], NONE)


def _play(
    desk: Desk, mine: Pairs, slots: dict[str, Tensor], chosen: dict[str, Tensor]
) -> tuple[Tensor, dict, list[Tensor]]:
    """Play every puzzle that is on -> the patches (B, P, D), the answers by name, the patch positions asked for.

    slots   which patches of their level camouflage, grey and blank change, by name (B, K) int64
    chosen  as `_draw` gives it
    """
    pyramid = desk.store.pyramid
    vectors = desk.store.vectors(mine.picture)
    patches = puzzles.clean(pyramid, vectors)
    answers: dict[str, Tensor | None] = {name: None for name in OBJECTIVES if name != "itm"}
    asked = []
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
    for name in OBJECTIVES[2:]:
        if name in desk.objectives:
            level = pyramid.span(name)
            everything = torch.arange(level.start, level.stop).expand(len(mine), -1)
            asked.append(everything if name in puzzles.classes(pyramid) else level.start + slots[name])
    return patches, answers, asked


def _counted(desk: Desk, matched: Tensor, batch: Batch, wanted: Tensor, answers: dict) -> Question:
    """Leave out what does not count on mismatched pairs, and count the rest."""
    rows = len(matched)
    counts: dict[str, float] = {}
    drawn = torch.ones(2, rows, dtype=torch.bool)
    for name in desk.objectives:
        if name == "itm":
            counts[name] = rows
            continue
        counts_here = matched if name in desk.matched_only else torch.ones(rows, dtype=torch.bool)
        answer = answers[name]
        if name in ("grey", "blank"):
            drawn[("grey", "blank").index(name)] = counts_here
            counts[name] = float(counts_here.sum()) * answer.shape[1]
        else:
            answer = torch.where(counts_here if answer.ndim == 1 else counts_here[:, None], answer, masking.IGNORE)
            answers[name] = answer
            counts[name] = float((answer != masking.IGNORE).sum())
    return Question(batch=batch, wanted=wanted, itm=matched.long(), drawn=drawn, counts=counts, **answers)


def answers_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """Everything the model says to a question, by objective: scores of classes, or vectors for grey and blank."""
    states = model(question.batch, question.wanted)
    said = {}
    if "itm" in question.counts:
        said["itm"] = model.match(model.pooled(states))
    at = 1
    if question.mlm is not None:
        said["mlm"] = model.name_words(states[:, at : at + question.mlm.shape[1]])
        at += question.mlm.shape[1]
    for name in OBJECTIVES[2:]:
        answer = getattr(question, name)
        if answer is not None:
            count = model.pyramid.level(name).patches if name in model.classes else answer.shape[1]
            said[name] = model.solve(name, states[:, at : at + count])
            at += count
    return said


def losses_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """Every loss of one question, summed, by name (Eq. 8 without its sum)."""
    return _judge(answers_of(model, question), question)


def _judge(said: dict[str, Tensor], question: Question) -> dict[str, Tensor]:
    sums = {}
    for name, scores in said.items():
        answer = getattr(question, name)
        if name in ("grey", "blank"):
            sums[name] = losses.drawn(scores, answer, question.drawn[("grey", "blank").index(name)])
        else:
            sums[name] = losses.named(scores, answer)
    return sums


@torch.inference_mode()
def examine(model: SingleStream, desk: Desk, pairs: Pairs, *, batch: int, chance: Chance) -> dict[str, float]:
    """Mean losses, and accuracies of what has classes, over all pairs, e.g. {"itm": 0.4, "itm_accuracy": 0.81}."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    device = next(model.parameters()).device
    for number, start in enumerate(range(0, len(pairs), batch)):
        question = ask(desk, pairs[slice(start, start + batch)], generator=chance(2, number)).to(device)
        said = answers_of(model, question)
        for name, value in _judge(said, question).items():
            sums[name] = sums.get(name, 0.0) + value.item()
            counts[name] = counts.get(name, 0.0) + question.counts[name]
            if name not in ("grey", "blank"):
                right = (said[name].argmax(dim=-1) == getattr(question, name)).sum().item()
                sums[f"{name}_accuracy"] = sums.get(f"{name}_accuracy", 0.0) + right
                counts[f"{name}_accuracy"] = counts[name]
    return {name: sums[name] / max(1.0, counts[name]) for name in sums}
