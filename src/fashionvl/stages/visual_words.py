"""Visual words: what stands for the classes of segments, which nobody names. A region is the nearest of some centres.

They are learned by k-means from the regions of training pictures alone, and are hard: a region is one word wholly.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from fashionvl.catalogue.problems import Problem
from fashionvl.training import seed_of

FILE = "words.npy"  # (K, D) float32
PICTURES = 2000  # that are learned from at most, drawn at random
BATCH, STARTS = 1024, 3  # of k-means

Shards = Sequence[Mapping[str, Any]]  # what the manifest says of each


def names(count: int) -> list[str]:
    """What the words are called."""
    return [f"segment {number}" for number in range(count)]


def learn(folder: Path, shards: Shards, pictures: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
    """Learn words from some pictures; the same ones, however many cores there are.

    folder    where the shards lie
    pictures  the indices of those that may be learned from, rising
    -> (K, D) float32   a Problem where they have fewer regions than words are asked for
    """
    draw = np.random.default_rng(seed_of(seed, 12))
    some = np.sort(draw.choice(pictures, min(PICTURES, len(pictures)), replace=False))
    found, start = [], 0
    for shard in shards:
        mine = some[(some >= start) & (some < start + shard["rows"])] - start
        start += shard["rows"]
        vectors, places = _read(folder, shard)
        found.append(vectors[mine][stands(places[mine])].astype(np.float32))
    regions = np.concatenate(found)
    if len(regions) < count:
        raise Problem(
            f"{count} visual words are asked for (regions.classes in params.yaml), and the pictures of the training"
            f" split have {len(regions)} regions to learn them from"
        )
    with threadpool_limits(1):
        means = MiniBatchKMeans(count, batch_size=BATCH, n_init=STARTS, random_state=seed_of(seed, 13) % 2**32)
        return means.fit(regions).cluster_centers_


def said(folder: Path, shard: Mapping[str, Any], words: NDArray[np.float32]) -> NDArray[np.float16]:
    """Which word each region of one shard is -> (rows, R, K) float16, as `nearest` gives it."""
    return nearest(*_read(folder, shard), words)


def nearest(vectors: NDArray[np.float16], places: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray:
    """Which word each region is.

    vectors (n, R, D) float16
    places  (n, R, 5) float32   zero where no region stands
    words   (K, D) float32
    -> (n, R, K) float16        1 for the nearest word, 0 elsewhere; all 0 of whole pictures and where no region stands
    """
    with threadpool_limits(1):
        near = ((words**2).sum(axis=1) - 2 * vectors.astype(np.float32) @ words.T).argmin(axis=2)
    return np.eye(len(words), dtype=np.float16)[near] * stands(places)[..., None]


def stands(places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """places (n, R, 5) float32 -> (n, R) bool   True where a region stands that is not the whole picture."""
    real = places[..., 4] > 0
    real[:, 0] = False
    return real


def _read(folder: Path, shard: Mapping[str, Any]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """-> the vectors and the places of one shard, memory-mapped."""
    files = (shard["file"], shard["places"]["file"])
    vectors, places = (np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in files)
    return vectors, places
