"""What a dual encoder knows of categories without having been asked: named by prompts, or by a linear layer on top."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

# Sets of prompts by name; {} is the class. The vector of a class is the mean over its set.
PROMPTS: Mapping[str, tuple[str, ...]] = {
    "name": ("{}",),
    "photo": ("a photo of a {}.", "a photo of {}.", "a photo of the {}, on a plain background."),
    "shop": ("{}", "a {} in an online shop.", "a product picture of {}.", "new in: {}.", "{} for every day."),
}
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # inverse weight decay, the best on validation is taken
ROUNDS = 1000  # of the solver


def class_vectors(classes: Sequence[str], prompts: Sequence[str], embed: Callable[[list[str]], Tensor]) -> Tensor:
    """The mean of every class over its prompts, each brought to length 1 before and the mean after.

    prompts  each with {} where the class stands
    embed    texts -> (n, C) float
    -> (K, C) float, of length 1
    """
    texts = [prompt.format(name) for name in classes for prompt in prompts]
    vectors = F.normalize(embed(texts).float(), dim=1).view(len(classes), len(prompts), -1)
    return F.normalize(vectors.mean(dim=1), dim=1)


def zero_shot(pictures: Tensor, classes: Tensor) -> NDArray[np.int64]:
    """pictures (n, C) float, classes (K, C) float of length 1 -> (n,) int64   the class nearest to each picture"""
    return (pictures @ classes.T).argmax(dim=1).numpy()


def linear_probe(
    vectors: Tensor, answer: NDArray[np.int64], held_out: Tensor, their: NDArray[np.int64], asked: Tensor
) -> tuple[NDArray[np.int64], float]:
    """A linear layer on frozen vectors; how strongly it is held back is chosen on rows that it did not learn from.

    vectors  (n, C) float   of training pictures, of length 1     answer (n,) int64   their classes, two at least
    held_out (m, C) float   of validation pictures                their  (m,) int64
    asked    (k, C) float
    -> (k,) int64, the classes of what is asked; the strength that was chosen, the least of several as good
    """
    if len(np.unique(answer)) < 2:
        raise ValueError("a linear probe tells at least two classes apart")
    best: tuple[float, LogisticRegression] | None = None
    for strength in STRENGTHS:
        probe = LogisticRegression(C=strength, max_iter=ROUNDS).fit(vectors.numpy(), answer)
        right = float((probe.predict(held_out.numpy()) == their).mean())
        if best is None or right > best[0]:
            best = right, probe
    assert best is not None
    return best[1].predict(asked.numpy()).astype(np.int64), best[1].C
