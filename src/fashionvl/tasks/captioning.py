"""Captioning (FC, specification 8.4): a fine-tuned encoder says the text of a picture.

Two modes. `mask_all`, the paper's as its author described it: every piece is masked and all are named in one parallel
pass. `causal`: [CLS] and the patches see each other and no word, a word sees them and the words up to itself, and every
slot names the piece of the next; it is said word by word (`saying`). The input is the picture alone, its patches clean.

B rows, T slots of the longest text, S slots of every text, P patches.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fashionvl import losses
from fashionvl.batches import Pictures, moved, trimmed
from fashionvl.catalogue.problems import Problem
from fashionvl.masking import IGNORE
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import saying
from fashionvl.tasks.matching import Sides
from fashionvl.tasks.pairs import Chance, Pairs, Shop, matched_epoch
from fashionvl.words import NO_WORD, Words

MODES = ("causal", "mask_all")
AT_ONCE = 64  # pictures


@dataclass(frozen=True)
class Question:
    """Some pictures and what is to be said of them; None where a mode is off.

    pictures                  clean, B rows of P patches
    said    (B, T) int64      causal reads: the texts, some pieces masked
    next    (B, T - 1) int64  the piece of the slot behind each, IGNORE where there is none
    blank   (B, S) int64      mask_all reads: [CLS] [MASK] ... [MASK] [SEP]
    named   (B, S - 2) int64  the pieces of the masked slots, [SEP] behind the last, IGNORE behind that
    counts  how many items each loss is summed over
    """

    pictures: Pictures
    said: Tensor | None
    next: Tensor | None
    blank: Tensor | None
    named: Tensor | None
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(
    desk: Sides, shop: Shop, *, batch: int, modes: Collection[str], word_dropout: float = 0.0, chance: Chance
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    An epoch shows a product that has a text once at most, by one random view, texts of like length together.

    modes         those that are trained, of MODES
    word_dropout  share of the pieces that `causal` reads as [MASK], so that it looks at the picture
    """
    lengths = (desk.texts.ids != desk.words.pad).sum(dim=1)
    products = shop.products[(desk.texts.whole[shop.products] != NO_WORD).any(dim=1)]
    if not len(products):
        raise Problem("no product of the split has a text: there is nothing to learn captions from")
    batch = min(batch, len(products))
    in_epoch = len(products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Pairs:
        return matched_epoch(shop, products, lengths, batch=batch, generator=chance(0, number))

    def draw(step: int, part: int, parts: int) -> Question:
        pairs = epoch(step // in_epoch)[slice(at := step % in_epoch * batch, at + batch)]
        luck = torch.rand(batch, desk.words.slots, generator=chance(1, step))
        mine = slice(part * batch // parts, (part + 1) * batch // parts)
        hidden = luck[mine] < word_dropout
        return ask(desk, pairs.picture[mine], pairs.text[mine], modes=modes, hidden=hidden)

    return draw


def ask(
    desk: Sides, pictures: Tensor, products: Tensor, *, modes: Collection[str], hidden: Tensor | None = None
) -> Question:
    """What these pictures are to be called.

    pictures (B,) int64, products (B,) int64
    hidden   (B, S) bool   True where `causal` reads [MASK] in place of a piece; None for nowhere
    """
    words, seen_of = desk.words, desk.store.pictures(pictures)
    ids = desk.texts.ids[products]
    answer = ids.masked_fill(ids == words.pad, IGNORE)
    said = follows = blank = named = None
    counts = {}
    if "causal" in modes:
        seen = ids if hidden is None else ids.masked_fill(hidden & (desk.texts.whole[products] != NO_WORD), words.mask)
        said = trimmed(seen, pad=words.pad, patches=seen_of.shown.shape[1])
        follows = answer[:, 1 : said.shape[1]]
        counts["causal"] = float((follows != IGNORE).sum())
    if "mask_all" in modes:
        blank, named = _blank(words, len(ids)), answer[:, 1:-1]
        counts["mask_all"] = float((named != IGNORE).sum())
    return Question(seen_of, said, follows, blank, named, counts)


def prefix_mask(slots: int, shown: Tensor) -> Tensor:
    """Who may look at whom in `causal`: [CLS] and patches at each other and no word, a word at them and the words up to
    itself.

    shown (B, P) bool   True where a patch stands
    -> (B, T + P, T + P) bool   row by row a query, True where it may look at a key
    """
    place = torch.arange(slots + shown.shape[1], device=shown.device)
    is_word = (place > 0) & (place < slots)
    may = ~is_word[None] | (is_word[:, None] & (place[None] <= place[:, None]))
    return may & torch.cat([shown.new_ones(len(shown), slots), shown], dim=1)[:, None]


def losses_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """Cross-entropy of the pieces, summed, by mode."""
    patches, shown = model.look(question.pictures), question.pictures.shown
    sums = {}
    if question.said is not None:
        states = _listen(model, question.said, patches, shown)
        sums["causal"] = _named(model, states, question.next)
    if question.blank is not None:
        states = _guess(model, question.blank, patches, shown)
        sums["mask_all"] = _named(model, states, question.named)
    return sums


@torch.inference_mode()
def examine(model: SingleStream, questions: Iterable[Question]) -> dict[str, float]:
    """The mean of each loss over some questions."""
    device = model.pooler.weight.device
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for question in questions:
        for name, value in losses_of(model, question.to(device)).items():
            sums[name] = sums.get(name, 0.0) + value.item()
            counts[name] = counts.get(name, 0.0) + question.counts[name]
    return {name: sums[name] / counts[name] for name in sums}


@torch.inference_mode()
def caption(
    model: SingleStream, words: Words, pictures: Pictures, *, mode: str, beam: int = 5, longest: int | None = None
) -> list[str]:
    """Say what n pictures show.

    beam    hypotheses of `causal`; 1 is greedy. `mask_all` has one answer a slot, whatever it is
    longest word pieces of a caption; as many as a text has room for where None is given
    -> n texts, as the tokenizer puts pieces together
    """
    longest = _room(words, longest)
    device = model.pooler.weight.device
    said: list[Tensor] = []
    for start in range(0, len(pictures), AT_ONCE):
        seen = pictures[start : start + AT_ONCE].to(device)
        if mode == "causal":
            said.append(saying.search(model, words, seen, beam=beam, longest=longest)[0])
        elif mode == "mask_all":
            said.append(_at_once(model, words, seen)[:, :longest])
        else:
            raise Problem(f"there is no way of captioning called {mode!r}, only {' and '.join(MODES)}")
    return [_until(row, words) for part in said for row in part.tolist()]


def _room(words: Words, longest: int | None) -> int:
    most = words.slots - 2
    if longest is not None and not 0 < longest <= most:
        raise Problem(f"a caption has 1 to {most} word pieces (the slots of a text but [CLS] and [SEP]), not {longest}")
    return longest or most


def _at_once(model: SingleStream, words: Words, pictures: Pictures) -> Tensor:
    """-> (B, S - 2) int64   the likeliest piece of every masked slot"""
    device = pictures.patches.device
    blank = _blank(words, len(pictures)).to(device)
    states = _guess(model, blank, model.look(pictures), pictures.shown)
    silent = saying.silent(words).to(device)
    return model.name_words(states).masked_fill_(silent, -torch.inf).argmax(dim=2)


def _until(pieces: list[int], words: Words) -> str:
    """The text before the first [SEP]."""
    sep = words.id_of("[SEP]")
    return words.decode(pieces[: pieces.index(sep)] if sep in pieces else pieces)


def _blank(words: Words, rows: int) -> Tensor:
    """-> (B, S) int64   [CLS] [MASK] ... [MASK] [SEP]"""
    row = torch.full((words.slots,), words.mask)
    row[0], row[-1] = words.id_of("[CLS]"), words.id_of("[SEP]")
    return row.expand(rows, -1)


def _listen(model: SingleStream, said: Tensor, patches: Tensor, shown: Tensor) -> Tensor:
    """said (B, T) int64, patches (B, P, C), shown (B, P) bool -> (B, T - 1, C)   states of all slots but the last"""
    wanted = torch.arange(said.shape[1] - 1, device=said.device).expand(len(said), -1)
    return model.read(model.words(said), patches, prefix_mask(said.shape[1], shown), wanted)


def _guess(model: SingleStream, blank: Tensor, patches: Tensor, shown: Tensor) -> Tensor:
    """blank (B, S) int64, patches (B, P, C), shown (B, P) bool -> (B, S - 2, C)   the states of the masked slots, of
    `mask_all`"""
    shown = torch.cat([shown.new_ones(blank.shape), shown], dim=1)
    wanted = torch.arange(1, blank.shape[1] - 1, device=blank.device).expand(len(blank), -1)
    return model.read(model.words(blank), patches, shown, wanted)


def _named(model: SingleStream, states: Tensor, answer: Tensor | None) -> Tensor:
    """Only the slots that have an answer are given scores."""
    assert answer is not None, "a mode that is on has answers"
    asked = answer != IGNORE
    return losses.named(model.name_words(states[asked]), answer[asked])
