"""Foreground: the box that locks the main object, so that few patches are blank (Kaleido-BERT section 3.2).

mask -> its main components -> tight box -> margin -> clipped to the picture. The background inside the box stays.
The paper's saliency network is unknown; distance from the border's colour stands in for it on studio pictures.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

WORKING_SIDE = 128  # a larger picture is scaled down to this before its mask is made
SATURATION = 15.0  # CIE76; colours farther off count as equally far, or Otsu would part dark cloth from light cloth
FAINT = 3.0  # CIE76; a threshold below this is compression noise, not an object
BACKGROUND = 15.0  # CIE76; border pixels farther from the border's median belong to an object that leaves the picture
SPECK = 0.02  # a component smaller than this share of the largest is not part of the object
LEAST_AREA = 0.01  # a mask that covers less of the picture is no object
LEAST_SIDE = 5  # pixels; a narrower box has less than one for each patch of the finest kaleido grid
COLOUR_BITS = 6  # colours are told apart to 4 of 256 steps a channel
BINS = 120  # of the histogram that Otsu's threshold is found in

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Foreground:
    """The locked box of a picture in pixels, right and bottom exclusive, and how well it was found.

    mask_share  area of the mask over area of the picture; None without a mask
    box_share   area of the box over area of the picture
    contrast    mean CIE76 distance of the mask from the background; None where no object was found
    fallback    True where no object was found and the box is the whole picture
    """

    left: int
    top: int
    right: int
    bottom: int
    mask_share: float | None
    box_share: float
    contrast: float | None
    fallback: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.right, self.bottom


def whole(picture: Image.Image, *, mask_share: float | None = None, fallback: bool = False) -> Foreground:
    """The box that is the whole picture: the setting `none`, and what is left where no object was found."""
    return Foreground(0, 0, picture.width, picture.height, mask_share, 1.0, None, fallback)


def from_border(picture: Image.Image, *, margin: float) -> Foreground:
    """Lock what differs in colour from the border of an RGB picture."""
    distance = border_distance(picture)
    return lock(picture, object_mask(distance), distance, margin=margin)


def from_mask(picture: Image.Image, mask: Bools, *, margin: float) -> Foreground:
    """Lock what a given mask shows.

    mask (h, w) bool   True on the object; of any size, it is laid over the picture
    """
    distance = border_distance(picture)
    inside = Image.fromarray(mask).resize((distance.shape[1], distance.shape[0]), Image.Resampling.NEAREST)
    return lock(picture, mask, distance, margin=margin, inside=np.asarray(inside))


def border_distance(picture: Image.Image) -> NDArray[np.float32]:
    """How far each pixel's colour is from the background, which is guessed from the outermost pixels.

    The background is a smooth surface (quadratic in x and y) through the border's colours, so that a lamp's falloff
    on the studio wall is not taken for an object.

    -> (h, w) float32   CIE76 distance in LAB, on a copy of at most WORKING_SIDE pixels a side
    """
    scale = min(1.0, WORKING_SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = picture if scale == 1.0 else picture.resize((width, height), Image.Resampling.BOX)
    steps = (np.asarray(small) >> (8 - COLOUR_BITS)).astype(np.intp)  # (h, w, 3)
    index = (steps[..., 0] << 2 * COLOUR_BITS) | (steps[..., 1] << COLOUR_BITS) | steps[..., 2]
    lab = _lab_table()[index].reshape(-1, 3)  # (h * w, 3)
    surface, border = _surface(height, width)
    edge = lab[border]
    plain = ((edge - np.median(edge, axis=0)) ** 2).sum(axis=1) < BACKGROUND**2
    weights = np.linalg.lstsq(surface[border][plain], edge[plain], rcond=None)[0]  # (6, 3)
    return np.sqrt(((lab - surface @ weights) ** 2).sum(axis=1)).reshape(height, width)


def object_mask(distance: NDArray[np.float32]) -> Bools:
    """Split the distances in two by Otsu's threshold.

    distance (h, w) float32   as `border_distance` gives it
    -> (h, w) bool   True on the object; all False where nothing stands out
    """
    bins = np.minimum(distance * (BINS / SATURATION), BINS - 1).astype(np.intp)
    counts = np.bincount(bins.ravel(), minlength=BINS)
    below = counts.cumsum()[:-1]
    above = distance.size - below
    mass = (counts * np.arange(BINS)).cumsum()
    split = (below > 0) & (above > 0)
    if not split.any():
        return np.zeros(distance.shape, dtype=bool)
    gap = mass[:-1][split] / below[split] - (mass[-1] - mass[:-1][split]) / above[split]
    best = np.flatnonzero(split)[np.argmax(below[split] * above[split] * gap**2)]
    return distance > max((best + 1) * (SATURATION / BINS), FAINT)


def lock(
    picture: Image.Image, mask: Bools, distance: NDArray[np.float32], *, margin: float, inside: Bools | None = None
) -> Foreground:
    """The box around the main components of a mask, a margin wider, clipped to the picture.

    mask      (h, w) bool       True on the object
    distance  (h', w') float32  as `border_distance` gives it
    margin    share of the box's own width and height that is added on each side
    inside    (h', w') bool     the mask at the size of `distance`, where they differ
    The whole picture where the mask covers less than LEAST_AREA of it, or the box is narrower than LEAST_SIDE.
    """
    share = float(mask.mean())
    if share < LEAST_AREA:
        return whole(picture, mask_share=share, fallback=True)
    top, bottom, left, right = _extent(_main_components(mask))
    across, down = picture.width / mask.shape[1], picture.height / mask.shape[0]
    wider, higher = margin * (right - left) * across, margin * (bottom - top) * down
    x1, x2 = max(0, round(left * across - wider)), min(picture.width, round(right * across + wider))
    y1, y2 = max(0, round(top * down - higher)), min(picture.height, round(bottom * down + higher))
    if min(x2 - x1, y2 - y1) < LEAST_SIDE:
        return whole(picture, mask_share=share, fallback=True)
    shown = distance[mask if inside is None else inside]
    contrast = float(shown.mean()) if shown.size else None
    box_share = (x2 - x1) * (y2 - y1) / (picture.width * picture.height)
    return Foreground(x1, y1, x2, y2, share, box_share, contrast, fallback=False)


def _main_components(mask: Bools) -> Bools:
    """The largest connected component and all that are not specks beside it: the other shoe, the second earring."""
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return ((areas > 0) & (areas >= SPECK * areas.max()))[labels]


def _extent(mask: Bools) -> tuple[int, int, int, int]:
    """-> top, bottom, left, right of the True pixels, bottom and right exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


@cache
def _surface(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The terms of a quadratic surface at every pixel, and which pixels are outermost.

    -> (h * w, 6) float32, (b,) int
    """
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    border = np.ones((height, width), dtype=bool)
    border[1:-1, 1:-1] = False
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1).astype(np.float32), np.flatnonzero(border)


@cache
def _lab_table() -> NDArray[np.float32]:
    """CIE LAB (D65) of every sRGB colour at COLOUR_BITS a channel -> (8**COLOUR_BITS, 3) float32."""
    step = 256 >> COLOUR_BITS
    value = (np.arange(1 << COLOUR_BITS) * step + (step - 1) / 2) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    rgb = np.stack(np.meshgrid(linear, linear, linear, indexing="ij"), axis=-1).reshape(-1, 3)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    ratio = rgb @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])]
    return np.stack(lab, axis=-1).astype(np.float32)
