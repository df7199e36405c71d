"""What is only reported: ranks, recalls and their intervals (ties count against us; rows of a group are one draw);
accuracies, F1 and how far a model may be believed."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.random import Generator
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fashionvl.catalogue.problems import Problem

RANKS = (1, 5, 10)
RESAMPLES = 2000
BINS = 15  # of the calibration error
HOTTEST = 20.0  # temperature; its inverse is the coldest


def rank_among(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The rank of the best right answer of each query; a wrong answer that ties with it counts as better.

    scores (Q, K) float   NaN where a query has fewer candidates
    own    (Q, K) bool    True where the candidate is a right answer; at least one a row
    -> (Q,) int64   1 = first

    Raises Problem where a right answer's score is no number.
    """
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    if np.isnan(best).any():
        raise Problem(f"the right answer of {int(np.isnan(best).sum())} queries has a score that is no number")
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


def accuracy(true: np.ndarray, said: np.ndarray) -> float:
    """The share of rows of which the right class is said; true (n,), said (n,): numbers or names."""
    return float((true == said).mean())


def macro_f(true: np.ndarray, said: np.ndarray, classes: Sequence) -> float:
    """The unweighted mean of the F1 of these classes; one that is neither true nor said of any row counts 0.

    true (n,), said (n,)   numbers or names; what is none of `classes` is wrong and has no F1 of its own
    """
    scores = []
    for name in classes:
        hits = int(((true == name) & (said == name)).sum())
        scores.append(2 * hits / max(1, int((true == name).sum()) + int((said == name).sum())))
    return float(np.mean(scores))


def calibration_error(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> float:
    """How far confidence and accuracy are apart, weighted over equal bins of confidence (expected calibration error).

    confidence (n,) float   in [0, 1]; a bin holds its upper end
    right      (n,) bool
    """
    at = np.ceil(confidence * bins).clip(1, bins).astype(np.int64) - 1
    gaps = np.bincount(at, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def temperature(scores: np.ndarray, answer: np.ndarray) -> float:
    """What scores are divided by so that the answers of other rows become most likely (Guo et al. 2017).

    scores (n, C) float, answer (n,) int   of a split that was not trained on and is not reported

    The negative log-likelihood is convex in the inverse temperature, so that the least one between 1 / HOTTEST and
    HOTTEST is found, whatever the start; where every answer has by far the highest score all cold ones are as good.
    """
    rows, edge = np.arange(len(answer)), np.log(HOTTEST)

    def surprise(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, answer].mean())

    found = minimize_scalar(surprise, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def sum_of_recognition(found: Mapping[str, Mapping[str, float]]) -> float:
    """SumCLS: 100 times accuracy and macro-F over all classes of both tasks (Table 3 of Kaleido-BERT).

    found  category and sub_category, each with accuracy and macro_f_all
    """
    return 100 * sum(found[task][name] for task in ("category", "sub_category") for name in ("accuracy", "macro_f_all"))


def sum_of_caption_scores(scores: dict[str, float]) -> float:
    """SumCAP: BLEU-4 + METEOR + ROUGE-L + CIDEr, each times 100 already (Table 3 of Kaleido-BERT)."""
    return sum(scores[name] for name in ("bleu4", "meteor", "rouge_l", "cider"))
