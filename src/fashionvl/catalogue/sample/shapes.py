"""Outlines in whole numbers: every shape of the sample is a polygon of integer points.

The design space is 1200 x 1600 units, x to the right and y down, with the garment hung around x = 600.
"""

from itertools import pairwise
from math import isqrt

Point = tuple[int, int]
Polygon = tuple[Point, ...]

MIDDLE = 600  # the vertical axis that garments are symmetric about

# sixteen points of a circle of radius 1024
_CIRCLE = ((1024, 0), (946, 392), (724, 724), (392, 946), (0, 1024), (-392, 946), (-724, 724), (-946, 392))
CIRCLE: Polygon = (*_CIRCLE, *((-x, -y) for x, y in _CIRCLE))


def box(x0: int, y0: int, x1: int, y1: int) -> Polygon:
    """An upright rectangle."""
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def oval(x: int, y: int, across: int, down: int) -> Polygon:
    """An ellipse around (x, y) with half axes `across` and `down`, as a polygon of sixteen points."""
    return tuple((x + across * cx // 1024, y + down * cy // 1024) for cx, cy in CIRCLE)


def rounded(x0: int, y0: int, x1: int, y1: int, radius: int) -> Polygon:
    """A rectangle with round corners."""
    corners = (
        (x1 - radius, y1 - radius),
        (x0 + radius, y1 - radius),
        (x0 + radius, y0 + radius),
        (x1 - radius, y0 + radius),
    )
    arcs = ((*CIRCLE[4 * i : 4 * i + 4], CIRCLE[(4 * i + 4) % 16]) for i in range(4))
    return tuple(
        (x + radius * cx // 1024, y + radius * cy // 1024)
        for (x, y), arc in zip(corners, arcs, strict=True)
        for cx, cy in arc
    )


def curve(start: Point, pull: Point, end: Point, steps: int = 8) -> Polygon:
    """A quadratic Bezier curve from `start` to `end`, both included."""
    total = steps * steps

    def at(i: int, axis: int) -> int:
        j = steps - i
        return (j * j * start[axis] + 2 * i * j * pull[axis] + i * i * end[axis]) // total

    return tuple((at(i, 0), at(i, 1)) for i in range(steps + 1))


def stroke(line: Polygon, width: int) -> tuple[Polygon, ...]:
    """A line of some width along the points, as one quadrilateral a segment."""
    quads = []
    for (x0, y0), (x1, y1) in pairwise(line):
        dx, dy = x1 - x0, y1 - y0
        length = max(isqrt(dx * dx + dy * dy), 1)
        nx, ny = -dy * width // (2 * length), dx * width // (2 * length)
        ex, ey = dx * width // (6 * length), dy * width // (6 * length)  # a little over, so that corners close
        quads.append(
            (
                (x0 + nx - ex, y0 + ny - ey),
                (x1 + nx + ex, y1 + ny + ey),
                (x1 - nx + ex, y1 - ny + ey),
                (x0 - nx - ex, y0 - ny - ey),
            )
        )
    return tuple(quads)


def mirror(polygon: Polygon, axis: int = MIDDLE) -> Polygon:
    """The polygon reflected about a vertical line."""
    return tuple((2 * axis - x, y) for x, y in polygon)


def between(start: Point, end: Point, part: int, whole: int) -> Point:
    """The point `part`/`whole` of the way from `start` to `end`."""
    return (
        start[0] + (end[0] - start[0]) * part // whole,
        start[1] + (end[1] - start[1]) * part // whole,
    )
