"""Colours, patterns and textures: the cloth that a garment is cut from, as one small tile repeated."""

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from fashionvl.catalogue.sample.raster import Camera, mask_of
from fashionvl.catalogue.sample.scene import RGB
from fashionvl.catalogue.sample.shapes import Polygon, oval, stroke

COLOURS: dict[str, RGB] = {
    "black": (34, 33, 36),
    "white": (247, 247, 244),
    "grey": (142, 144, 148),
    "beige": (216, 196, 164),
    "brown": (110, 72, 44),
    "red": (202, 34, 40),
    "burgundy": (110, 20, 44),
    "pink": (240, 156, 184),
    "orange": (238, 126, 34),
    "yellow": (244, 206, 58),
    "green": (44, 136, 70),
    "khaki": (112, 116, 68),
    "turquoise": (48, 178, 178),
    "light blue": (152, 196, 232),
    "blue": (38, 94, 196),
    "navy": (26, 36, 82),
    "purple": (112, 52, 142),
    "lilac": (192, 168, 220),
}

# What is printed on each colour: something that can be told from it.
ACCENTS: dict[str, tuple[str, ...]] = {
    "black": ("white", "red", "yellow", "pink", "grey"),
    "white": ("black", "navy", "red", "blue", "green"),
    "grey": ("white", "black", "navy", "burgundy"),
    "beige": ("brown", "navy", "black", "burgundy"),
    "brown": ("beige", "white", "light blue", "yellow"),
    "red": ("white", "navy", "black", "yellow"),
    "burgundy": ("pink", "white", "beige", "grey"),
    "pink": ("white", "burgundy", "navy", "red"),
    "orange": ("white", "navy", "brown"),
    "yellow": ("white", "black", "navy", "blue"),
    "green": ("white", "navy", "yellow", "beige"),
    "khaki": ("white", "black", "beige", "orange"),
    "turquoise": ("white", "navy", "yellow", "purple"),
    "light blue": ("white", "navy", "red", "brown"),
    "blue": ("white", "yellow", "navy", "light blue"),
    "navy": ("white", "red", "yellow", "light blue"),
    "purple": ("white", "lilac", "yellow", "black"),
    "lilac": ("white", "purple", "navy"),
}

Tile = tuple[Image.Image, ImageDraw.ImageDraw, int]


def cloth(
    size: tuple[int, int],
    origin: tuple[int, int],
    scale: int,
    *,
    pattern: str,
    texture: str,
    main: RGB,
    accent: RGB,
    coarse: int,
    random: Random,
) -> Image.Image:
    """The cloth over a whole canvas.

    size    of the canvas in pixels
    origin  the canvas pixel where a tile begins, so that the pattern moves with the garment
    scale   canvas pixels a 1024 design units
    coarse  size of the pattern in percent
    """
    full = Image.new("RGB", size, main)
    if pattern != "solid":
        period, draw = PATTERNS[pattern]
        side = max(period * coarse * scale // (100 * 1024), 6)
        full = repeat(draw(side, main, accent, random), size, origin)
    if texture in TEXTURES:
        period, strength = 26, 26
        side = max(period * scale // 1024, 4)
        shade = repeat(TEXTURES[texture](side), size, origin)
        ink = 255 if sum(main) < 190 else 0
        full.paste((ink, ink, ink), (0, 0), shade.point([value * strength // 255 for value in range(256)]))
    return full


def repeat(tile: Image.Image, size: tuple[int, int], origin: tuple[int, int]) -> Image.Image:
    """Cover a canvas with a tile that begins at `origin` (and before and after it)."""
    width, height = size[0] + tile.width, size[1] + tile.height
    wide = Image.new(tile.mode, (width, tile.height))
    wide.paste(tile)
    have = tile.width
    while have < width:
        wide.paste(wide.crop((0, 0, have, tile.height)), (have, 0))
        have *= 2
    full = Image.new(tile.mode, (width, height))
    full.paste(wide)
    have = tile.height
    while have < height:
        full.paste(full.crop((0, 0, width, have)), (0, have))
        have *= 2
    x, y = -origin[0] % tile.width, -origin[1] % tile.height
    return full.crop((x, y, x + size[0], y + size[1]))


def _blank(width: int, height: int, colour: RGB) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def _mixed(a: RGB, b: RGB, percent: int) -> RGB:
    """`percent` of a, the rest of b."""
    red, green, blue = ((x * percent + y * (100 - percent)) // 100 for x, y in zip(a, b, strict=True))
    return red, green, blue


def _stamp(image: Image.Image, polygons: tuple[Polygon, ...], colour: RGB) -> None:
    """Fill polygons given in hundredths of the tile, wrapped around its edges."""
    for dx in (-100, 0, 100):
        for dy in (-100, 0, 100):
            camera = Camera(image.width, image.height, (-dx, -dy), 0, 0, image.width * 1024 // 100)
            mask = mask_of(polygons, camera)
            if mask is not None:
                image.paste(colour, mask.box, mask.image)


def _striped(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, draw = _blank(side, side, main)
    draw.rectangle((0, side // 2, side, side), fill=accent)
    return image


def _pinstriped(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, draw = _blank(side, side, main)
    draw.rectangle((0, 0, max(side // 6, 3), side), fill=accent)
    return image


def _checked(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, draw = _blank(side, side, main)
    half, half_way = side // 2, _mixed(main, accent, 50)
    draw.rectangle((half, 0, side, side), fill=half_way)
    draw.rectangle((0, half, side, side), fill=half_way)
    draw.rectangle((half, half, side, side), fill=accent)
    return image


def _dotted(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    _stamp(image, (oval(25, 25, 15, 15), oval(75, 75, 15, 15)), accent)
    return image


def _floral(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    leaf = _mixed((60, 130, 70), main, 70)
    heart = (250, 214, 90) if accent[2] < 200 or accent[0] < 200 else (240, 170, 60)
    for x, y, size in ((27, 28, 100), (76, 77, 86)):
        _stamp(image, (oval(x + 16 * size // 100, y + 18 * size // 100, 12, 5),), leaf)
        _stamp(image, (oval(x - 18 * size // 100, y + 17 * size // 100, 11, 5),), leaf)
        petals = ((0, -12), (11, -4), (7, 9), (-7, 9), (-11, -4))
        _stamp(image, tuple(oval(x + dx * size // 100, y + dy * size // 100, 9, 9) for dx, dy in petals), accent)
        _stamp(image, (oval(x, y, 6, 6),), heart)
    return image


def _zigzag(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    band = ((0, 20), (25, 55), (50, 20), (75, 55), (100, 20), (100, 55), (75, 90), (50, 55), (25, 90), (0, 55))
    _stamp(image, (band,), accent)
    return image


def _argyle(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    _stamp(image, (((50, 4), (90, 50), (50, 96), (10, 50)),), accent)
    light = _mixed((255, 255, 255), main, 45)
    _stamp(image, stroke(((0, 0), (100, 100)), 3) + stroke(((100, 0), (0, 100)), 3), light)
    return image


def _starry(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    for x, y in ((26, 26), (76, 76)):
        _stamp(image, (star(x, y, 21),), accent)
    return image


def _leopard(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    image, _ = _blank(side, side, main)
    spots = ((16, 14, 13), (58, 20, 15), (88, 48, 12), (36, 52, 15), (12, 80, 13), (66, 78, 14))
    for x, y, size in spots:
        across, down = size + random.randint(-3, 3), size - random.randint(0, 4)
        _stamp(image, (oval(x, y, across, down),), accent)
        _stamp(image, (oval(x + random.randint(-3, 3), y + 2, across // 2, down // 2),), _mixed(main, accent, 70))
    return image


def _melange(side: int, main: RGB, accent: RGB, random: Random) -> Image.Image:
    grain = Image.frombytes("L", (32, 32), bytes(random.choice((0, 0, 0, 70, 130)) for _ in range(1024)))
    grain = grain.resize((96, 64), Image.Resampling.NEAREST)
    image, _ = _blank(96, 64, main)
    speckle = (255, 255, 255) if sum(main) < 420 else (60, 60, 70)
    image.paste(speckle, (0, 0), grain)
    return image


def star(x: int, y: int, size: int) -> Polygon:
    """A five-pointed star around (x, y)."""
    outer = ((0, -100), (95, -31), (59, 81), (-59, 81), (-95, -31))
    inner = ((24, -32), (38, 12), (0, 40), (-38, 12), (-24, -32))
    return tuple(
        (x + size * px // 100, y + size * py // 100) for pair in zip(outer, inner, strict=True) for px, py in pair
    )


def _ribbed(side: int) -> Image.Image:
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).rectangle((0, 0, max(side // 3, 1) - 1, side), fill=255)
    return image


def _cabled(side: int) -> Image.Image:
    side = side * 2
    image = Image.new("L", (side, side))
    mask = mask_of(
        stroke(((0, 0), (25, 50), (50, 0)), 14) + stroke(((50, 50), (75, 100), (100, 50)), 14),
        Camera(side, side, (0, 0), 0, 0, side * 1024 // 100),
    )
    if mask is not None:
        image.paste(255, mask.box, mask.image)
    return image


def _twill(side: int) -> Image.Image:
    side = max(side // 2, 4)
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    for i in range(side):
        draw.point((i, side - 1 - i), fill=255)
        draw.point(((i + 1) % side, side - 1 - i), fill=255)
    return image


PATTERNS: dict[str, tuple[int, Callable[[int, RGB, RGB, Random], Image.Image]]] = {
    "striped": (110, _striped),
    "pinstriped": (56, _pinstriped),
    "checked": (120, _checked),
    "dotted": (120, _dotted),
    "floral": (190, _floral),
    "zigzag": (150, _zigzag),
    "argyle": (170, _argyle),
    "starry": (150, _starry),
    "leopard": (200, _leopard),
    "melange": (100, _melange),
}
TEXTURES: dict[str, Callable[[int], Image.Image]] = {
    "ribbed": _ribbed,
    "knitted": _cabled,
    "denim": _twill,
}
