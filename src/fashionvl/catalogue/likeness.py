"""Which pictures are nearly the same: a perceptual hash, and all pairs of hashes a few bits apart."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image

BITS = 64
MOST_BITS = 8  # beyond this the bands are so narrow that the search compares everything with everything
_SIDE = 32  # pixels of the reduced picture
_KEPT = 8  # lowest frequencies a side


def perceptual_hash(image: Image.Image) -> int:
    """The 64 signs of the lowest frequencies of a picture about their median (the `phash` of the library imagehash)."""
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    waves = _waves()
    low = waves @ np.asarray(grey, dtype=np.float64) @ waves.T  # (8, 8)
    signs = low > np.median(low)
    return int.from_bytes(np.packbits(signs).tobytes(), "big")


@cache
def _waves() -> np.ndarray:
    """-> (8, 32) float   the first rows of the cosine transform (DCT-II)."""
    place = np.arange(_SIDE) + 0.5
    return 2 * np.cos(np.pi / _SIDE * np.arange(_KEPT)[:, None] * place[None, :])


def near_pairs(hashes: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of hashes at most `bits` apart, each once, in blocks.

    hashes  (n,) uint64, all different
    ->      blocks of (i, j), both (m,) int64

    Two hashes within `bits` agree wholly in one of `bits` + 1 bands (pigeonhole), so that only hashes which share a
    band are compared. Raises ValueError above MOST_BITS.
    """
    if not 0 <= bits <= MOST_BITS:
        raise ValueError(f"near duplicates can be searched within 0 to {MOST_BITS} bits, not {bits}")
    bands = _bands(bits + 1)
    for number, band in enumerate(bands):
        key = hashes & band
        order = np.argsort(key, kind="stable")
        hashed, key = hashes[order], key[order]
        last = np.searchsorted(key, key, side="right")  # where the run of equal bands ends
        alive = np.flatnonzero(last - np.arange(len(key)) > 1)
        step = 1
        while len(alive):
            i, j = alive, alive + step
            apart = hashed[i] ^ hashed[j]
            near = np.bitwise_count(apart) <= bits
            for earlier in bands[:number]:  # a pair that shares an earlier band was found there
                near &= (apart & earlier) != 0
            if near.any():
                yield order[i[near]], order[j[near]]
            step += 1
            alive = alive[alive + step < last[alive]]


def _bands(count: int) -> list[np.uint64]:
    """Masks of `count` runs of bits that together are all 64."""
    edges = [round(BITS * i / count) for i in range(count + 1)]
    return [np.uint64((1 << stop) - (1 << start)) for start, stop in pairwise(edges)]
