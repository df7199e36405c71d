"""The cache of patch vectors on disk: fp16 shards, memory-mapped, each with its checksum.

A folder holds `vectors-00000.npy` ... (rows, V, D) float16 in the order of pictures.parquet, `boxes.parquet` with the
foreground box of every picture, and `manifest.json`, written last: a folder without one is not a store. P patches and V
vectors are those of its pyramid, 55 and 74 in Kaleido-BERT.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fashionvl.catalogue.problems import Problem
from fashionvl.patches.pyramid import Pyramid

VERSION = 2
MANIFEST = "manifest.json"
BOXES = "boxes.parquet"

Indices = Tensor | np.ndarray | Sequence[int]


def shard_name(number: int) -> str:
    """The file name of one shard."""
    return f"vectors-{number:05d}.npy"


def checksum(path: Path) -> str:
    """The sha256 of one file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The vectors of every picture of a catalogue; the row number of a picture is its index.

    manifest  what manifest.json says: encoder, dim, pixels, grids, foreground, shards
    pyramid   the grids that the pictures were cut into
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], shards: list[np.ndarray]):
        self.folder = folder
        self.manifest = manifest
        self.pyramid = Pyramid(tuple(manifest["grids"]))
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self._resident: Tensor | None = None

    @classmethod
    def open(cls, folder: Path, *, resident: bool = False) -> "Store":
        """Open a store; nothing is read before it is asked for, unless `resident` loads all of it into memory.

        Raises Problem when the folder is no finished store, is of another version, or a shard has another shape.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise Problem(f"{folder} holds no {MANIFEST}: the stage `patches` has not finished there")
        manifest = json.loads(path.read_text())
        if manifest.get("version") != VERSION:
            raise Problem(
                f"{path} is of version {manifest.get('version')}, this program reads version {VERSION}: "
                "run the stage `patches` again"
            )
        shape = (Pyramid(tuple(manifest["grids"])).vectors, manifest["dim"])
        store = cls(folder, manifest, [_map_shard(folder, entry, shape) for entry in manifest["shards"]])
        if resident:
            store._resident = store.vectors(np.arange(len(store)))
        return store

    def __len__(self) -> int:
        """The number of pictures."""
        return int(self._starts[-1])

    @property
    def dim(self) -> int:
        """The length D of one vector."""
        return int(self.manifest["dim"])

    def vectors(self, indices: Indices) -> Tensor:
        """indices (n,) int, in any order, repeats allowed -> (n, V, D) float16   in the order of pyramid.py."""
        return self._gather(indices, self.pyramid.vectors)

    def clean(self, indices: Indices) -> Tensor:
        """indices (n,) int, in any order, repeats allowed -> (n, P, D) float16   the clean patches only."""
        return self._gather(indices, self.pyramid.patches)

    def at(self, indices: Indices, slots: Indices) -> Tensor:
        """One vector of each picture: indices (n,) int, slots (n,) int among the V -> (n, D) float16."""
        wanted, slot = np.asarray(indices, dtype=np.int64), np.asarray(slots, dtype=np.int64)
        if self._resident is not None:
            return self._resident[torch.from_numpy(wanted), torch.from_numpy(slot)]
        gathered = np.empty((len(wanted), self.dim), dtype=np.float16)
        number = np.searchsorted(self._starts, wanted, side="right") - 1
        for row, (shard, picture) in enumerate(zip(number, wanted, strict=True)):
            gathered[row] = self._shards[shard][picture - self._starts[shard], slot[row]]
        return torch.from_numpy(gathered)

    def boxes(self) -> pd.DataFrame:
        """One row a picture: path, left, top, right, bottom (pixels), and the quality of its foreground."""
        return pd.read_parquet(self.folder / BOXES)

    def verify(self) -> None:
        """Read every shard again and compare; raises Problem that names the first file that is not what was written."""
        for entry in [*self.manifest["shards"], self.manifest["boxes"]]:
            if checksum(self.folder / entry["file"]) != entry["sha256"]:
                raise Problem(
                    f"{self.folder / entry['file']} is damaged: its checksum is not the one in {MANIFEST}; "
                    "run the stage `patches` again"
                )

    def _gather(self, indices: Indices, first: int) -> Tensor:
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"picture indices must be in 0..{len(self) - 1}, got {wanted.min()}..{wanted.max()}")
        if self._resident is not None:
            return self._resident[torch.from_numpy(wanted), :first]
        gathered = np.empty((len(wanted), first, self.dim), dtype=np.float16)
        order = np.argsort(wanted, kind="stable")
        bounds = np.searchsorted(wanted[order], self._starts)
        for number in np.flatnonzero(bounds[1:] > bounds[:-1]):
            slots = order[bounds[number] : bounds[number + 1]]
            shard, start = self._shards[number], self._starts[number]
            for slot in slots:
                gathered[slot] = shard[wanted[slot] - start, :first]
        return torch.from_numpy(gathered)


def _map_shard(folder: Path, entry: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    path = folder / entry["file"]
    if not path.is_file():
        raise Problem(f"{path} is missing although {MANIFEST} names it; run the stage `patches` again")
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise Problem(f"{path} cannot be read as an array ({error}); run the stage `patches` again") from None
    expected = (entry["rows"], *shape)
    if shard.shape != expected or shard.dtype != np.float16:
        raise Problem(
            f"{path} holds {shard.dtype} {shard.shape}, expected float16 {expected}; run the stage `patches` again"
        )
    return shard


def write_shard(folder: Path, number: int, vectors: np.ndarray) -> Path:
    """Write one shard, whole or not at all.

    vectors (rows, V, D) float16
    """
    path = folder / shard_name(number)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
    return unfinished.replace(path)
