"""The workshop of the stage `patches`: from a picture file to its vectors, on all cores.

Every thread opens, locks, cuts and encodes pictures of its own with one torch thread: that needs no barrier between
threads, and on a processor the vectors of a picture do not depend on its neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fashionvl import config
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import SaliencyNet, frozen
from fashionvl.patches import foreground
from fashionvl.patches.cutting import cut
from fashionvl.patches.foreground import Foreground
from fashionvl.patches.pyramid import Pyramid
from fashionvl.stages.machine import has_bf16

PIXELS_AT_ONCE = {"cpu": 8 * 224**2, "cuda": 512 * 224**2}  # a forward; on a processor few, or the caches overflow
PICTURES_AT_ONCE = {"cpu": 1, "cuda": 8}

Vectors = NDArray[np.float16]


@dataclass(frozen=True)
class Workshop:
    """What a thread needs to turn pictures into vectors; shared by all threads, changed by none.

    root      the catalogue's folder
    encoder   (N, 3, S, S) uint8 -> (N, D)
    saliency  the network of the setting `saliency`, None with any other
    dtype     what the encoder computes in
    """

    root: Path
    row: config.Patches
    max_megapixels: float
    encoder: nn.Module
    saliency: SaliencyNet | None
    device: torch.device
    dtype: torch.dtype

    @property
    def pyramid(self) -> Pyramid:
        return Pyramid(tuple(self.row.grids))


def workshop(
    root: Path, row: config.Patches, max_megapixels: float, encoder: nn.Module, saliency: SaliencyNet | None
) -> Workshop:
    """Bring the networks to the device, the encoder folded and in bf16 where the device computes in that."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if has_bf16() else torch.float32
    ready = frozen(encoder, dtype).to(device)
    return Workshop(root, row, max_megapixels, ready, saliency.to(device) if saliency else None, device, dtype)


def shards_of(
    paths: list[str], numbers: list[int], shop: Workshop, *, tick: Callable[[int], None]
) -> Iterator[tuple[int, Vectors, list[Foreground]]]:
    """Encode the shards of the given numbers; while the caller writes one, the next is already being encoded.

    No more than two shards are ever in memory.

    tick  is told how many more pictures are done, every time some are
    -> number, (rows, V, D) float16, the foreground of each picture
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        ahead: list[Future] = []
        for number, following in zip(numbers, [*numbers[1:], None], strict=True):
            futures = ahead or _submit(pool, paths, number, shop)
            ahead = [] if following is None else _submit(pool, paths, following, shop)
            vectors, found = [], []
            for future in futures:
                some, theirs = future.result()
                vectors.append(some)
                found += theirs
                tick(len(theirs))
            yield number, np.concatenate(vectors), found
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def vectors_of(paths: list[str], shop: Workshop) -> tuple[Vectors, list[Foreground]]:
    """From files to vectors: open, lock, cut, encode.

    -> (n, V, D) float16, and the foreground of each; raises Problem that names a picture whose vectors are no numbers
    """
    return vectors_of_pictures(
        [open_rgb(shop.root, path, max_megapixels=shop.max_megapixels) for path in paths], paths, shop
    )


def vectors_of_pictures(
    pictures: Sequence[Image.Image], paths: Sequence[str], shop: Workshop
) -> tuple[Vectors, list[Foreground]]:
    """`vectors_of` for opened RGB pictures; `paths` are what they are called."""
    tiles, found = [], []
    for picture, path in zip(pictures, paths, strict=True):
        found.append(foreground_of(picture, path, shop))
        tiles.append(cut(shop.pyramid, picture, found[-1].box, shop.row.pixels))
    few = max(1, PIXELS_AT_ONCE[shop.device.type] // shop.row.pixels**2)
    batch = torch.from_numpy(np.concatenate(tiles)).permute(0, 3, 1, 2)  # channels last, as convolutions like it
    with torch.inference_mode(), torch.autocast(shop.device.type, shop.dtype, enabled=shop.dtype != torch.float32):
        parts = [shop.encoder(part.to(shop.device)) for part in batch.split(few)]
    encoded = torch.cat(parts).half().view(len(paths), shop.pyramid.vectors, -1)
    sound = encoded.isfinite().flatten(1).all(dim=1).tolist()
    if not all(sound):
        raise Problem(
            f"{paths[sound.index(False)]}: the patch encoder {shop.row.encoder!r} gives vectors of it that are"
            " no numbers or do not fit into half precision"
        )
    return encoded.cpu().numpy(), found


def foreground_of(picture: Image.Image, path: str, shop: Workshop) -> Foreground:
    """Lock the main object of a picture in the way that params.yaml names."""
    return FOREGROUNDS[shop.row.foreground](picture, path, shop)


def mask_path(path: str) -> str:
    """Where the mask of a picture lies in the catalogue: images/a/7.jpg -> masks/a/7.png."""
    inside = Path(*Path(path).parts[1:]) if len(Path(path).parts) > 1 else Path(path)
    return str(Path("masks") / inside.with_suffix(".png"))


def _whole(picture: Image.Image, path: str, shop: Workshop) -> Foreground:
    return foreground.whole(picture)


def _from_border(picture: Image.Image, path: str, shop: Workshop) -> Foreground:
    return foreground.from_border(picture, margin=shop.row.margin)


def _from_file(picture: Image.Image, path: str, shop: Workshop) -> Foreground:
    mask = open_rgb(shop.root, mask_path(path), max_megapixels=shop.max_megapixels).convert("L")
    return foreground.from_mask(picture, np.asarray(mask) > 127, margin=shop.row.margin)


def _from_network(picture: Image.Image, path: str, shop: Workshop) -> Foreground:
    assert shop.saliency is not None
    small = np.array(picture.resize((shop.saliency.pixels, shop.saliency.pixels), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        mask = shop.saliency(torch.from_numpy(small).permute(2, 0, 1)[None].to(shop.device))[0]
    return foreground.from_mask(picture, mask.cpu().numpy(), margin=shop.row.margin)


FOREGROUNDS: dict[str, Callable[[Image.Image, str, Workshop], Foreground]] = {
    "none": _whole,
    "border": _from_border,
    "masks": _from_file,
    "saliency": _from_network,
}


def _submit(pool: ThreadPoolExecutor, paths: list[str], number: int, shop: Workshop) -> list[Future]:
    mine = paths[number * shop.row.shard : (number + 1) * shop.row.shard]
    size = PICTURES_AT_ONCE[shop.device.type]
    return [pool.submit(vectors_of, mine[i : i + size], shop) for i in range(0, len(mine), size)]
