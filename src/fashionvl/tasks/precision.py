"""How well objects are found: COCO's average precision, as `pycocotools` counts it."""

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashionvl.models.detector import Seen

MOST = 100  # objects of a picture that are looked at, the surest
COUNTER = "pycocotools 2.0: boxes of any area, at most 100 a picture"


@dataclass(frozen=True)
class Precision:
    """Average precision, from 0 to 1.

    means    mAP (over IoU .50 to .95), mAP50 and mAP75: over all classes that are there; nothing where none is
    classes  that at IoU .50 of each class that is there
    """

    means: dict[str, float]
    classes: dict[str, float]


def why_not() -> str | None:
    """The sentence that says why detection cannot be measured here; None where it can."""
    if importlib.util.find_spec("pycocotools") is None:
        return "detection is not measured: pycocotools is not installed (`pip install -e '.[detection]'`)"
    return None


def surest(seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
    """What is found in each picture: a query answers once for every class.

    -> boxes (B, n, 4) float, kinds (B, n) int64, scores (B, n) float   the MOST surest answers, or all
    """
    scores = seen.sure[..., None] * seen.classes  # (B, Q, K)
    best, where = scores.flatten(1).topk(min(MOST, scores[0].numel()))
    query, kind = where // scores.shape[2], where % scores.shape[2]
    return seen.boxes.gather(1, query[..., None].expand(-1, -1, 4)), kind, best


def average_precision(
    found: Sequence[tuple[Tensor, Tensor, Tensor]],
    truth: Sequence[tuple[Tensor, Tensor]],
    sizes: Tensor,
    classes: Sequence[str],
) -> Precision:
    """Hold what was found against what is there, picture by picture.

    found   boxes (n, 4) float in [0, 1], kinds (n,) int64, scores (n,) float
    truth   boxes (m, 4) float in [0, 1], kinds (m,) int64
    sizes   (pictures, 2) int64   width and height in pixels, in which boxes are compared
    """
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(classes)]
    images = [{"id": number + 1} for number in range(len(truth))]
    there = [
        {**row, "iscrowd": 0}
        for number, (boxes, kinds) in enumerate(truth)
        for row in _rows(number, boxes * sizes[number].repeat(2), kinds)
    ]
    said = [
        {**row, "score": score}
        for number, (boxes, kinds, scores) in enumerate(found)
        for row, score in zip(_rows(number, boxes * sizes[number].repeat(2), kinds), scores.tolist(), strict=True)
    ]
    precision = _evaluated(images, categories, there, said)  # (thresholds, classes); -1 where a class is not there
    present = precision[0] >= 0
    levels = {"mAP": precision, "mAP50": precision[:1], "mAP75": precision[5:6]}
    means = {name: float(values[:, present].mean()) for name, values in levels.items() if present.any()}
    each = {name: float(value) for name, value in zip(classes, precision[0], strict=True) if value >= 0}
    return Precision(means, each)


def _rows(number: int, boxes: Tensor, kinds: Tensor) -> list[dict[str, Any]]:
    corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    places = torch.cat([corner, size], dim=1).tolist()
    return [
        {"image_id": number + 1, "category_id": kind + 1, "bbox": box, "area": box[2] * box[3]}
        for kind, box in zip(kinds.tolist(), places, strict=True)
    ]


def _evaluated(
    images: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    there: list[dict[str, Any]],
    said: list[dict[str, Any]],
) -> np.ndarray:
    """-> (10 thresholds, K classes) float   the mean precision over 101 recalls; -1 where a class has no object"""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        tables = []
        for rows in (there, said):
            table = COCO()
            numbered = [{"id": number + 1, **row} for number, row in enumerate(rows)]
            table.dataset = {"images": images, "categories": categories, "annotations": numbered}
            table.createIndex()
            tables.append(table)
        judge = COCOeval(*tables, iouType="bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MOST]
        judge.evaluate()
        judge.accumulate()
    precision: np.ndarray = judge.eval["precision"][:, :, :, 0, 0].mean(axis=1)
    return precision
