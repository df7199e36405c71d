"""Two stages of retrieval: one recalls the first few candidates of every query, the other ranks these again.

Q queries, A answers, K of them recalled. Ties count against us throughout, as in tasks/retrieval.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashionvl.metrics import rank_among
from fashionvl.search.order import together
from fashionvl.tasks import ranking


@dataclass(frozen=True)
class Asked:
    """The queries of one direction, and what the first stage makes of them.

    query  (Q,) int64       the product that is looked for
    view   (Q,) int64       its picture: the query of ITR
    cosine (Q, A) float     of every answer
    own    (Q, A) bool      True where the answer is right, one in a row at least
    first  (Q, K) int64     the answers that are recalled, the best first
    """

    query: NDArray[np.int64]
    view: NDArray[np.int64]
    cosine: NDArray[np.float64]
    own: NDArray[np.bool_]
    first: NDArray[np.int64]

    def recalled(self, table: NDArray) -> NDArray:
        """(Q, A) -> (Q, K)   of the answers that are recalled"""
        return np.take_along_axis(table, self.first, axis=1)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(Q,) bool   True where a right answer is recalled: what the second stage can do at most"""
        return np.asarray(self.recalled(self.own).any(axis=1))


def first_of(cosine: NDArray[np.float64], own: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """cosine, own (Q, A) -> (Q, K) int64   the nearest answers, the best first; of equal ones a wrong one is first"""
    return np.lexsort((own, -cosine), axis=1)[:, :count]


def ranks(asked: Asked, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rank of the best right answer once the recalled ones are ordered again, the others behind them.

    scores (Q, K) float   of the recalled answers
    -> (Q,) int64
    """
    again = rank_among(scores, asked.recalled(asked.own))
    return np.where(asked.inside, again, rank_among(asked.cosine, asked.own))


def balance(asked: list[Asked], odds: list[NDArray[np.float64]]) -> float | None:
    """What a cosine of the first stage counts beside the log-odds of the second, by queries of a held-out split.

    odds  (Q, K) float   of the recalled answers, one table for each of `asked`
    -> the factor that makes right answers most likely; None where no right answer is recalled beside a wrong one
    """
    most = max(table.shape[1] for table in odds)
    by_odds = np.concatenate([_right_first(each, table, most) for each, table in zip(asked, odds, strict=True)])
    by_cosine = np.concatenate([_right_first(each, each.recalled(each.cosine), most) for each in asked])
    if np.isnan(by_odds[:, 1:]).all():
        return None
    return ranking.balance(by_odds, by_cosine)


def _right_first(asked: Asked, table: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """table (Q, K) -> (q, most)   of queries with a right answer inside: the nearest such first, NaN for other right
    answers and where there are fewer"""
    inside = asked.inside
    own, table = asked.recalled(asked.own)[inside], table[inside]
    rows, at = np.arange(len(own)), own.argmax(axis=1)
    right = table[rows, at]
    found = np.where(own, np.nan, table)
    found[rows, at] = found[:, 0]
    found[:, 0] = right
    return np.pad(found, ((0, 0), (0, most - found.shape[1])), constant_values=np.nan)


def both(asked: Asked, odds: NDArray[np.float64], counts: float) -> NDArray[np.float64]:
    """odds (Q, K) -> (Q, K)   what the recalled answers are ordered by"""
    return together(odds, asked.recalled(asked.cosine), counts)
