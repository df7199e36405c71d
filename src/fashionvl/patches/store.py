"""The cache of patch vectors on disk: fp16 shards, memory-mapped, each with its checksum.

A folder holds `vectors-00000.npy` ... (rows, V, D) float16 in the order of pictures.parquet, `boxes.parquet` with the
foreground box of every picture, and `manifest.json`, written last: a folder without one is not a store. P patches and V
vectors are those of its layout, 55 and 74 in Kaleido-BERT.

Where the vectors are those of regions (ImageBERT), P is V, and a shard has two files more: `places-00000.npy` (rows, P,
5) float32 with x1, x2, y1, y2, area of each region in [0, 1] of the whole picture, zero where there is none, and
`classes-00000.npy` (rows, P, K) float16, how likely it is of each class, zero for the whole picture in slot 0.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fashionvl.batches import Pictures
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.pyramid import Layout, Pyramid, Regions

VERSION = 2
MANIFEST = "manifest.json"
OF_PICTURES = ("kind", "pictures", "fallbacks", "boxes", "shards")  # what a manifest says that is not how it was made
BOXES = "boxes.parquet"
BESIDE = ("places", "classes")  # files of a shard of regions, beside its vectors

Indices = Tensor | np.ndarray | Sequence[int]


def shard_name(number: int, what: str = "vectors") -> str:
    """The file name of the vectors of one shard, or of its `places` or `classes`."""
    return f"{what}-{number:05d}.npy"


def layout_of(manifest: dict[str, Any]) -> Layout:
    """What the slots of a picture are: those of its grids, or of its regions."""
    if "regions" in manifest:
        return Regions(manifest["regions"], tuple(manifest["classes"]))
    return Pyramid(tuple(manifest["grids"]))


def stated(layout: Layout) -> dict[str, Any]:
    """What a manifest says of a layout."""
    if isinstance(layout, Regions):
        return {"regions": layout.most, "classes": list(layout.names)}
    return {"grids": list(layout.sides)}


def checksum(path: Path) -> str:
    """The sha256 of one file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Found:
    """What is known of the regions of each picture of a store, shard by shard: (rows, P, 5) and (rows, P, K)."""

    places: list[np.ndarray]
    classes: list[np.ndarray]


class Store:
    """The vectors of every picture of a catalogue; the row number of a picture is its index.

    manifest  what manifest.json says: encoder, dim, pixels, grids or regions and classes, foreground, shards
    layout    the grids that the pictures were cut into, or the slots of their regions
    tags      what a detector saw in each picture, as word pieces (tasks/tags.py); None where nothing is read of it
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], shards: list[np.ndarray], found: Found | None = None):
        self.folder = folder
        self.manifest = manifest
        self.layout = layout_of(manifest)
        self.tags: tuple[Tensor, Tensor] | None = None
        self._shards = shards
        self._found = found
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
        layout = layout_of(manifest)
        shape = (layout.vectors, manifest["dim"])
        shards = [_map_shard(folder, entry, shape) for entry in manifest["shards"]]
        store = cls(folder, manifest, shards, _map_found(folder, manifest["shards"], layout))
        if resident:
            store._resident = store.vectors(np.arange(len(store)))
        return store

    @classmethod
    def of(
        cls, layout: Layout, vectors: np.ndarray, places: np.ndarray | None = None, classes: np.ndarray | None = None
    ) -> "Store":
        """A store that lies in memory only.

        vectors (n, V or P, D) float16
        places  (n, P, 5) float32, classes (n, P, K) float16   of regions; None with grids
        """
        manifest = {**stated(layout), "dim": vectors.shape[2]}
        found = None if places is None or classes is None else Found([places], [classes])
        return cls(Path(), manifest, [vectors], found)

    @classmethod
    def joined(cls, stores: "Sequence[Store]") -> "Store":
        """The pictures of some stores of one kind, one store after another; nothing is copied but tags."""
        shards = [shard for store in stores for shard in store._shards]
        known = [store._found for store in stores if store._found is not None]
        places, classes = ([shard for found in known for shard in getattr(found, name)] for name in BESIDE)
        whole = cls(Path(), stores[0].manifest, shards, Found(places, classes) if known else None)
        tags = [store.tags for store in stores if store.tags is not None]
        if tags:
            ids, real = zip(*tags, strict=True)
            whole.tags = torch.cat(ids), torch.cat(real)
        return whole

    def only(self, indices: Indices) -> "Store":
        """Some pictures as a store that lies in memory only: indices (n,) int, in any order, repeats allowed."""
        vectors, slots = self.vectors(indices).numpy(), self.layout.patches
        found = self._found
        if found is not None:
            places, classes = (self._rows(each, indices, slots) for each in (found.places, found.classes))
            found = Found([places], [classes])
        some = Store(Path(), self.manifest, [vectors], found)
        if self.tags is not None:
            ids, real = (each[torch.as_tensor(indices)] for each in self.tags)
            some.tags = ids, real
        return some

    def __len__(self) -> int:
        """The number of pictures."""
        return int(self._starts[-1])

    @property
    def dim(self) -> int:
        """The length D of one vector."""
        return int(self.manifest["dim"])

    def vectors(self, indices: Indices) -> Tensor:
        """indices (n,) int, in any order, repeats allowed -> (n, V, D) float16   in the order of pyramid.py."""
        return self._gather(indices, self.layout.vectors)

    def clean(self, indices: Indices) -> Tensor:
        """indices (n,) int, in any order, repeats allowed -> (n, P, D) float16   the clean patches only."""
        return self._gather(indices, self.layout.patches)

    def places(self, indices: Indices) -> Tensor:
        """Where the patches of pictures lie: x1, x2, y1, y2, area in [0, 1], of the locked box or, for regions, of the
        whole picture.

        indices (n,) int -> (P, 5) float, the same for all; for regions (n, P, 5), zero where there is none
        """
        if isinstance(self.layout, Pyramid):
            return self.layout.places()
        assert self._found is not None, "the regions of a store have places"
        return torch.from_numpy(self._rows(self._found.places, indices, self.layout.patches))

    def classes(self, indices: Indices) -> Tensor:
        """How likely each region is of each class: indices (n,) int -> (n, P, K) float16; K is 0 for grids."""
        if self._found is None:
            return torch.zeros(len(indices), self.layout.patches, 0, dtype=torch.float16)
        return torch.from_numpy(self._rows(self._found.classes, indices, self.layout.patches))

    def pictures(self, indices: Indices, patches: Tensor | None = None) -> Pictures:
        """What a model sees of pictures: indices (n,) int, in any order, repeats allowed.

        patches (n, P, D)   in place of the clean ones
        """
        patches, places = self.clean(indices) if patches is None else patches, self.places(indices)
        shown = places[..., 4] > 0  # a region has an area
        shown = shown.expand(patches.shape[:2])
        if self.tags is None:
            return Pictures(patches, shown, places, self.layout.levels_of())
        ids, real = (each[torch.as_tensor(indices)] for each in self.tags)
        return Pictures(patches, torch.cat([shown, real], dim=1), places, self.layout.levels_of(), ids)

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
        shards = self.manifest["shards"]
        beside = [entry[what] for entry in shards for what in BESIDE if what in entry]
        for entry in [*shards, *beside, self.manifest["boxes"]]:
            if checksum(self.folder / entry["file"]) != entry["sha256"]:
                raise Problem(
                    f"{self.folder / entry['file']} is damaged: its checksum is not the one in {MANIFEST}; "
                    "run the stage `patches` again"
                )

    def _gather(self, indices: Indices, first: int) -> Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(self._checked(indices)), :first]
        return torch.from_numpy(self._rows(self._shards, indices, first))

    def _rows(self, shards: list[np.ndarray], indices: Indices, first: int) -> np.ndarray:
        """indices (n,) int -> (n, `first`, ...)   of files that lie in shards, in the order asked for"""
        wanted = self._checked(indices)
        gathered = np.empty((len(wanted), first, *shards[0].shape[2:]), dtype=shards[0].dtype)
        order = np.argsort(wanted, kind="stable")
        bounds = np.searchsorted(wanted[order], self._starts)
        for number in np.flatnonzero(bounds[1:] > bounds[:-1]):
            slots = order[bounds[number] : bounds[number + 1]]
            shard, start = shards[number], self._starts[number]
            for slot in slots:
                gathered[slot] = shard[wanted[slot] - start, :first]
        return gathered

    def _checked(self, indices: Indices) -> np.ndarray:
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"picture indices must be in 0..{len(self) - 1}, got {wanted.min()}..{wanted.max()}")
        return wanted


def _map_found(folder: Path, entries: list[dict[str, Any]], layout: Layout) -> Found | None:
    if not isinstance(layout, Regions):
        return None

    def mapped(what: str, width: int, kind: type[np.floating]) -> list[np.ndarray]:
        files = [{**entry[what], "rows": entry["rows"]} for entry in entries]
        return [_map_shard(folder, file, (layout.most, width), kind) for file in files]

    return Found(mapped("places", 5, np.float32), mapped("classes", len(layout.names), np.float16))


def _map_shard(
    folder: Path, entry: dict[str, Any], shape: tuple[int, int], kind: type[np.floating] = np.float16
) -> np.ndarray:
    path = folder / entry["file"]
    if not path.is_file():
        raise Problem(f"{path} is missing although {MANIFEST} names it; run the stage `patches` again")
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise Problem(f"{path} cannot be read as an array ({error}); run the stage `patches` again") from None
    expected = (entry["rows"], *shape)
    if shard.shape != expected or shard.dtype != kind:
        raise Problem(
            f"{path} holds {shard.dtype} {shard.shape}, expected {np.dtype(kind)} {expected}; run the stage `patches`"
            " again"
        )
    return shard


def write_shard(folder: Path, number: int, rows: np.ndarray, what: str = "vectors") -> Path:
    """Write one file of a shard, whole or not at all.

    rows  (n, V, D) float16 vectors, (n, P, 5) float32 places or (n, P, K) float16 classes
    what  which of them
    """
    path = folder / shard_name(number, what)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return unfinished.replace(path)
