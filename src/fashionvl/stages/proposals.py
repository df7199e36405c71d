"""Which regions of a picture a store keeps, by the detector or the segments that params.yaml names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.detector import Detector, load_detector
from fashionvl.patches import regions
from fashionvl.patches.cutting import Box


@dataclass(frozen=True)
class Proposed:
    """The regions of one picture: first the whole of it, then the surest.

    classes  (n, K) float32   how likely each class is, zero for the whole picture; None where nobody names any
    vectors  (n, E) float32   the detector's own; None without a detector
    """

    boxes: list[Box]
    classes: NDArray[np.float32] | None = None
    vectors: NDArray[np.float32] | None = None


def detector_of(name: str, scratch: Path) -> Detector:
    """The detector that a row names: `scratch` from the folder of the stage `detector`, or of a folder or hub name."""
    if name != "scratch":
        return load_detector(name)
    checkpoint.read_card(scratch)  # a folder without one is not finished
    return load_detector(scratch)


@torch.inference_mode()
def propose(picture: Image.Image, path: str, box: Box, asked: config.Regions, detector: Detector | None) -> Proposed:
    """The regions of one RGB picture, `asked.most` at most.

    path      what the picture is called
    box       of its foreground
    detector  None where nothing asks for one
    Raises Problem where the detector finds no numbers.
    """
    return PROPOSERS[asked.by](picture, path, box, asked, detector)


def _segments(picture: Image.Image, path: str, box: Box, asked: config.Regions, detector: Detector | None) -> Proposed:
    return Proposed([regions.whole(picture), *regions.segments(picture, box, asked.most - 1)])


def _detected(picture: Image.Image, path: str, box: Box, asked: config.Regions, detector: Detector | None) -> Proposed:
    assert detector is not None
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    seen = detector(pixels.to(detector.shift.device))
    names = ("boxes", "sure", "classes", "vectors")
    boxes, sure, classes, vectors = (getattr(seen, name)[0].float().cpu().numpy() for name in names)
    if not all(np.isfinite(each).all() for each in (boxes, sure, classes, vectors)):
        raise Problem(f"{path}: what the detector {asked.detector!r} sees in it are no numbers")
    kept = regions.surest(boxes, sure, picture.size, asked.most - 1)
    of_whole = np.average(vectors, axis=0, weights=sure + np.finfo(np.float32).tiny)
    return Proposed(
        [regions.whole(picture), *kept.values()],
        np.concatenate([np.zeros((1, classes.shape[1]), np.float32), classes[list(kept)]]),
        np.concatenate([of_whole[None], vectors[list(kept)]]),
    )


PROPOSERS: dict[str, Callable[[Image.Image, str, Box, config.Regions, Detector | None], Proposed]] = {
    "detector": _detected,
    "segments": _segments,
}
