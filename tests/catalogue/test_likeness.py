"""Perceptual hashes and the search for pairs that are a few bits apart."""

import time

import numpy as np
import pytest
from PIL import Image

from fashionvl.catalogue.likeness import MOST_BITS, near_pairs, perceptual_hash


def all_pairs(hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(apart <= bits, 1)), strict=True)}


def crowded(count: int) -> np.ndarray:
    """Different hashes, many of them a few bits apart."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**63, count // 5, dtype=np.uint64)
    flips = (np.uint64(1) << rng.integers(0, 64, (count, 4)).astype(np.uint64)) * rng.integers(0, 2, (count, 4)).astype(
        np.uint64
    )
    return np.unique(rng.choice(centres, count) ^ np.bitwise_xor.reduce(flips, axis=1))


@pytest.mark.parametrize("bits", [0, 1, 4, MOST_BITS])
def test_the_banded_search_finds_what_comparing_everything_finds(bits):
    hashes = crowded(600)
    found = [tuple(sorted(map(int, pair))) for block in near_pairs(hashes, bits) for pair in zip(*block, strict=True)]
    assert set(found) == all_pairs(hashes, bits)
    assert len(found) == len(set(found))


def test_the_search_grows_far_slower_than_all_pairs():
    hashes = np.unique(np.random.default_rng(0).integers(0, 2**63, 200_000, dtype=np.uint64))
    start = time.process_time()
    assert sum(len(i) for i, _ in near_pairs(hashes, 4)) == 0
    assert time.process_time() - start < 10


def test_too_many_bits_are_refused():
    with pytest.raises(ValueError, match="bits"):
        next(near_pairs(np.zeros(1, np.uint64), MOST_BITS + 1))


def test_the_hash_is_that_of_imagehash():
    imagehash = pytest.importorskip("imagehash", reason="imagehash is not installed")
    rng = np.random.default_rng(0)
    for size in ((40, 30), (171, 256), (300, 200)):
        noise = Image.fromarray(rng.integers(0, 255, (9, 7, 3), np.uint8)).resize(size)
        assert f"{perceptual_hash(noise):016x}" == str(imagehash.phash(noise))


def test_a_smaller_copy_has_nearly_the_same_hash():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)).resize((300, 200))
    other = Image.fromarray(np.random.default_rng(1).integers(0, 255, (9, 7, 3), np.uint8)).resize((300, 200))
    near, far = (perceptual_hash(noise) ^ perceptual_hash(image) for image in (noise.resize((150, 100)), other))
    assert near.bit_count() <= 4 < far.bit_count()
