"""The workshop of the stage `patches`: the networks on their device, and what they make of one picture."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fashionvl import config
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.models.detector import Detector
from fashionvl.models.named_encoders import SaliencyNet, frozen
from fashionvl.patches import foreground
from fashionvl.patches.foreground import Foreground
from fashionvl.patches.pyramid import Pyramid
from fashionvl.stages.machine import has_bf16

PIXELS_AT_ONCE = {"cpu": 8 * 224**2, "cuda": 512 * 224**2}  # a forward; on a processor few, or the caches overflow
PICTURES_AT_ONCE = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class Workshop:
    """What a thread needs to turn pictures into vectors; shared by all threads, changed by none.

    root      the catalogue's folder
    encoder   (N, 3, S, S) uint8 -> (N, D); None where the vectors are the detector's own
    saliency  the network of the setting `saliency`, None with any other
    dtype     what the encoder computes in
    detector  of a kind with regions that asks for one, None with any other
    """

    root: Path
    row: config.Patches
    max_megapixels: float
    encoder: nn.Module | None
    saliency: SaliencyNet | None
    device: torch.device
    dtype: torch.dtype
    detector: Detector | None = None

    @property
    def pyramid(self) -> Pyramid:
        return Pyramid(tuple(self.row.grids))

    @property
    def slots(self) -> int:
        """Vectors a picture: V of the pyramid, or R regions."""
        return self.row.regions.most if self.row.regions else self.pyramid.vectors

    def computing(self) -> AbstractContextManager:
        """The precision that the encoder computes in."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def workshop(
    root: Path,
    row: config.Patches,
    max_megapixels: float,
    encoder: nn.Module | None,
    saliency: SaliencyNet | None,
    detector: Detector | None = None,
) -> Workshop:
    """Bring the networks to the device, the encoder folded and in bf16 where the device computes in that."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if has_bf16() else torch.float32
    encoder = None if encoder is None else frozen(encoder, dtype).to(device)
    saliency = None if saliency is None else saliency.to(device)
    detector = None if detector is None else detector.to(device)
    return Workshop(root, row, max_megapixels, encoder, saliency, device, dtype, detector)


@torch.inference_mode()
def vectors_of(tiles: NDArray[np.uint8], shop: Workshop) -> Tensor:
    """tiles (N, S, S, 3) uint8 -> (N, D) float16   infinite where a number is too large for half precision"""
    assert shop.encoder is not None
    few = max(1, PIXELS_AT_ONCE[shop.device.type] // shop.row.pixels**2)
    batch = torch.from_numpy(tiles).permute(0, 3, 1, 2)  # channels last, as convolutions like it
    with shop.computing():
        return torch.cat([shop.encoder(part.to(shop.device)) for part in batch.split(few)]).half().cpu()


@torch.inference_mode()
def maps_of(pictures: NDArray[np.uint8], shop: Workshop) -> Tensor:
    """pictures (n, S, S, 3) uint8 -> (n, h, w, D) float32"""
    assert shop.encoder is not None
    with shop.computing():
        maps: Tensor = shop.encoder.maps(torch.from_numpy(pictures).permute(0, 3, 1, 2).to(shop.device))  # type: ignore
    return maps.float().cpu()


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
