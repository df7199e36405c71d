"""One order out of two stages, and one query out of a text and a picture."""

import numpy as np
from numpy.typing import NDArray


def composed(
    text: NDArray[np.float32] | None, picture: NDArray[np.float32] | None, share: float
) -> NDArray[np.float32]:
    """A query of both: the weighted sum of their vectors, brought to length 1; one alone where the other is None.

    text, picture (..., C) float32   of length 1
    share         of the text, in [0, 1]
    """
    if text is None or picture is None:
        assert text is not None or picture is not None, "a query has one of both at least"
        return picture if text is None else text  # type: ignore[return-value]
    return unit(share * text + (1 - share) * picture)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """vectors (..., C) -> (..., C)   of length 1"""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def together(odds: NDArray[np.float64], cosine: NDArray[np.float64], counts: float) -> NDArray[np.float64]:
    """What answers are ordered by that both stages have seen: log-odds of the second, plus what a cosine counts."""
    return odds + counts * cosine


def ordered(odds: NDArray[np.float64], cosine: NDArray[np.float64], counts: float) -> NDArray[np.int64]:
    """The places of answers, the best first.

    odds   (n,) float   of the first n answers, all that the second stage has seen
    cosine (K,) float   falling, of all
    -> (K,) int64   the first n by both stages, the others behind them as the first stage has them
    """
    seen = np.argsort(-together(odds, cosine[: len(odds)], counts), kind="stable")
    return np.concatenate([seen, np.arange(len(odds), len(cosine))])
