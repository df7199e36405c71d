"""From picture files to what a store keeps of them, on all cores.

Every thread opens, locks, cuts and encodes pictures of its own with one torch thread: that needs no barrier between
threads, and on a processor the vectors of a picture do not depend on its neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.patches import regions
from fashionvl.patches.cutting import cut
from fashionvl.patches.foreground import Foreground
from fashionvl.stages.proposals import Proposed, propose
from fashionvl.stages.workshop import PICTURES_AT_ONCE, Workshop, foreground_of, maps_of, vectors_of

MAP_SIDE = 4  # times the side of a patch: of the square that a whole picture is brought to before its map is pooled

Pictures = Sequence[Image.Image]


@dataclass(frozen=True)
class Encoded:
    """Some pictures as a store keeps them, n of them.

    vectors  (n, V, D) float16   of all grids; or (n, R, D) of regions, zero where none stands
    found    the foreground of each
    places   (n, R, 5) float32   of regions, zero where none stands; None with grids
    classes  (n, R, K) float16   as a detector names them, zero for whole pictures and where none stands; None without
    """

    vectors: NDArray[np.float16]
    found: list[Foreground]
    places: NDArray[np.float32] | None = None
    classes: NDArray[np.float16] | None = None


def shards_of(
    paths: list[str], numbers: list[int], shop: Workshop, *, tick: Callable[[int], None]
) -> Iterator[tuple[int, Encoded]]:
    """Encode the shards of the given numbers; while the caller writes one, the next is already being encoded.

    No more than two shards are ever in memory.

    tick  is told how many more pictures are done, every time some are
    -> number, all of its pictures
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        ahead: list[Future] = []
        for number, following in zip(numbers, [*numbers, None][1:], strict=True):
            futures = ahead or _submit(pool, paths, number, shop)
            ahead = [] if following is None else _submit(pool, paths, following, shop)
            parts = []
            for future in futures:
                parts.append(future.result())
                tick(len(parts[-1].found))
            yield number, _joined(parts)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def encoded(paths: Sequence[str], shop: Workshop) -> Encoded:
    """Open, lock, cut and encode some pictures; raises Problem that names one whose vectors are no numbers."""
    pictures = [open_rgb(shop.root, path, max_megapixels=shop.max_megapixels) for path in paths]
    return encoded_pictures(pictures, paths, shop)


def encoded_pictures(pictures: Pictures, paths: Sequence[str], shop: Workshop) -> Encoded:
    """`encoded` for opened RGB pictures; `paths` are what they are called."""
    found = [foreground_of(picture, path, shop) for picture, path in zip(pictures, paths, strict=True)]
    made = (_of_regions if shop.row.regions else _of_grids)(pictures, paths, found, shop)
    sound = [bool(np.isfinite(each).all()) for each in made.vectors]
    if not all(sound):
        raise Problem(
            f"{paths[sound.index(False)]}: the {_maker(shop)} gives vectors of it that are no numbers or do not fit"
            " into half precision"
        )
    return made


def _maker(shop: Workshop) -> str:
    asked = shop.row.regions
    if asked is not None and asked.features == "detector":
        return f"detector {asked.detector!r}"
    return f"patch encoder {shop.row.encoder!r}"


def _of_grids(pictures: Pictures, paths: Sequence[str], found: list[Foreground], shop: Workshop) -> Encoded:
    seen = zip(pictures, found, strict=True)
    tiles = np.concatenate([cut(shop.pyramid, picture, each.box, shop.row.pixels) for picture, each in seen])
    return Encoded(vectors_of(tiles, shop).view(len(pictures), shop.slots, -1).numpy(), found)


def _of_regions(pictures: Pictures, paths: Sequence[str], found: list[Foreground], shop: Workshop) -> Encoded:
    asked = shop.row.regions
    assert asked is not None
    proposed = [
        propose(picture, path, each.box, asked, shop.detector)
        for picture, path, each in zip(pictures, paths, found, strict=True)
    ]
    vectors = FEATURES[asked.features](pictures, proposed, shop)
    classes = [one.classes for one in proposed if one.classes is not None]
    return Encoded(
        _filled(vectors, asked.most, np.float16),
        found,
        _filled(_places(pictures, proposed), asked.most, np.float32),
        _filled(classes, asked.most, np.float16) if classes else None,
    )


def _crops(pictures: Pictures, proposed: Sequence[Proposed], shop: Workshop) -> list[NDArray]:
    seen = zip(pictures, proposed, strict=True)
    tiles = np.concatenate([regions.crops(picture, one.boxes, shop.row.pixels) for picture, one in seen])
    return np.split(vectors_of(tiles, shop).numpy(), np.cumsum([len(one.boxes) for one in proposed])[:-1])


def _pooled(pictures: Pictures, proposed: Sequence[Proposed], shop: Workshop) -> list[NDArray]:
    size = (MAP_SIDE * shop.row.pixels, MAP_SIDE * shop.row.pixels)
    squares = np.stack([np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures])
    seen = zip(maps_of(squares, shop), _places(pictures, proposed), strict=True)
    return [regions.pooled(cells, torch.from_numpy(places)).half().numpy() for cells, places in seen]


def _of_detector(pictures: Pictures, proposed: Sequence[Proposed], shop: Workshop) -> list[NDArray]:
    return [torch.from_numpy(one.vectors).half().numpy() for one in proposed if one.vectors is not None]


FEATURES: dict[str, Callable[[Pictures, Sequence[Proposed], Workshop], list[NDArray]]] = {
    "crops": _crops,
    "pooled": _pooled,
    "detector": _of_detector,
}


def _places(pictures: Pictures, proposed: Sequence[Proposed]) -> list[NDArray[np.float32]]:
    return [regions.places_of(one.boxes, picture.size) for picture, one in zip(pictures, proposed, strict=True)]


def _filled(parts: Sequence[NDArray], slots: int, dtype: Any) -> NDArray:
    """Arrays (n, C) of one C each -> (len(parts), slots, C), zero where a picture has fewer than so many."""
    filled = np.zeros((len(parts), slots, parts[0].shape[1]), dtype)
    for row, part in zip(filled, parts, strict=True):
        row[: len(part)] = part
    return filled


def _joined(parts: Sequence[Encoded]) -> Encoded:
    found = [each for part in parts for each in part.found]
    vectors, places, classes = ([getattr(part, name) for part in parts] for name in ("vectors", "places", "classes"))
    return Encoded(
        np.concatenate(vectors),
        found,
        None if places[0] is None else np.concatenate(places),
        None if classes[0] is None else np.concatenate(classes),
    )


def _submit(pool: ThreadPoolExecutor, paths: list[str], number: int, shop: Workshop) -> list[Future]:
    mine = paths[number * shop.row.shard : (number + 1) * shop.row.shard]
    size = PICTURES_AT_ONCE[shop.device.type]
    return [pool.submit(encoded, mine[i : i + size], shop) for i in range(0, len(mine), size)]
