"""Visual words: what stands for the classes of segments, which nobody names. A region is the nearest of some centres.

They are learned by k-means from the regions of training pictures alone, and are hard: a region is one word wholly.
Each is called by the word that the texts of these pictures say most often where it is seen, so that OSCAR's tags are
words that a text may share.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from fashionvl.catalogue.problems import Problem
from fashionvl.training import seed_of

FILE = "words.npy"  # (K, D) float32
PICTURES = 2000  # that are learned from at most, drawn at random
BATCH, STARTS = 1024, 3  # of k-means
LEAST = 5  # texts that say a word, or it is no name
WORD = re.compile(r"[^\W\d_]{2,}")
LETTERS = str.maketrans("0123456789", "abcdefghij")  # words that are learned from texts may know no digits

Shards = Sequence[Mapping[str, Any]]  # what the manifest says of each


def drawn(pictures: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The pictures that words are learned from and called by, some of these -> their indices, rising."""
    draw = np.random.default_rng(seed_of(seed, 12))
    return np.sort(draw.choice(pictures, min(PICTURES, len(pictures)), replace=False))


def learn(folder: Path, shards: Shards, pictures: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
    """Learn words from some pictures; the same ones, however many cores there are.

    folder    where the shards lie
    pictures  the indices of those that are learned from, rising
    -> (K, D) float32   a Problem where they have fewer regions than words are asked for
    """
    found = [vectors[stands(places)].astype(np.float32) for vectors, places in _of(folder, shards, pictures)]
    regions = np.concatenate(found)
    if len(regions) < count:
        raise Problem(
            f"{count} visual words are asked for (regions.classes in params.yaml), and the pictures of the training"
            f" split have {len(regions)} regions to learn them from"
        )
    with threadpool_limits(1):
        means = MiniBatchKMeans(count, batch_size=BATCH, n_init=STARTS, random_state=seed_of(seed, 13) % 2**32)
        return means.fit(regions).cluster_centers_


def names(
    folder: Path, shards: Shards, pictures: NDArray[np.int64], texts: Sequence[str], words: NDArray[np.float32]
) -> list[str]:
    """What the words are called: each by a word of the texts, all by different ones.

    texts     of the products of `pictures`, one each
    words     (K, D) float32
    -> K names; the assignment has the greatest sum of correlations between what is said and what is seen. A word of
    fewer than LEAST texts is no name, and where none is left that goes with visual word 7 it is `segment h`
    """
    shown = np.concatenate([nearest(*each, words).any(axis=1) for each in _of(folder, shards, pictures)])
    said_in = [set(WORD.findall(text.lower())) for text in texts]
    counts = Counter(word for some in said_in for word in some)
    known = sorted(word for word, count in counts.items() if count >= LEAST)
    named = [f"segment {str(number).translate(LETTERS)}" for number in range(len(words))]
    if known:
        said = np.array([[word in some for word in known] for some in said_in])
        agree = correlations(shown, said)
        for number, at in zip(*linear_sum_assignment(agree, maximize=True), strict=True):
            if agree[number, at] > 0:
                named[number] = known[at]
    return named


def correlations(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """first (N, A), second (N, B) bool -> (A, B) float64   of each with each; 0 where one is always or never True."""
    with threadpool_limits(1):
        left, right = (each - each.mean(axis=0) for each in (first.astype(np.float64), second.astype(np.float64)))
        spread = np.sqrt((left**2).sum(axis=0)[:, None] * (right**2).sum(axis=0))
        return np.divide(left.T @ right, spread, out=np.zeros_like(spread), where=spread > 1e-12)


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


def _of(folder: Path, shards: Shards, pictures: NDArray[np.int64]) -> Iterator[tuple[NDArray, NDArray]]:
    """-> the vectors and the places of some pictures, shard by shard."""
    start = 0
    for shard in shards:
        mine = pictures[(pictures >= start) & (pictures < start + shard["rows"])] - start
        start += shard["rows"]
        vectors, places = _read(folder, shard)
        yield vectors[mine], places[mine]


def _read(folder: Path, shard: Mapping[str, Any]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """-> the vectors and the places of one shard, memory-mapped."""
    files = (shard["file"], shard["places"]["file"])
    vectors, places = (np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in files)
    return vectors, places
