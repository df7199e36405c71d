"""Object detectors that are brought by name, or were learned by the stage `detector`, behind one interface.

DETR's family of `transformers` (YOLOS, RT-DETRv2, D-FINE and like ones): queries, each of which answers with one box,
classes and an embedding. Needs neither torchvision nor timm: pictures are brought to size here, as the folder's
preprocessor_config.json says. Inference only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForObjectDetection

from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import MEAN, STD, load_complete, load_named, preprocessor

NO_OBJECT = ("detr", "table-transformer", "yolos")  # the last logit is "no object"; in all others each is by itself
FAMILY = (
    *NO_OBJECT,
    *("conditional_detr", "d_fine", "dab-detr", "deformable_detr", "deimv2", "lw_detr", "rf_detr"),
    *("rt_detr", "rt_detr_v2"),
)
YOLOS_PATCH = 16  # its pre-processing makes both sides multiples of this


@dataclass(frozen=True)
class Seen:
    """What a detector sees in some pictures: B pictures, Q queries, K classes, E numbers of an embedding.

    boxes   (B, Q, 4) float  x1, y1, x2, y2 in [0, 1]
    classes (B, Q, K) float  how likely each class is, given that there is an object; sums to 1
    sure    (B, Q) float     how sure it is that there is an object, in [0, 1]
    vectors (B, Q, E) float  the embedding of each query, which boxes and classes are read from
    """

    boxes: Tensor
    classes: Tensor
    sure: Tensor
    vectors: Tensor


@dataclass(frozen=True)
class Preparation:
    """How pictures are prepared for a detector, as its preprocessor_config.json says.

    size      height and width; or the sides that the shorter and the longer one are brought to, keeping the shape,
              as far as neither is exceeded; None leaves pictures as they are
    keeps     True where `size` keeps the shape
    multiple  of which both sides are made where the shape is kept
    scale     what a byte is multiplied with
    mean, std three numbers each, of RGB
    """

    size: tuple[int, int] | None
    keeps: bool
    multiple: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that pictures of this height and width are brought to."""
        if self.size is None:
            return height, width
        if not self.keeps:
            return self.size
        shortest, longest = self.size
        short, long = min(height, width), max(height, width)
        exact = min(shortest, longest * short / long)
        sides = [max(1, side // self.multiple) * self.multiple for side in (round(exact), int(exact * long / short))]
        return (sides[0], sides[1]) if height < width else (sides[1], sides[0])


class Detector(nn.Module):
    """A detector in eval mode, always in float32.

    names      the K classes
    dim        E, the length of an embedding
    no_object  True where the network's last logit is "no object"; False where each logit is a class by itself
    """

    shift: Tensor
    spread: Tensor

    def __init__(self, network: nn.Module, *, names: list[str], dim: int, no_object: bool, preparation: Preparation):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.names = names
        self.dim = dim
        self.no_object = no_object
        self.preparation = preparation
        self.register_buffer("shift", torch.tensor(preparation.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(preparation.std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "Detector":
        """A detector stays in eval mode: what it sees of a picture must not depend on the others beside it."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Seen:
        """pictures (B, 3, H, W) uint8, of any size   what is in them"""
        with torch.autocast(pictures.device.type, enabled=False):  # in bf16 a coordinate has eight bits
            found = self.network(pixel_values=self.prepare(pictures))
        logits, queries = found.logits, found.logits.shape[1]
        if self.no_object:
            sure, classes = 1 - logits.softmax(dim=-1)[..., -1], logits[..., :-1].softmax(dim=-1)
        else:  # classes as their odds are to each other
            sure, classes = logits.amax(dim=-1).sigmoid(), logits.softmax(dim=-1)
        vectors = found.last_hidden_state[:, -queries:]  # YOLOS has the patches of the picture before them
        return Seen(corners(found.pred_boxes).clamp(0, 1), classes, sure, vectors)

    def prepare(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> (B, 3, h, w) float   as the network reads it"""
        size = self.preparation.size_of(*pictures.shape[2:])
        if size != tuple(pictures.shape[2:]):
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True)
        return (pictures * self.preparation.scale - self.shift) / self.spread


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre x, centre y, width, height -> (..., 4) x1, y1, x2, y2"""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def load_detector(source: Path | str) -> Detector:
    """The detector of a folder or hub name, with its own classes, in eval mode.

    Raises Problem when it is missing, broken or no detector, or needs a package that is not there.
    """
    name = str(source)
    config = load_named(name, AutoConfig)
    if config.model_type not in FAMILY:
        raise Problem(f"{name!r} is a {config.model_type}, and only detectors can find regions: {', '.join(FAMILY)}")
    if getattr(getattr(config, "backbone_config", None), "model_type", None) == "timm_backbone":
        raise Problem(
            f"the detector {name!r} has a backbone of timm, which is not used here; take one of `transformers` alone,"
            " such as YOLOS, RT-DETRv2 or D-FINE"
        )
    stated = preprocessor(name)
    if "size" not in stated and stated.get("do_resize", True):
        raise Problem(f"the detector {name!r} has no preprocessor_config.json that states the size of a picture")
    try:
        network = load_complete(name, AutoModelForObjectDetection)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise Problem(f"the detector {name!r} needs a package that is not there: {reason}") from None
    names = [config.id2label[number] for number in range(config.num_labels)]
    preparation, no_object = _preparation(name, stated, config), config.model_type in NO_OBJECT
    return Detector(network, names=names, dim=config.hidden_size, no_object=no_object, preparation=preparation)


def _preparation(name: str, stated: Mapping[str, Any], config: Any) -> Preparation:
    normalised = stated.get("do_normalize", True)
    size, keeps = _size(name, stated["size"]) if stated.get("do_resize", True) else (None, False)
    return Preparation(
        size=size,
        keeps=keeps,
        multiple=YOLOS_PATCH if config.model_type == "yolos" else 1,
        scale=stated.get("rescale_factor", 1 / 255) if stated.get("do_rescale", True) else 1.0,
        mean=tuple(stated.get("image_mean", MEAN)) if normalised else (0.0, 0.0, 0.0),
        std=tuple(stated.get("image_std", STD)) if normalised else (1.0, 1.0, 1.0),
    )


def _size(name: str, size: Any) -> tuple[tuple[int, int], bool]:
    """-> the two numbers of a size, and whether it keeps the shape of a picture."""
    if isinstance(size, int):
        return (size, size), False
    if {"height", "width"} <= set(size):
        return (size["height"], size["width"]), False
    if {"shortest_edge", "longest_edge"} <= set(size):
        return (size["shortest_edge"], size["longest_edge"]), True
    raise Problem(
        f"preprocessor_config.json of the detector {name!r} gives the size as {dict(size)}, and not as height and"
        " width, or shortest_edge and longest_edge"
    )
