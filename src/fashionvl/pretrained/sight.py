"""From opened pictures to what the networks of a system read: patch vectors, and the captioner's feature maps."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.detector import Detector
from fashionvl.models.named_encoders import SaliencyNet, frozen
from fashionvl.patches.pyramid import Layout, Pyramid, Regions
from fashionvl.patches.store import Store
from fashionvl.pretrained.parts import Facts
from fashionvl.stages.album import box_of, pixels_of
from fashionvl.stages.encoding import Encoded, encoded_pictures
from fashionvl.stages.visual_words import nearest
from fashionvl.stages.workshop import PICTURES_AT_ONCE, Workshop, foreground_of

MAPS_AT_ONCE = 64  # pictures

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive


@dataclass(frozen=True)
class Sight:
    """How one system looks at pictures: just as the stage `patches` did when its cache was made.

    layout  of what it sees
    words   (K, D) float32   the visual words that stand for the classes of segments; None where there are none
    """

    shop: Workshop
    layout: Layout
    words: NDArray[np.float32] | None

    @property
    def pyramid(self) -> Pyramid:
        return self.shop.pyramid

    def patches(self, pictures: list[Image.Image]) -> Store:
        """-> the vectors of every picture, as if the stage had written them: a store that lies in memory only"""
        few = PICTURES_AT_ONCE[self.shop.device.type]
        parts = [
            encoded_pictures(pictures[at : at + few], _names(at, pictures[at : at + few]), self.shop)
            for at in range(0, len(pictures), few)
        ]
        return Store.joined([self.store(part) for part in parts])

    def store(self, made: Encoded) -> Store:
        """What was encoded, with what the regions are."""
        classes = made.classes
        if self.words is not None and made.places is not None:
            classes = nearest(made.vectors, made.places, self.words)
        return Store.of(self.layout, made.vectors, made.places, classes)

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
    patches: Facts, networks: Mapping[str, nn.Module], *, device: torch.device, max_megapixels: float
) -> Sight:
    """How a system looks at pictures.

    patches   how its cache was made: encoder, pixels, grids or regions, foreground, margin, saliency, precision
    networks  what that takes, by the names of parts.py: those that `needed` names
    """
    if patches["foreground"] == "masks":
        raise Problem(
            "this system locks objects by the masks of its catalogue, and a single picture brings none; train it with"
            " patches of foreground: border, saliency or none"
        )
    names = ("encoder", "pixels", "foreground", "saliency", "margin")
    regions = config.build(config.Regions, patches["regions"], "regions") if patches.get("regions") else None
    grids = patches.get("grids", [])
    row = config.Patches(**{name: patches[name] for name in names}, grids=grids, shard=1, regions=regions)
    dtype = getattr(torch, patches["precision"])
    encoder, saliency, detector = (networks.get(name) for name in ("encoder", "saliency", "detector"))
    assert saliency is None or isinstance(saliency, SaliencyNet)
    assert detector is None or isinstance(detector, Detector)
    ready = None if encoder is None else frozen(copy.deepcopy(encoder), dtype).to(device)
    shop = Workshop(Path(), row, max_megapixels, ready, saliency, device, dtype, detector)
    layout = Pyramid(tuple(grids)) if regions is None else Regions(regions.most, tuple(patches["classes"]))
    words = networks["visual_words"].state_dict()["weight"].cpu().numpy() if "visual_words" in networks else None
    return Sight(shop, layout, words)


def needed(patches: Facts) -> list[str]:
    """The parts that turn pictures into patches, by how the cache was made."""
    regions = patches.get("regions") or {}
    asked = {
        "encoder": regions.get("features") != "detector",
        "saliency": bool(patches["saliency"]),
        "detector": regions.get("by") == "detector",
        "visual_words": regions.get("by") == "segments",
    }
    return [part for part, is_needed in asked.items() if is_needed]


def _names(first: int, pictures: list[Image.Image]) -> list[str]:
    return [f"picture {first + number}" for number in range(len(pictures))]
