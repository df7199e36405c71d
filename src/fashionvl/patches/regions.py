"""Regions: boxes around what a picture shows, as ImageBERT and its kin read pictures.

A detector proposes them, or, where there is none, `segments`: the foreground's box and the parts of one colour inside
it. The first region of a picture is always the whole of it. Boxes are in pixels of the picture, as in cutting.py.
"""

from collections.abc import Sequence
from math import ceil, floor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from fashionvl.catalogue.problems import Problem
from fashionvl.patches.cutting import Box
from fashionvl.patches.foreground import FAINT, SATURATION, border_distance
from fashionvl.patches.glimpses import between

WORKING_SIDE = 96  # pixels of the longer side of a copy of the foreground that segments are looked for in
SCALES = (60.0, 200.0, 700.0)  # of felzenszwalb's method: a larger one lets more colours belong together
LEAST = 0.01  # a segment that covers less of the foreground's box is no region
NARROWEST = 0.06  # nor is one whose box is narrower than this share of the copy's longer side
FULL = 0.3  # nor one that covers less of its own box: what lies around an edge
ALIKE = 0.7  # two boxes whose intersection is a larger share of their union are nearly equal


def whole(picture: Image.Image) -> Box:
    """The first region of every picture."""
    return 0, 0, picture.width, picture.height


def segments(picture: Image.Image, box: Box, most: int) -> list[Box]:
    """The foreground's box, then the boxes of parts of one colour inside it, those first that stand out most.

    Felzenszwalb's segments at several scales, by how many pixels they have and how far these are from the background's
    colour. Of nearly equal boxes one is kept; background, specks, and what is nearly the whole picture are left out.

    picture  RGB
    box      of the foreground
    most     boxes at most
    A Problem where scikit-image is not installed.
    """
    small = _brought_down(picture.crop(box))
    wide, high = box[2] - box[0], box[3] - box[1]
    parts = [
        (
            box[0] + left * wide // small.width,
            box[1] + top * high // small.height,
            box[0] - (-right * wide // small.width),  # rounded up
            box[1] - (-bottom * high // small.height),
        )
        for left, top, right, bottom in _parts(np.asarray(small), _standing_out(picture, box, small.size))
    ]
    boxes = [whole(picture), box, *parts]
    return [boxes[at] for at in apart(boxes, most + 1)[1:]]


def surest(boxes: NDArray[np.float32], sure: NDArray[np.float32], size: tuple[int, int], most: int) -> dict[int, Box]:
    """Of what a detector proposes what it is surest of, without boxes that are nearly equal to a surer one.

    boxes  (Q, 4) float   x1, y1, x2, y2 in [0, 1]
    sure   (Q,) float
    size   width, height of the picture in pixels
    most   boxes at most
    -> the boxes by their index in Q, the surest first; what is less than a pixel wide or high is left out
    """
    edges = boxes.astype(np.float64).clip(0, 1) * np.tile(size, 2)
    real = ((edges[:, 2:] - edges[:, :2]) >= 1).all(axis=1)
    order = [at for at in np.argsort(-sure, kind="stable").tolist() if real[at]]
    pixels: list[Box] = []
    for left, top, right, bottom in edges[order].tolist():
        pixels.append((floor(left), floor(top), ceil(right), ceil(bottom)))
    return {order[at]: pixels[at] for at in apart(pixels, most)}


def apart(boxes: Sequence[Box], most: int) -> list[int]:
    """Which boxes to keep: those that are not nearly equal to one kept before them, `most` at most; the best first."""
    alike = overlap(boxes) > ALIKE
    kept: list[int] = []
    for at in range(len(boxes)):
        if len(kept) < most and not alike[at, kept].any():
            kept.append(at)
    return kept


def overlap(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of every two boxes -> (n, n) float64 in [0, 1]."""
    edges = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    start = np.maximum(edges[:, None, :2], edges[None, :, :2])
    stop = np.minimum(edges[:, None, 2:], edges[None, :, 2:])
    shared = (stop - start).clip(0).prod(axis=2)
    area = (edges[:, 2:] - edges[:, :2]).prod(axis=1)
    return shared / (area[:, None] + area[None] - shared)


def places_of(boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.float32]:
    """Where boxes lie in a picture of `size` (width, height), as Pyramid.places() has it.

    -> (n, 5) float32   x1, x2, y1, y2, area, all in [0, 1] of the whole picture
    """
    edges = np.array(boxes, dtype=np.float64).reshape(-1, 4)[:, [0, 2, 1, 3]] / np.repeat(size, 2)
    area = (edges[:, 1] - edges[:, 0]) * (edges[:, 3] - edges[:, 2])
    return np.column_stack([edges, area]).astype(np.float32)


def crops(picture: Image.Image, boxes: Sequence[Box], pixels: int) -> NDArray[np.uint8]:
    """Each box cut out of an RGB picture and brought to a square alone -> (n, pixels, pixels, 3) uint8."""
    tiles = [picture.crop(box).resize((pixels, pixels), Image.Resampling.BILINEAR) for box in boxes]
    return np.stack([np.asarray(tile) for tile in tiles])


def pooled(cells: Tensor, places: Tensor) -> Tensor:
    """The mean of a map inside each box, read at the middles of equal bins, bilinear.

    There are half as many bins along a side as the map has cells, so that the whole map and each quadrant give their
    exact means; as many bins as cells where that is an odd number, and the whole map alone is exact.

    cells (h, w, D) float   of the whole picture
    places   (n, 5) float      as `places_of` gives them
    -> (n, D) float
    """
    height, width, dim = cells.shape
    down, across = (side if side % 2 else side // 2 for side in (height, width))
    x = between(places[:, 0], places[:, 1], across)[:, None, :].expand(-1, down, -1)
    y = between(places[:, 2], places[:, 3], down)[:, :, None].expand(-1, -1, across)
    grid = torch.stack([x, y], dim=-1).view(1, len(places), down * across, 2) * 2 - 1
    read = F.grid_sample(
        cells.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return read.view(dim, len(places), down * across).mean(dim=2).T


def _brought_down(picture: Image.Image) -> Image.Image:
    scale = min(1.0, WORKING_SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _standing_out(picture: Image.Image, box: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """How far the colours inside a box are from the background's, at most SATURATION -> (height, width) float32."""
    distance = np.minimum(border_distance(picture), SATURATION)
    x, y = (
        ((start + (np.arange(count) + 0.5) * (stop - start) / count) * len_copy / len_picture).astype(np.intp)
        for start, stop, count, len_copy, len_picture in (
            (box[0], box[2], size[0], distance.shape[1], picture.width),
            (box[1], box[3], size[1], distance.shape[0], picture.height),
        )
    )
    return distance[np.ix_(y, x)]


def _parts(pixels: NDArray[np.uint8], distance: NDArray[np.float32]) -> list[Box]:
    """The boxes of all segments of a copy, those first that stand out most.

    pixels   (h, w, 3) uint8
    distance (h, w) float32   from the background's colour
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ModuleNotFoundError:
        raise Problem("regions by segments need scikit-image: pip install -e '.[segments]'") from None
    least, narrowest = LEAST * distance.size, NARROWEST * max(distance.shape)
    found: list[tuple[float, Box]] = []
    for scale in SCALES:
        labels = felzenszwalb(pixels, scale=scale, sigma=0.5, min_size=round(least), channel_axis=-1)
        counts = np.bincount(labels.ravel())
        standing_out = np.bincount(labels.ravel(), weights=distance.ravel())
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels + 1)):
            wide, high = columns.stop - columns.start, rows.stop - rows.start
            seen = counts[number] >= max(least, FULL * wide * high) and min(wide, high) >= narrowest
            if not seen or standing_out[number] < FAINT * counts[number]:
                continue
            found.append((-standing_out[number], (columns.start, rows.start, columns.stop, rows.stop)))
    return [box for _, box in sorted(found)]
