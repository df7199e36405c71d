"""Parts put elsewhere with all that lies on them, and parts that stand on many things."""

from dataclasses import replace

from fashionvl.catalogue.sample.scene import RGB, Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, mirror, oval


def mirrored(part: Part, axis: int = MIDDLE) -> Part:
    """The part and all that lies on it, reflected."""
    flip = tuple(mirror(shape, axis) for shape in part.shapes)
    folds, lights = (tuple(mirror(shape, axis) for shape in shapes) for shapes in (part.folds, part.lights))
    on = tuple(mirrored(child, axis) for child in part.on)
    return Part(part.name, flip, part.paint, part.shade, folds, lights, on, part.clip, part.rim)


def shifted(part: Part, dx: int, dy: int, shade: int) -> Part:
    """The part and all that lies on it, moved and a little darker."""

    def move(shapes: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
        return tuple(tuple((x + dx, y + dy) for x, y in shape) for shape in shapes)

    on = tuple(shifted(child, dx, dy, shade) for child in part.on)
    return replace(
        part,
        shapes=move(part.shapes),
        folds=move(part.folds),
        lights=move(part.lights),
        on=on,
        shade=part.shade * shade // 100,
    )


def flower(x: int, y: int, size: int, paint: RGB) -> Part:
    """A flower of five petals around (x, y)."""
    turns = ((0, -125), (119, -38), (75, 100), (-75, 100), (-119, -38))
    petals = tuple(oval(x + size * dx // 100, y + size * dy // 100, size, size) for dx, dy in turns)
    heart = Part("", (oval(x, y, size * 5 // 8, size * 5 // 8),), (250, 214, 90))
    return Part("flower", petals, paint, on=(heart,))
