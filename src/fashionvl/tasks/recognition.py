"""Category and sub-category recognition (CR, SUB; specification 8.3): what a product is, by picture, text or both.

One model answers all three: while it learns, a row is shown without its text, without its picture, or whole, by chance.
What is missing is what the paper makes of it (specification 1.6): ids of zero or vectors of zero that nobody looks at,
[CLS] among them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from fashionvl import losses
from fashionvl.batches import Batch, Pictures, moved, trimmed
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store
from fashionvl.tasks.pairs import Chance, Pairs, Shop, matched_epoch
from fashionvl.words import NO_WORD, Texts, Words

COLUMNS = ("both", "image", "text")  # what is shown of a row; the columns of the table of results
EVENLY = {"both": 1.0, "image": 1.0, "text": 1.0}
REPORT_SECONDS = 5.0


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    texts    of every product of the catalogue
    store    vectors of every picture
    answers  by task: (N,) int64, the class of every product, below 0 where it has none (labels.py)
    """

    words: Words
    texts: Texts
    store: Store
    answers: Mapping[str, Tensor]


@dataclass(frozen=True)
class Spoiling:
    """How rows are changed at random while the model learns.

    columns        share of the rows that show both sides, the picture alone, the text alone; brought to a sum of 1
    word_dropout   share of the words that are hidden, whole words
    leave_out      True where a hidden word cannot be looked at, False where it reads [MASK]
    patch_dropout  share of the patches that cannot be looked at; one always can
    kept           so many patches, the first, always can
    noise          added to the vectors, as a share of their own spread within the picture
    """

    columns: Mapping[str, float] = field(default_factory=lambda: EVENLY)
    word_dropout: float = 0.1
    leave_out: bool = False
    patch_dropout: float = 0.0
    kept: int = 0
    noise: float = 0.0

    def __post_init__(self):
        known = set(self.columns) <= set(COLUMNS)
        if not known or min(self.columns.values(), default=0) < 0 or sum(self.columns.values()) <= 0:
            raise Problem(
                f"the shares of what is shown must name some of {list(COLUMNS)}, none below 0 and one above,"
                f" not {dict(self.columns)}"
            )


@dataclass(frozen=True)
class Question:
    """Rows as they are shown, and what they are.

    task    whose head is asked
    answer  (B,) int64
    counts  how many rows there are
    """

    batch: Batch
    task: str
    answer: Tensor
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def taught(desk: Desk, shop: Shop, task: str) -> Tensor:
    """-> (n,) int64   the products of a split that have a class; an epoch shows each of them once at most."""
    return shop.products[desk.answers[task][shop.products] >= 0]


def drawing(
    desk: Desk,
    shop: Shop,
    *,
    task: str,
    batch: int,
    chance: Chance,
    columns: Mapping[str, float] = EVENLY,
    word_dropout: float = 0.1,
    leave_out: bool = False,
    patch_dropout: float = 0.0,
    kept: int = 0,
    noise: float = 0.0,
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    An epoch shows a product that has a class once at most, by one random view; for the rest see `Spoiling`.
    """
    spoiling = Spoiling(columns, word_dropout, leave_out, patch_dropout, kept, noise)
    products = taught(desk, shop, task)
    lengths = (desk.texts.ids != desk.words.pad).sum(dim=1)
    batch = min(batch, len(products))
    in_epoch = len(products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Pairs:
        return matched_epoch(shop, products, lengths, batch=batch, generator=chance(0, number))

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        pairs = epoch(step // in_epoch)[slice(at, at + batch)]
        mine = slice(part * batch // parts, (part + 1) * batch // parts)
        return ask(desk, pairs, task=task, spoiling=spoiling, rows=mine, generator=chance(1, step))

    return draw


def ask(
    desk: Desk, pairs: Pairs, *, task: str, spoiling: Spoiling, rows: slice = slice(None), generator: Generator
) -> Question:
    """Show some products, each by its picture and its text, or one of them.

    rows  the part that is returned; what is changed is drawn for all, so that parts together are the whole
    """
    ids, patches = desk.texts.ids[pairs.text], desk.store.layout.patches
    column = _columns(spoiling.columns, len(pairs), generator)[rows]
    luck_of_words = torch.rand(ids.shape, generator=generator)[rows]
    luck_of_patches = torch.rand(len(pairs), patches, generator=generator)[rows]
    spread = torch.randn(len(pairs), patches, desk.store.dim, generator=generator)[rows] if spoiling.noise else None
    pairs, ids = pairs[rows], ids[rows]
    pictures = desk.store.pictures(pairs.picture)
    if spread is not None:
        vectors = pictures.patches.float()
        vectors = vectors + spoiling.noise * vectors.std(dim=(1, 2), keepdim=True) * spread
        pictures = replace(pictures, patches=vectors)
    whole = desk.texts.whole[pairs.text]
    hidden = (luck_of_words.gather(1, whole.clamp(min=0)) < spoiling.word_dropout) & (whole != NO_WORD)
    real = ids != desk.words.pad
    if spoiling.leave_out:
        real = real & ~hidden
    else:
        ids = ids.masked_fill(hidden, desk.words.mask)
    there = pictures.shown[:, :patches]
    shown = pictures.shown.clone()
    shown[:, spoiling.kept : patches] &= luck_of_patches[:, spoiling.kept :] >= spoiling.patch_dropout
    shown[torch.arange(len(shown)), luck_of_patches.masked_fill(~there, -1.0).argmax(dim=1)] = True
    pictures = replace(pictures, shown=shown & (column != COLUMNS.index("text"))[:, None])
    batch = batch_of(ids, real & (column != COLUMNS.index("image"))[:, None], pictures, pad=desk.words.pad)
    return Question(batch, task, desk.answers[task][pairs.text], {task: len(pairs)})


def batch_of(ids: Tensor, real: Tensor, pictures: Pictures, *, pad: int) -> Batch:
    """Texts and pictures, some of which are missing.

    ids (B, T) int64, real (B, T) bool   True where a piece may be looked at; a row of False has no text
    pictures                             B rows; one of which nothing is shown has no picture
    -> no trace of the missing ones
    """
    ids = ids.masked_fill(~real.any(dim=1, keepdim=True), pad)
    missing = ~pictures.shown.any(dim=1)
    patches = pictures.patches.masked_fill(missing[:, None, None], 0.0)
    tags = None if pictures.tags is None else pictures.tags.masked_fill(missing[:, None], pad)
    ids = trimmed(ids, pad=pad, patches=pictures.shown.shape[1])
    return Batch.of(ids, real[:, : ids.shape[1]], replace(pictures, patches=patches, tags=tags))


def losses_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """The cross-entropy of one question, summed over its rows, by the name of its task."""
    return {question.task: losses.named(scores_of(model, question.batch, question.task), question.answer)}


def scores_of(model: SingleStream, batch: Batch, task: str) -> Tensor:
    """-> (B, classes) float32   the scores of all classes; the head computes in full precision."""
    seen = model.read_out(batch)
    with torch.autocast(seen.device.type, enabled=False):
        return model.recognise(task, seen)


@torch.inference_mode()
def predict(
    model: SingleStream,
    desk: Desk,
    pictures: NDArray[np.int64],
    products: NDArray[np.int64],
    column: str,
    *,
    task: str,
    batch: int = 128,
    say: Callable[[str], None] = lambda line: None,
) -> NDArray[np.float64]:
    """What a model says of rows of which one column is shown.

    pictures (n,), products (n,)   of the text; `image` reads no text, `text` sees no picture
    say      receives a line of progress every few seconds
    -> (n, classes) float64   scores

    Raises Problem for another column, and where a score is no number.
    """
    if column not in COLUMNS:
        raise Problem(f"there is no column {column!r}; there are {list(COLUMNS)}")
    device, pad = next(model.parameters()).device, desk.words.pad
    order = (desk.texts.ids[products] != pad).sum(dim=1).argsort(stable=True).numpy()
    scores = np.empty((0, 0))
    spoke = time.monotonic()
    for at in range(0, len(order), batch):
        some = order[at : at + batch]
        asked = one_column(desk, pictures[some], products[some], column).to(device)
        said = scores_of(model, asked, task).double().cpu().numpy()
        if at == 0:
            scores = np.empty((len(order), said.shape[1]))
        scores[some] = said
        if time.monotonic() - spoke > REPORT_SECONDS:
            spoke = time.monotonic()
            say(f"{task} by {column}  {at + len(some)}/{len(order)}")
    if not np.isfinite(scores).all():
        raise Problem(f"scores of {task} by {column} are no numbers: the model that gave them is broken")
    return scores


def one_column(desk: Desk, pictures: NDArray[np.int64], products: NDArray[np.int64], column: str) -> Batch:
    """Rows of which one column is shown: pictures (n,), products (n,) of the text; column is one of COLUMNS."""
    ids, seen = desk.texts.ids[products], desk.store.pictures(pictures)
    real = (ids != desk.words.pad) & (column != "image")
    return batch_of(ids, real, replace(seen, shown=seen.shown & (column != "text")), pad=desk.words.pad)


def _columns(shares: Mapping[str, float], rows: int, generator: Generator) -> Tensor:
    """-> (rows,) int64   which of COLUMNS each row shows"""
    ends = torch.tensor([shares.get(name, 0.0) for name in COLUMNS], dtype=torch.float64).cumsum(0)
    luck = torch.rand(rows, generator=generator, dtype=torch.float64) * ends[-1]
    return torch.searchsorted(ends, luck, right=True)
