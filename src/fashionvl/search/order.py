"""One order out of two stages, and one query out of a text and a picture."""

import numpy as np
from numpy.typing import NDArray


def composed(text: NDArray[np.float32], picture: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """A query of both: the weighted sum of their vectors, brought to length 1.

    text, picture (..., C) float32   of length 1
    share         of the text, in [0, 1]
    """
    both = share * text + (1 - share) * picture
    return both / np.maximum(np.linalg.norm(both, axis=-1, keepdims=True), 1e-12)


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
