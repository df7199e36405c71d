"""Polygons to masks by whole numbers only, so that every machine draws the same bytes.

Pillow's own polygons and wide lines go through floating point, which processors may round differently.
"""

from dataclasses import dataclass

from PIL import Image, ImageChops

from fashionvl.catalogue.sample.shapes import Polygon

_FULL = b"\xff" * 4096
_CLEAR_EDGE = 12  # pixels around a mask, so that shifting it never wraps


@dataclass(frozen=True)
class Camera:
    """Where a design point lands on the canvas: turned by (cosine, sine)/1024, scaled by scale/1024, shifted.

    width, height  of the canvas in pixels
    focus          the design point that lands at (x, y)
    """

    width: int
    height: int
    focus: tuple[int, int]
    x: int
    y: int
    scale: int
    cosine: int = 1024
    sine: int = 0

    def place(self, polygon: Polygon) -> list[tuple[int, int]]:
        """The canvas pixels of the corners of a polygon."""
        fx, fy = self.focus
        a, b = self.scale * self.cosine, self.scale * self.sine
        return [
            (self.x + (((x - fx) * a - (y - fy) * b) >> 20), self.y + (((x - fx) * b + (y - fy) * a) >> 20))
            for x, y in polygon
        ]


@dataclass(frozen=True)
class Mask:
    """Where something is: an "L" image, 255 inside and 0 outside, whose corner lies at (x, y) of the canvas."""

    image: Image.Image
    x: int
    y: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return (self.x, self.y, self.x + self.image.width, self.y + self.image.height)

    def within(self, other: "Mask") -> "Mask":
        """What lies in both."""
        x0, y0, x1, y1 = self.box
        cut = other.image.crop((x0 - other.x, y0 - other.y, x1 - other.x, y1 - other.y))
        return Mask(ImageChops.darker(self.image, cut), self.x, self.y)

    def inside(self, margin: int) -> Image.Image:
        """What lies at least about `margin` pixels from the outside, as an image of the same place."""
        left = ImageChops.darker(ImageChops.offset(self.image, margin, 0), ImageChops.offset(self.image, -margin, 0))
        up = ImageChops.darker(ImageChops.offset(self.image, 0, margin), ImageChops.offset(self.image, 0, -margin))
        return ImageChops.darker(self.image, ImageChops.darker(left, up))


def mask_of(polygons: tuple[Polygon, ...], camera: Camera) -> Mask | None:
    """The union of some polygons as the camera sees it, or None where it sees nothing of them."""
    placed = [camera.place(polygon) for polygon in polygons]
    xs = [x for polygon in placed for x, _ in polygon]
    ys = [y for polygon in placed for _, y in polygon]
    if not xs:
        return None
    if min(xs) >= camera.width or max(xs) <= 0 or min(ys) >= camera.height or max(ys) <= 0:
        return None
    # a little beyond the canvas, so that the frame never looks like an edge of the shape
    x0, x1 = max(min(xs), -_CLEAR_EDGE), min(max(xs), camera.width + _CLEAR_EDGE)
    y0, y1 = max(min(ys), -_CLEAR_EDGE), min(max(ys), camera.height + _CLEAR_EDGE)
    x0, y0 = x0 - _CLEAR_EDGE, y0 - _CLEAR_EDGE
    width, height = x1 + _CLEAR_EDGE - x0, y1 + _CLEAR_EDGE - y0
    pixels = bytearray(width * height)
    for polygon in placed:
        _fill(pixels, width, polygon, (x0, y0), (x1, y1))
    return Mask(Image.frombytes("L", (width, height), bytes(pixels)), x0, y0)


def _fill(
    pixels: bytearray, width: int, polygon: list[tuple[int, int]], corner: tuple[int, int], limit: tuple[int, int]
) -> None:
    """Scan-line fill (even-odd) of the pixels whose centres lie inside; corner points are pixel corners."""
    left, top = corner
    low, right, bottom = left + _CLEAR_EDGE, limit[0], limit[1]
    first = max(min(y for _, y in polygon), top + _CLEAR_EDGE)
    last = min(max(y for _, y in polygon), bottom)
    if first >= last:
        return
    rows: list[list[int]] = [[] for _ in range(last - first)]
    for (xa, ya), (xb, yb) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if ya == yb:
            continue
        if ya > yb:
            xa, ya, xb, yb = xb, yb, xa, ya
        twice, dx = 2 * (yb - ya), xb - xa
        start = max(ya, first)
        # pixel p is right of the crossing when p + 1/2 >= x, so the first one is ceil(x - 1/2)
        number = xa * twice + (2 * (start - ya) + 1) * dx - (yb - ya)
        for row in rows[start - first : max(min(yb, last) - first, 0)]:
            row.append(-(-number // twice))
            number += 2 * dx
    base = (first - top) * width - left
    for row in rows:
        row.sort()
        for i in range(0, len(row), 2):
            a, b = max(row[i], low), min(row[i + 1], right)
            if a < b:
                pixels[base + a : base + b] = _FULL[: b - a]
        base += width
