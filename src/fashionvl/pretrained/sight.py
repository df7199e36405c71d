"""From opened pictures to what the networks of a system read: patch vectors, and the captioner's feature maps."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import SaliencyNet, frozen
from fashionvl.patches.pyramid import Pyramid
from fashionvl.patches.store import Store
from fashionvl.pretrained.parts import Facts
from fashionvl.stages.album import box_of, pixels_of
from fashionvl.stages.encoding import encoded_pictures
from fashionvl.stages.workshop import PICTURES_AT_ONCE, Workshop, foreground_of

MAPS_AT_ONCE = 64  # pictures

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive


@dataclass(frozen=True)
class Sight:
    """How one system looks at pictures: just as the stage `patches` did when its cache was made."""

    shop: Workshop

    @property
    def pyramid(self) -> Pyramid:
        return self.shop.pyramid

    def patches(self, pictures: list[Image.Image]) -> Store:
        """-> the vectors of every picture, as if the stage had written them: a store that lies in memory only"""
        few = PICTURES_AT_ONCE[self.shop.device.type]
        parts = [
            encoded_pictures(pictures[at : at + few], _names(at, pictures[at : at + few]), self.shop).vectors
            for at in range(0, len(pictures), few)
        ]
        return store_of(self.pyramid, np.concatenate(parts))

    def boxes(self, pictures: list[Image.Image]) -> list[Box]:
        """The box that the patches of each are cut from."""
        return [foreground_of(picture, "the picture", self.shop).box for picture in pictures]

    @torch.inference_mode()
    def maps(self, pictures: list[Image.Image], encoder: nn.Module, row: config.Captioner) -> tuple[Tensor, list[Box]]:
        """What a captioner sees -> (n, L, D) float, row-major, and the box that it looks at of each picture."""
        device, dtype, maps = self.shop.device, self.shop.dtype, []
        for at in range(0, len(pictures), MAPS_AT_ONCE):
            seen = [pixels_of(each, row.lock, (row.pixels, row.pixels)) for each in pictures[at : at + MAPS_AT_ONCE]]
            tiles = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).to(device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                maps.append(encoder.maps(tiles).flatten(1, 2).float())  # type: ignore[operator]
        return torch.cat(maps), [box_of(picture, row.lock) for picture in pictures]


def sight_of(
    patches: Facts, encoder: nn.Module, saliency: nn.Module | None, *, device: torch.device, max_megapixels: float
) -> Sight:
    """patches   how the cache was made: encoder, pixels, grids, foreground, margin, saliency, precision"""
    if patches["foreground"] == "masks":
        raise Problem(
            "this system locks objects by the masks of its catalogue, and a single picture brings none; train it with"
            " patches of foreground: border, saliency or none"
        )
    names = ("encoder", "pixels", "grids", "foreground", "saliency", "margin")
    row = config.Patches(**{name: patches[name] for name in names}, shard=1)
    dtype = getattr(torch, patches["precision"])
    ready = frozen(copy.deepcopy(encoder), dtype).to(device)
    assert saliency is None or isinstance(saliency, SaliencyNet)
    return Sight(Workshop(Path(), row, max_megapixels, ready, saliency, device, dtype))


def store_of(pyramid: Pyramid, vectors: np.ndarray) -> Store:
    """vectors (n, V or P, D) float16 -> a store that lies in memory only"""
    return Store(Path(), {"grids": pyramid.sides, "dim": vectors.shape[2]}, [vectors])


def _names(first: int, pictures: list[Image.Image]) -> list[str]:
    return [f"picture {first + number}" for number in range(len(pictures))]
