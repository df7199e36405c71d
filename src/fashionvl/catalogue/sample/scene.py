"""A picture as a tree of named parts, and how it is painted; the truth about the parts comes from the painting."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from PIL import Image, ImageChops

from fashionvl.catalogue.sample.raster import Camera, Mask, mask_of
from fashionvl.catalogue.sample.shapes import Polygon

RGB = tuple[int, int, int]
Box = tuple[int, int, int, int]

FINER = 3  # the canvas is drawn this much finer and then averaged
WIDTH, HEIGHT = 192, 256  # of the final picture
_LEAST_SEEN = 10 * FINER * FINER  # a part that shows less than ten final pixels is not named


@dataclass(frozen=True)
class Part:
    """One piece of a garment, and what lies on it.

    name    what words call it, e.g. "sleeve"; empty for a piece that only the whole garment's noun names
    shapes  polygons of the design space; the part is their union
    paint   its own colour, or None for the fabric of the garment, pattern and all
    shade   brightness in percent
    folds   darker streaks on it
    lights  lighter streaks on it
    on      parts that lie on it, painted after it; they go where it goes, and its box holds them
    clip    True: it shows only where the part it lies on is
    rim     True: its edge is drawn
    """

    name: str
    shapes: tuple[Polygon, ...]
    paint: RGB | None = None
    shade: int = 100
    folds: tuple[Polygon, ...] = ()
    lights: tuple[Polygon, ...] = ()
    on: tuple["Part", ...] = ()
    clip: bool = False
    rim: bool = True


@dataclass(frozen=True)
class Scene:
    """Everything a picture shows: parts from back to front, the fabric and the ground they lie on.

    fabric   the garment's cloth over the whole canvas, "RGB"
    ground   what is behind, "RGB", of the same size
    dark     True: the fabric is so dark that its edges are drawn light
    pattern  what words call the pattern of the fabric, or empty
    """

    parts: tuple[Part, ...]
    camera: Camera
    fabric: Image.Image
    ground: Image.Image
    dark: bool = False
    pattern: str = ""


def is_dark(colour: RGB) -> bool:
    """True where a dark edge would not be seen."""
    return sum(colour) < 190


def without(parts: tuple[Part, ...], name: str) -> tuple[Part, ...]:
    """The same tree less every part of that name and what lies on it."""
    return tuple(replace(part, on=without(part.on, name)) for part in parts if part.name != name)


def names(parts: tuple[Part, ...]) -> Iterator[str]:
    """The names of all parts of a tree, in painting order, repeated as often as they stand."""
    for part in parts:
        if part.name:
            yield part.name
        yield from names(part.on)


def paint(scene: Scene) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """Paint a scene.

    -> the final picture ("RGB", WIDTH x HEIGHT)
       (name, box) of every named part that can be seen, one entry a part; "" is the whole garment, and the pattern's
       name is the region that shows it. Boxes are x0, y0, x1, y1 in final pixels, x1 and y1 exclusive.
    """
    canvas = scene.ground.copy()
    owner = Image.new("L", canvas.size)
    tree: list[tuple[Part, int]] = []  # each part with the number after its last descendant
    for part in scene.parts:
        _paint_part(part, None, scene, canvas, owner, tree)
    return canvas.reduce(FINER), _truth(owner, tree, scene)


def _paint_part(
    part: Part, under: Mask | None, scene: Scene, canvas: Image.Image, owner: Image.Image, tree: list[tuple[Part, int]]
) -> None:
    index = len(tree)
    tree.append((part, 0))
    mask = mask_of(part.shapes, scene.camera)
    if mask is not None and part.clip:
        mask = mask.within(under) if under is not None else None
    if mask is not None:
        _lay(part, mask, scene, canvas)
        owner.paste(index + 1, mask.box, mask.image)
        for child in part.on:
            _paint_part(child, mask, scene, canvas, owner, tree)
    tree[index] = (part, len(tree))


def _lay(part: Part, mask: Mask, scene: Scene, canvas: Image.Image) -> None:
    """Cloth, shading towards the edge, folds, edge."""
    cloth = scene.fabric.crop(mask.box) if part.paint is None else Image.new("RGB", mask.image.size, part.paint)
    if part.shade != 100:
        cloth = cloth.point([min(value * part.shade // 100, 255) for value in range(256)] * 3)
    if part.rim:
        _tint(cloth, ImageChops.subtract(mask.image, mask.inside(10)), 14)
    for streaks, strength in ((part.folds, 34), (part.lights, -40)):
        fold = mask_of(streaks, scene.camera) if streaks else None
        if fold is not None:
            shown = fold.within(mask)
            corner = (shown.x - mask.x, shown.y - mask.y)
            _tint(cloth, shown.image, strength, corner)
    if part.rim:
        dark = scene.dark if part.paint is None else is_dark(part.paint)
        _tint(cloth, ImageChops.subtract(mask.image, mask.inside(2)), -55 if dark else 115)
    canvas.paste(cloth, mask.box, mask.image)


def _tint(cloth: Image.Image, where: Image.Image, strength: int, corner: tuple[int, int] = (0, 0)) -> None:
    """Darken (strength > 0) or lighten (< 0) by |strength|/255 where the mask is set."""
    level = abs(strength)
    ink = 0 if strength > 0 else 255
    cloth.paste((ink, ink, ink), corner, where.point([value * level // 255 for value in range(256)]))


def _truth(owner: Image.Image, tree: list[tuple[Part, int]], scene: Scene) -> list[tuple[str, Box]]:
    found = []
    wanted: list[tuple[str, list[int]]] = [("", list(range(len(tree))))]
    wanted += [(part.name, list(range(i, end))) for i, (part, end) in enumerate(tree) if part.name]
    if scene.pattern:
        wanted.append((scene.pattern, [i for i, (part, _) in enumerate(tree) if part.paint is None]))
    counts = owner.histogram()
    for name, members in wanted:
        if sum(counts[i + 1] for i in members) < _LEAST_SEEN:
            continue
        table = [0] * 256
        for i in members:
            table[i + 1] = 255
        edges = owner.point(table).getbbox()
        if edges is not None:
            x0, y0, x1, y1 = edges
            found.append((name, (x0 // FINER, y0 // FINER, -(-x1 // FINER), -(-y1 // FINER))))
    return found
