"""How far apart two catalogues are, and how far apart two random parts of one are: numbers with a scale.

All distances lie between 0 (the same) and 1 (nothing in common).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHADES = 4  # of each of red, green and blue
SIDE = 64  # pixels that a picture is reduced to before its colours are counted
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Bags:
    """What each of some products holds, unordered.

    codes  (n,) int64   numbers of words, or of anything else that is counted
    owner  (n,) int64   the product that holds it
    kinds  how many different numbers there are
    """

    codes: NDArray[np.int64]
    owner: NDArray[np.int64]
    kinds: int

    def counts(self, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """-> (kinds,) int64   how often each stands in the chosen products (True), or in all."""
        codes = self.codes if chosen is None else self.codes[chosen[self.owner]]
        return np.bincount(codes, minlength=self.kinds)


def bags(old: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> tuple[Bags, Bags]:
    """The things that the products of two catalogues hold, under the same numbers."""
    number: dict[str, int] = {}
    for held in (*old, *new):
        for thing in held:
            number.setdefault(thing, len(number))

    def one(products: Sequence[Sequence[str]]) -> Bags:
        codes = np.array([number[thing] for held in products for thing in held], dtype=np.int64)
        owner = np.repeat(np.arange(len(products)), [len(held) for held in products])
        return Bags(codes, owner, len(number))

    return one(old), one(new)


def words_of(text: str) -> list[str]:
    """The words of a text, lower-cased, without marks."""
    return WORD.findall(text.lower())


def colours_of(picture: Image.Image) -> NDArray[np.float64]:
    """-> (SHADES ** 3,) float   the share of an RGB picture that has each colour."""
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.int64).reshape(-1, 3)
    shade = small * SHADES // 256
    code = (shade[:, 0] * SHADES + shade[:, 1]) * SHADES + shade[:, 2]
    return np.bincount(code, minlength=SHADES**3) / len(code)


def total_variation(a: NDArray, b: NDArray) -> float:
    """Half of what the shares of two tables of counts (kinds,) differ by; symmetric."""
    return float(np.abs(_shares(a) - _shares(b)).sum() / 2)


def jensen_shannon(a: NDArray, b: NDArray) -> float:
    """The divergence of the shares of two tables of counts (kinds,), in bits; symmetric."""
    p, q = _shares(a), _shares(b)
    middle = (p + q) / 2
    return float((_entropy(middle) - (_entropy(p) + _entropy(q)) / 2).clip(0, 1))


def unknown_share(known: NDArray, seen: NDArray) -> float:
    """The share of what is seen (kinds,) that is never counted in `known` (kinds,); not symmetric."""
    return float(_shares(seen)[known == 0].sum())


def energy(a: NDArray, b: NDArray) -> float:
    """The energy distance of two clouds of vectors (n, D) and (m, D), as a share of the largest it could be; symmetric.

    Twice the mean distance between the clouds less those within each, over twice the mean distance between them.
    """
    between = 2 * _mean_distance(a, b)
    if between == 0:
        return 0.0
    return float(np.clip((between - _mean_distance(a, a) - _mean_distance(b, b)) / between, 0, 1))


def level(
    between: Callable[[NDArray[np.bool_]], float],
    units: NDArray[np.int64],
    share: float,
    *,
    partings: int,
    quantile: float,
    generator: np.random.Generator,
) -> float:
    """What two random parts of one catalogue differ by: the quantile of that many partings.

    between  the distance between what is chosen (True) and the rest
    units    (n,) int64   what stays together, such as the colour variants of one article
    share    of the units that are chosen
    """
    names, code = np.unique(units, return_inverse=True)
    most = max(1, round(share * len(names)))
    found = [between((generator.permutation(len(names)) < most)[code]) for _ in range(partings)]
    return float(np.quantile(found, quantile))


def _shares(counts: NDArray) -> NDArray[np.float64]:
    return counts / max(counts.sum(), 1e-12)


def _entropy(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    some = shares[shares > 0]
    return -(some * np.log2(some)).sum()


def _mean_distance(a: NDArray, b: NDArray) -> float:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * a @ b.T
    return float(np.sqrt(squares.clip(0)).mean())
