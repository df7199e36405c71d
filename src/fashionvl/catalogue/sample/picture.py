"""A product's pictures: which views it has, where the camera stands, what lies behind."""

from collections.abc import Iterator
from math import isqrt
from random import Random

from PIL import Image, ImageDraw

from fashionvl.catalogue.sample.article import Article, Colours, draw_of, dye_of, mix
from fashionvl.catalogue.sample.cloth import cloth
from fashionvl.catalogue.sample.kinds import TEXTURE_OF
from fashionvl.catalogue.sample.raster import Camera
from fashionvl.catalogue.sample.scene import FINER, HEIGHT, RGB, WIDTH, Part, Scene, is_dark

_CHOICES = (("front",), ("front", "back"), ("front", "detail"), ("front", "back"), ("front", "back", "detail"))
_GROUNDS: tuple[RGB, ...] = (
    (238, 238, 236), (228, 230, 232), (244, 240, 232), (226, 222, 214),
    (216, 222, 226), (234, 226, 224), (222, 228, 220), (208, 208, 210),
)  # fmt: skip


def views_of(article: Article, variant: int) -> tuple[str, ...]:
    """One to three of front, back and detail; the front is always there."""
    return draw_of(article.seed, "views", article.number, variant).choice(_CHOICES)


def scene_of(article: Article, variant: int, view: str) -> Scene:
    """What the camera sees of a product."""
    colours = mix(article, dye_of(article, variant), variant)
    parts = article.kind.draw(article, colours, view == "back")
    random = draw_of(article.seed, "camera", article.number, variant, view)
    camera = _near(article, parts, random) if view == "detail" else _whole(parts, random)
    fabric = cloth(
        (camera.width, camera.height),
        camera.place(((300, 330),))[0],
        camera.scale,
        pattern=article.pattern,
        texture=TEXTURE_OF.get(article.material, ""),
        main=colours.main,
        accent=colours.accent,
        coarse=draw_of(article.seed, "coarse", article.number).choice((80, 100, 100, 130)),
        random=draw_of(article.seed, "cloth", article.number),
    )
    pattern = "" if article.pattern == "solid" else article.pattern
    return Scene(parts, camera, fabric, _ground(random, colours), is_dark(colours.main), pattern)


def _points(parts: tuple[Part, ...]) -> Iterator[tuple[int, int]]:
    for part in parts:
        for shape in part.shapes:
            yield from shape


def _extent(shapes: Iterator[tuple[int, int]]) -> tuple[int, int, int, int]:
    points = list(shapes)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def _whole(parts: tuple[Part, ...], random: Random) -> Camera:
    """The whole garment, filling more or less of the frame, not always in its middle, a little askew."""
    x0, y0, x1, y1 = _extent(_points(parts))
    width, height = WIDTH * FINER, HEIGHT * FINER
    fill = random.randint(68, 94)
    scale = min(width * fill * 1024 // (100 * (x1 - x0)), height * fill * 1024 // (100 * (y1 - y0)))
    spare_x = max(width - (x1 - x0) * scale // 1024, 0) * 2 // 5
    spare_y = max(height - (y1 - y0) * scale // 1024, 0) * 2 // 5
    x = width // 2 + random.randint(-spare_x, spare_x) * random.randint(20, 100) // 100
    y = height // 2 + random.randint(-spare_y, spare_y) * random.randint(20, 100) // 100
    sine = random.randint(-48, 48)
    return Camera(width, height, ((x0 + x1) // 2, (y0 + y1) // 2), x, y, scale, isqrt(1024 * 1024 - sine * sine), sine)


def _near(article: Article, parts: tuple[Part, ...], random: Random) -> Camera:
    """Close to one of the parts that this kind is proud of, or to the middle of the garment."""
    x0, y0, x1, y1 = _extent(_points(parts))
    there = {part.name: part.shapes for part in _all(parts)}
    proud = [name for name in article.kind.details if name in there]
    if proud:
        a, b, c, d = _extent(point for shape in there[random.choice(proud)] for point in shape)
        focus = ((max(a, x0) + min(c, x1)) // 2, (max(b, y0) + min(d, y1)) // 2)
    else:
        focus = ((x0 + x1) // 2, (y0 + y1) // 2)
    width, height = WIDTH * FINER, HEIGHT * FINER
    seen = min(max((x1 - x0) * random.randint(40, 58) // 100, 300), 620)  # design units across the frame
    shift = (random.randint(-width // 12, width // 12), random.randint(-height // 12, height // 12))
    return Camera(width, height, focus, width // 2 + shift[0], height // 2 + shift[1], width * 1024 // seen)


def _all(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _all(part.on)


def _ground(random: Random, colours: Colours) -> Image.Image:
    """A studio wall that darkens a little towards the floor, light or dark enough to tell the garment from it."""
    width, height = WIDTH * FINER, HEIGHT * FINER
    pale = sum(colours.main) > 640
    top = random.choice([ground for ground in _GROUNDS if not pale or sum(ground) < 672])
    drop = random.randint(24, 46) if pale else random.randint(0, 26)
    image = Image.new("RGB", (width, height), top)
    draw = ImageDraw.Draw(image)
    steps = 64
    for i in range(steps):
        red, green, blue = (value - drop * i // steps - (10 if pale else 0) for value in top)
        draw.rectangle((0, height * i // steps, width, height * (i + 1) // steps), fill=(red, green, blue))
    return image
