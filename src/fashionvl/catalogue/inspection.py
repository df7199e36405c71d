"""Every picture opened once, on all cores: its size, its hashes, or why it cannot be used."""

import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fashionvl.catalogue.likeness import perceptual_hash
from fashionvl.catalogue.pictures import BrokenPicture, Opened, examine
from fashionvl.catalogue.problems import Problem

SMALLEST_SIDE = 5  # pixels: the finest grid of patches has five rows
FEW = 512  # below this, starting processes costs more than it saves
CHUNK = 32


@dataclass(frozen=True)
class Inspected:
    """What is known of a usable picture; `path` is where it was found, `phash` the 64 bits of its perceptual hash."""

    path: str
    width: int
    height: int
    sha256: str
    phash: int
    repairs: tuple[str, ...]


def inspect(
    root: Path, paths: Sequence[str], *, max_megapixels: float, workers: int
) -> Iterator[Inspected | BrokenPicture]:
    """Open every picture once; results come in the order of `paths`, as they are ready."""
    look = partial(inspect_one, root, max_megapixels=max_megapixels)
    if workers < 2 or len(paths) < FEW:
        yield from map(look, paths)
        return
    # Not a plain fork: threads of the caller and open HDF5 files do not survive one.
    fresh = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=fresh) as pool:
        try:
            yield from pool.map(look, paths, chunksize=CHUNK)
        except BrokenProcessPool:
            raise Problem(
                f"a process that opens pictures was killed, most likely for want of memory; "
                f"catalogue.max_megapixels is {max_megapixels:g}, a smaller one needs less"
            ) from None


def inspect_one(root: Path, path: str, *, max_megapixels: float) -> Inspected | BrokenPicture:
    """Open one picture, wherever it turns out to lie; a reason instead of an error."""
    try:
        with warnings.catch_warnings(action="ignore"):  # decoders grumble about what is repaired or told here
            found, opened, repairs = _find(root, path, max_megapixels)
        width, height = opened.image.size
        if min(width, height) < SMALLEST_SIDE:
            reason = f"{width} x {height} pixels are too few; the smallest side has {SMALLEST_SIDE}"
            raise BrokenPicture(path, "picture too small", reason)
    except BrokenPicture as broken:
        return broken
    return Inspected(found, width, height, opened.sha256, perceptual_hash(opened.image), repairs + opened.repairs)


def _find(root: Path, path: str, max_megapixels: float) -> tuple[str, Opened, tuple[str, ...]]:
    """The picture under the name it is given, or under one that people often mean by it."""
    try:
        return path, examine(root, path, max_megapixels=max_megapixels), ()
    except BrokenPicture as broken:
        if broken.rule != "missing picture":
            raise
        missing = broken
    slashed = path.replace("\\", "/")
    for other, rule in (
        (slashed, "backslash in a picture's path read as slash"),
        (f"images/{slashed}", "picture found in images/"),
    ):
        if other != path and (root / other).is_file():
            return other, examine(root, other, max_megapixels=max_megapixels), (rule,)
    raise missing
