"""Retrieval both ways: ITR asks with a picture for its text, TIR with a text for its picture.

Two protocols: sampled-101 (the true one and 100 of other groups, of the same sub-category as far as there are enough)
and the full gallery. The lists depend on catalogue and seed only, so any two models are compared on the very same ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.metrics import rank_among

DIRECTIONS = ("itr", "tir")
NOBODY = -1

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # pictures (n,), products (n,) -> scores (n,)


@dataclass(frozen=True)
class Lists:
    """The candidate lists of the sampled protocol; row by row one query.

    draw        (Q,) int      which of the repeats
    direction   (Q,) str      itr or tir
    product     (Q,) int      the product that is looked for
    picture     (Q,) int      the view of it: the query of ITR, the right answer of TIR
    candidates  (Q, K) int    ITR: products, TIR: pictures; column 0 is the right one, NOBODY where there are fewer
    same_kind   (Q,) float    share of the wrong candidates that are of the same sub-category
    """

    draw: np.ndarray
    direction: np.ndarray
    product: np.ndarray
    picture: np.ndarray
    candidates: np.ndarray
    same_kind: np.ndarray

    def table(self) -> pd.DataFrame:
        """One row a query, for a file beside the run."""
        columns = {name: getattr(self, name) for name in ("draw", "direction", "product", "picture", "same_kind")}
        return pd.DataFrame({**columns, "candidates": list(self.candidates)})


def candidate_lists(
    catalogue: Catalogue, split: str, *, queries: int, candidates: int, draws: int, generator: Generator
) -> Lists:
    """Draw the lists of the sampled protocol; every query has exactly one right candidate.

    queries     products asked for in each draw, at most; all of them where the split has fewer
    candidates  wrong ones a query, of other groups; as many as there are where the split has fewer
    """
    products = catalogue.in_split(split)
    kinds, groups = catalogue.kinds(), catalogue.groups()
    first, views = catalogue.first_pictures(), catalogue.view_counts()
    rows: list[tuple] = []
    for draw in range(draws):
        view = first + (generator.random(len(first)) * views).astype(np.int64)  # one view of everything a draw
        asked = generator.permutation(products)[:queries]
        for direction in DIRECTIONS:
            for product in asked:
                others = products[groups[products] != groups[product]]
                order = generator.permutation(others)
                alike = kinds[order] == kinds[product]
                chosen = np.concatenate([order[alike], order[~alike]])[:candidates]
                share = float((kinds[chosen] == kinds[product]).mean()) if len(chosen) else 0.0
                listed = np.full(1 + candidates, NOBODY)
                listed[: 1 + len(chosen)] = [product, *chosen]
                if direction == "tir":
                    listed = np.where(listed == NOBODY, NOBODY, view[listed])
                rows.append((draw, direction, product, view[product], listed, share))
    found = Lists(*map(np.array, zip(*rows, strict=True)))
    check(found, catalogue)
    return found


def check(lists: Lists, catalogue: Catalogue) -> None:
    """Assert what the protocol promises: one right candidate a query, no second member of its group, no repeats."""
    groups, of_picture = catalogue.groups(), catalogue.pictures["product"].to_numpy()
    there = lists.candidates != NOBODY
    is_itr = (lists.direction == "itr")[:, None]
    product = np.where(is_itr, lists.candidates, of_picture[np.where(is_itr, 0, lists.candidates)])
    same = (groups[product] == groups[lists.product][:, None]) & there
    assert (same.sum(axis=1) == 1).all(), "a candidate list holds more or fewer than one right answer"
    assert same[:, 0].all(), "the right answer is not in its place"
    assert all(len(set(row[row != NOBODY])) == (row != NOBODY).sum() for row in product * there - ~there)


def listed(lists: Lists, score: Scorer) -> np.ndarray:
    """-> (Q, K) float   the score of every candidate, NaN where there are fewer; column 0 is the right one."""
    there = lists.candidates != NOBODY
    is_itr = (lists.direction == "itr")[:, None]
    filled = np.where(there, lists.candidates, lists.candidates[:, :1])
    picture = np.where(is_itr, lists.picture[:, None], filled)
    product = np.where(is_itr, filled, lists.product[:, None])
    scores = np.full(there.shape, np.nan)
    scores[there] = score(picture[there], product[there])
    return scores


def sampled_ranks(lists: Lists, score: Scorer) -> np.ndarray:
    """-> (Q,) int64   the rank of the right answer of every query."""
    return rank_among(listed(lists, score), _first_column(lists))


def sampled_firsts(lists: Lists, score: Scorer) -> np.ndarray:
    """-> (Q,) int64   the wrong candidate that scores best, NOBODY where there is none."""
    return _best_wrong(listed(lists, score), _first_column(lists), lists.candidates)


def _first_column(lists: Lists) -> np.ndarray:
    own = np.zeros(lists.candidates.shape, dtype=bool)
    own[:, 0] = True
    return own


def full_ranks(catalogue: Catalogue, split: str, score: Scorer, *, generator: Generator) -> pd.DataFrame:
    """Rank every product of a split against all of it; a hit is any member of the query's group.

    -> one row a query: direction, product, picture, rank, and `first`, the best wrong answer (ITR: a product, TIR: a
       picture), NOBODY if there is none
    """
    products, pictures = catalogue.in_split(split), catalogue.pictures_in(split)
    groups = catalogue.groups()
    first, views = catalogue.first_pictures(), catalogue.view_counts()
    view = (first + (generator.random(len(first)) * views).astype(np.int64))[products]
    of_picture = groups[catalogue.pictures["product"].to_numpy()[pictures]]
    found = []
    for direction, queries, answers in (("itr", view, products), ("tir", products, pictures)):
        theirs = groups[products] if direction == "itr" else of_picture
        columns: dict[str, list] = {"rank": [], "first": []}
        for row, query in enumerate(queries):
            many = np.full(len(answers), query)
            scores = (score(many, answers) if direction == "itr" else score(answers, many))[None]
            own = (theirs == groups[products[row]])[None]
            columns["rank"].append(rank_among(scores, own)[0])
            columns["first"].append(_best_wrong(scores, own, answers[None])[0])
        found.append(pd.DataFrame({"direction": direction, "product": products, "picture": view, **columns}))
    return pd.concat(found, ignore_index=True)


def _best_wrong(scores: np.ndarray, own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """scores, own, candidates (Q, K) -> (Q,) int64   as `rank_among` takes them"""
    wrong = np.where(own | np.isnan(scores), -np.inf, scores)
    best = np.take_along_axis(candidates, wrong.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(np.isneginf(wrong.max(axis=1)), NOBODY, best)


def pairs_needed(lists: Lists) -> tuple[np.ndarray, np.ndarray]:
    """-> pictures (n,), products (n,): every pair that the lists ask a score for, once."""
    there = lists.candidates != NOBODY
    is_itr = (lists.direction == "itr")[:, None]
    picture = np.where(is_itr, lists.picture[:, None], lists.candidates)[there]
    product = np.where(is_itr, lists.candidates, lists.product[:, None])[there]
    pairs = np.unique(np.stack([picture, product], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def looked_up(pictures: np.ndarray, products: np.ndarray, scores: np.ndarray, count: int) -> Scorer:
    """A scorer that looks scores up which were computed once; `count` is the number of products of the catalogue.

    Raises Problem where one is no number: such a model ranks nothing.
    """
    broken = ~np.isfinite(scores)
    if broken.any():
        raise Problem(f"{int(broken.sum())} of {len(scores)} scores are no numbers: the model that gave them is broken")
    keys = pictures.astype(np.int64) * count + products
    order = keys.argsort()
    keys, scores = keys[order], scores[order]

    def score(picture: np.ndarray, product: np.ndarray) -> np.ndarray:
        wanted = picture.astype(np.int64) * count + product
        at = np.searchsorted(keys, wanted)
        assert (keys[np.minimum(at, len(keys) - 1)] == wanted).all(), "a pair was not scored"
        return scores[at]

    return score
