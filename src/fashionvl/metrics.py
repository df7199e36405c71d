"""What is only reported: ranks, recalls and their intervals (ties count against us; rows of a group are one draw)."""

import numpy as np
from numpy.random import Generator

RANKS = (1, 5, 10)
RESAMPLES = 2000


def rank_among(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The rank of the best right answer of each query; a wrong answer that ties with it counts as better.

    scores (Q, K) float   NaN where a query has fewer candidates
    own    (Q, K) bool    True where the candidate is a right answer; at least one a row
    -> (Q,) int64   1 = first
    """
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((scores >= best) & ~own).sum(axis=1)


def recall(ranks: np.ndarray, at: int) -> float:
    """The share of queries whose right answer is among the first `at`."""
    return float((ranks <= at).mean())


def chance_recall(candidates: int, at: int) -> float:
    """What a random scorer reaches with one right answer among this many candidates."""
    return min(1.0, at / candidates)


def interval(
    values: np.ndarray, groups: np.ndarray, *, generator: Generator, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of a mean over whole groups, since rows of one group are not independent.

    values (n,) float   one number a row, e.g. whether it was hit
    groups (n,) int     rows of the same group are drawn together
    -> the lower and the upper end
    """
    codes = np.unique(groups, return_inverse=True)[1]
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    means = []
    for _ in range(0, RESAMPLES, 100):  # in blocks, so that a million groups need no more memory than a thousand
        draws = generator.integers(len(counts), size=(100, len(counts)))
        means.append(sums[draws].sum(axis=1) / counts[draws].sum(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def sum_of_recalls(recalls: dict[str, float]) -> float:
    """SumR: 100 times the sum of R@1, R@5 and R@10 of both directions (Table 2 of Kaleido-BERT)."""
    return 100 * sum(recalls.values())


def sum_of_caption_scores(scores: dict[str, float]) -> float:
    """SumCAP: BLEU-4 + METEOR + ROUGE-L + CIDEr, each times 100 already (Table 3 of Kaleido-BERT)."""
    return sum(scores[name] for name in ("bleu4", "meteor", "rouge_l", "cider"))
