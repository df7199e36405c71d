"""From picture files to one array of pixels that trainings can look at many times: opened, locked, resized once."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fashionvl import config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.patches import foreground
from fashionvl.tasks.contrast import Album

REPORT_SECONDS = 5.0
CHUNK = 64  # pictures that are read ahead of the writer
LOCKS = ("border", "none")


def album(
    catalogue: Catalogue,
    pictures: NDArray[np.int64],
    lock: config.Lock,
    *,
    size: tuple[int, int],
    max_megapixels: float,
    file: Path,
) -> Album:
    """The pixels of some pictures of a catalogue, from `file` if a run before this one wrote them there.

    pictures  their indices, rising
    size      height, width that each is brought to
    file      where the pixels are memory-mapped; the folder must be of these pictures and parameters alone
    """
    paths = catalogue.pictures["path"].to_numpy()[pictures].tolist()
    if not file.exists():
        _write(catalogue.root, paths, lock, size, max_megapixels, file)
    pixels = np.load(file, mmap_mode="c")  # torch wants a writable array; nothing is written
    return Album(torch.from_numpy(pixels), torch.from_numpy(pictures))


def read(
    root: Path, paths: Sequence[str], lock: config.Lock, *, size: tuple[int, int], max_megapixels: float
) -> NDArray[np.uint8]:
    """Open, lock and resize pictures, on all cores -> (n, height, width, 3) uint8."""
    check(lock)
    if not len(paths):
        return np.empty((0, *size, 3), dtype=np.uint8)
    return opened(root, paths, partial(pixels_of, lock=lock, size=size), max_megapixels=max_megapixels)


def opened(
    root: Path, paths: Sequence[str], pixels: Callable[[Image.Image], NDArray[np.uint8]], *, max_megapixels: float
) -> NDArray[np.uint8]:
    """What `pixels` makes of one or more pictures, on all cores -> (n, height, width, 3) uint8."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.stack(list(pool.map(lambda path: pixels(open_rgb(root, path, max_megapixels=max_megapixels)), paths)))


def check(lock: config.Lock) -> None:
    """Raises ConfigError when the way to lock is not known."""
    if lock.foreground not in LOCKS:
        raise config.ConfigError(f"params.yaml: foreground must be one of {list(LOCKS)} here, not {lock.foreground!r}")


def _write(
    root: Path, paths: list[str], lock: config.Lock, size: tuple[int, int], max_megapixels: float, file: Path
) -> None:
    part = file.with_suffix(".part")
    pixels = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(paths), *size, 3))
    said = time.monotonic()
    for at in range(0, len(paths), CHUNK):
        chunk = paths[at : at + CHUNK]
        pixels[at : at + len(chunk)] = read(root, chunk, lock, size=size, max_megapixels=max_megapixels)
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            print(f"reading pictures  {at + len(chunk)}/{len(paths)}", flush=True)
    pixels.flush()
    part.replace(file)


def pixels_of(picture: Image.Image, lock: config.Lock, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What a lock leaves of an RGB picture, brought to height, width -> (height, width, 3) uint8."""
    height, width = size
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box_of(picture, lock)))


def box_of(picture: Image.Image, lock: config.Lock) -> tuple[int, int, int, int]:
    """What a lock leaves of an RGB picture: left, top, right, bottom in pixels."""
    if lock.foreground == "border":
        return foreground.from_border(picture, margin=lock.margin).box
    return foreground.whole(picture).box
