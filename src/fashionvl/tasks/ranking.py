"""Fine-tune for retrieval: rank the right text of a picture, and the right picture of a text, before wrong ones.

Kaleido-BERT ranks with the head as it was pre-trained; ImageBERT (its section on fine-tuning) compares three losses
over groups of candidates, which are here. A group is a block of products whose pictures and texts are all compared:
n x n pairs hold n queries either way with n - 1 wrong answers each, so a wrong answer costs half a pair.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Generator, Tensor

from fashionvl import losses
from fashionvl.batches import Pictures, moved, trimmed
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store
from fashionvl.tasks.acquaint import level_means, meet
from fashionvl.tasks.pairs import Chance, Shop
from fashionvl.words import Texts, Words, rarity_of

GLANCE_WORD_DROPOUT = 0.2

LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "binary": losses.binary,
    "multiclass": losses.multiclass,
    "triplet": losses.triplet,
}


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    texts         of every product of the catalogue
    store         vectors of every picture
    word_dropout  share of the pieces that are hidden
    noise         share of the numbers of a patch vector that are set to 0, the same numbers in all of its patches
    """

    words: Words
    texts: Texts
    store: Store
    word_dropout: float
    noise: float


@dataclass(frozen=True)
class Question:
    """The products of some blocks, one block behind the other.

    words   (N, T) int64
    pictures                  one random view of each, N rows of P patches
    group   (N,) int64        products of one group are no wrong answers of each other
    pad     the id that stands where no piece does
    block   products in a block, n
    counts  how many queries there are: two a product
    """

    words: Tensor
    pictures: Pictures
    group: Tensor
    pad: int
    block: int
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(
    desk: Desk, shop: Shop, *, blocks: int, block: int, same_kind: float, chance: Chance
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    blocks     in the global batch; `parts` at least
    block      products in each; all there are, where the split has fewer
    same_kind  share of the products that stand beside others of their sub-category
    """
    block = min(block, len(shop.products))
    in_epoch = len(shop.products) // block

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Tensor:
        return blocks_of(shop, block=block, same_kind=same_kind, generator=chance(0, number))

    def draw(step: int, part: int, parts: int) -> Question:
        if parts > blocks:
            raise Problem(f"{parts} processes and micro-batches share {blocks} blocks a step: make the batch larger")
        first, last = (step * blocks + at * blocks // parts for at in (part, part + 1))
        mine = torch.stack([epoch(number // in_epoch)[number % in_epoch] for number in range(first, last)])
        return ask(desk, shop, mine, generator=chance(1, step, part))

    return draw


def blocks_of(shop: Shop, *, block: int, same_kind: float, generator: Generator) -> Tensor:
    """Every product of the split once, but for those of the last block that is not full, in blocks.

    block      products in each
    same_kind  share of the products that are sorted by sub-category before blocks are cut
    -> (n, block) int64   in random order
    """
    products = shop.products[torch.randperm(len(shop.products), generator=generator)]
    sorted_ones = torch.rand(len(products), generator=generator) < same_kind
    alike, mixed = products[sorted_ones], products[~sorted_ones]
    alike = alike[shop.kind[alike].argsort(stable=True)]
    order = torch.cat([alike, mixed])
    found = order[: len(order) // block * block].view(-1, block)
    return found[torch.randperm(len(found), generator=generator)]


def ask(desk: Desk, shop: Shop, blocks: Tensor, *, generator: Generator) -> Question:
    """blocks (b, n) int64 products -> what is asked of them, each by one random view"""
    products = blocks.flatten()
    ids = desk.texts.ids[products]
    special = torch.isin(ids, torch.tensor(desk.words.special()))
    left_out = (torch.rand(ids.shape, generator=generator) < desk.word_dropout) & ~special
    seen = desk.store.pictures(shop.view(products, generator=generator))
    kept = torch.rand(len(seen), 1, desk.store.dim, generator=generator) >= desk.noise
    return Question(
        trimmed(ids.masked_fill(left_out, desk.words.mask), pad=desk.words.pad, patches=seen.shown.shape[1]),
        replace(seen, patches=seen.patches * kept / (1 - desk.noise)),
        shop.group[products],
        desk.words.pad,
        blocks.shape[1],
        {"rank": 2.0 * len(products)},
    )


def scores_of(model: SingleStream, question: Question) -> Tensor:
    """-> (b, n, n) float   the log-odds by the matching head alone: rows are pictures, columns texts"""
    n = question.block
    words, real = model.words(question.words), question.words != question.pad
    patches, seen = model.look(question.pictures), question.pictures.shown
    # Expanded and not gathered: the gradient of an index is added up row by row.
    words, real = (_of_pairs(rows.unflatten(0, (-1, 1, n)), n) for rows in (words, real))
    patches, seen = (_of_pairs(rows.unflatten(0, (-1, n, 1)), n) for rows in (patches, seen))
    shown = torch.cat([real, seen], dim=1)
    wanted = torch.zeros(len(words), 1, dtype=torch.int64, device=words.device)
    states = model.read(words, patches, shown, wanted)
    return model.log_odds(states).view(-1, n, n)


def _of_pairs(rows: Tensor, n: int) -> Tensor:
    """(b, n, 1, ...) of pictures or (b, 1, n, ...) of texts -> (b * n * n, ...)   the side of every pair"""
    return rows.expand(-1, n, n, *rows.shape[3:]).flatten(0, 2)


def losses_of(model: SingleStream, question: Question, *, loss: str, margin: float) -> dict[str, Tensor]:
    """The loss of one question, summed over its queries, either way."""
    group = question.group.view(-1, question.block)
    alike = group[:, :, None] == group[:, None, :]  # (b, n, n) True where a pair is a match or a member of its group
    scores = scores_of(model, question)
    there = LOSSES[loss](scores, alike, margin=margin)
    return {"rank": there + LOSSES[loss](scores.transpose(1, 2), alike, margin=margin)}


def acquaint(model: SingleStream, desk: Desk, shop: Shop, *, chance: Chance) -> list[float]:
    """Learn the likeness of a model from nothing -> the mean loss of every epoch; what else it has stays as it is."""
    likeness, generator = model.likeness, chance(9)
    assert likeness is not None, "only a model with a likeness is acquainted"
    pictures = torch.cat([shop.first[p] + torch.arange(int(shop.views[p])) for p in shop.products.sort().values])
    means = level_means(desk.store, pictures)
    likeness.standardise(means)
    ids = desk.texts.ids
    likeness.texts.rarity.copy_(
        rarity_of(ids[shop.products], vocabulary=desk.words.vocabulary, never=desk.words.special())
    )

    def read(some: Tensor) -> Tensor:
        dropped = torch.rand(some.shape, generator=generator) < GLANCE_WORD_DROPOUT
        return likeness.read(some.masked_fill(dropped, desk.words.pad))

    likeness.train()
    return meet(
        likeness.look,
        read,
        [*likeness.texts.parameters(), *likeness.project.parameters(), likeness.log_scale],
        lambda: likeness.log_scale.exp(),
        means=means,
        pictures=pictures,
        products=shop.products,
        ids=ids,
        shop=shop,
        generator=generator,
    )


def balance(odds: np.ndarray, likeness: np.ndarray) -> float:
    """How much a likeness should count beside the log-odds of the head, by the lists of queries of a held-out split.

    odds, likeness (Q, K) float   of every candidate, the right one first; NaN where there are fewer
    -> the factor of `likeness` that makes the right ones most likely, by a softmax of any temperature
    """
    there = ~np.isnan(odds)
    odds, likeness = np.where(there, odds, 0.0), np.where(there, likeness, 0.0)

    def surprise(logs: np.ndarray) -> float:
        scores = np.where(there, np.exp(logs[0]) * odds + np.exp(logs[1]) * likeness, -np.inf)
        return float((logsumexp(scores, axis=1) - scores[:, 0]).mean())

    bounds = [(np.log(0.01), np.log(10.0)), (np.log(0.1), np.log(200.0))]
    found = minimize(surprise, np.log([1.0, 10.0]), bounds=bounds, method="L-BFGS-B")
    return float(np.exp(found.x[1] - found.x[0]))
