"""What words point at, drawn: a tile a word, with the heat of its map, the chosen patches and the true boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the picture, the last two exclusive

TILE = 300  # pixels of the longer side of a tile
WIDE, MARGIN, GAP, LABEL, LINE = 1260, 28, 16, 30, 26  # of a sheet, pixels
PAPER, INK, QUIET = "#ffffff", "#22252a", "#6a7078"
COOL, HOT = ImageColor.getrgb("#ffb000"), ImageColor.getrgb("#d6002f")
LEVELS = ("#1257d6", "#00806a", "#8a1fc4", "#22252a")  # outlines of the aligned levels, the coarsest first
COLOURS = ("#1257d6", "#d6002f", "#00806a", "#ffb000", "#8a1fc4", "#00a6d6", "#d65f00", "#5b7f00")
PALE = 0.45  # how far a photograph is faded under its heat
DENSEST = 0.72  # of the heat where it is hottest


@dataclass(frozen=True)
class Pointed:
    """One aligned word of a picture.

    heat     (R, R) float   over the whole picture, at most 1
    patches  side of the grid, box of the chosen patch
    truth    the boxes that the word means; none where that is not known
    """

    text: str
    heat: NDArray[np.float32]
    patches: tuple[tuple[int, Box], ...]
    truth: tuple[Box, ...]

    def hits(self) -> list[int]:
        """The sides of the grids whose patch overlaps a true box."""
        return [side for side, patch in self.patches if any(overlap(patch, box) for box in self.truth)]


@dataclass(frozen=True)
class Row:
    """What one source says of a picture: the words in their order, and those that are aligned."""

    source: str
    said: tuple[str, ...]
    pointed: tuple[Pointed, ...]


@dataclass(frozen=True)
class Shown:
    """One picture of the gallery: the photograph, how it is called, its text in whole words, what each source says."""

    image: Image.Image
    name: str
    title: str
    split: str
    text: tuple[str, ...]
    rows: tuple[Row, ...]


def overlap(one: Box, other: Box) -> bool:
    """True where two boxes share more than an edge."""
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])


def tile(image: Image.Image, pointed: Pointed, *, size: int = TILE) -> Image.Image:
    """A photograph with the heat of one word over it, the chosen patches outlined, the true boxes dashed."""
    scale = size / max(image.size)
    shape = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    photo = image.resize(shape, Image.Resampling.LANCZOS)
    grey = Image.blend(photo.convert("L").convert("RGB"), Image.new("RGB", shape, PAPER), PALE)
    heat = Image.fromarray((pointed.heat * 255).astype(np.uint8)).resize(shape, Image.Resampling.BICUBIC)
    drawn = Image.composite(
        _warm(heat), Image.blend(grey, photo, PALE), heat.point(lambda value: round(value * DENSEST))
    )
    pen = ImageDraw.Draw(drawn)
    for at, (_, box) in enumerate(pointed.patches):
        outline(pen, _scaled(box, scale), LEVELS[min(at, len(LEVELS) - 1)], width=3)
    for box in pointed.truth:
        dashes(pen, _scaled(box, scale))
    return drawn


def outline(pen: ImageDraw.ImageDraw, box: Box, colour: str, *, width: int) -> None:
    """A box inside its own edge, with a thin light rim so that it shows on anything."""
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), outline=PAPER, width=width + 2)
    pen.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline=colour, width=width)


def dashes(pen: ImageDraw.ImageDraw, box: Box, *, dash: int = 6) -> None:
    """A dashed box, dark on light."""
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    pen.rectangle((left, top, right, bottom), outline=PAPER, width=2)
    for start in range(left, right, 2 * dash):
        for y in (top, bottom - 1):
            pen.rectangle((start, y, min(start + dash, right), y + 1), fill=INK)
    for start in range(top, bottom, 2 * dash):
        for x in (left, right - 1):
            pen.rectangle((x, start, x + 1, min(start + dash, bottom)), fill=INK)


def sheet(shown: Shown, names: dict[str, str]) -> Image.Image:
    """All of one picture on one sheet, to be looked at by itself.

    names  how each source is called in a headline
    """
    blocks: list[Image.Image] = [_heading(shown)]
    for row in shown.rows:
        blocks.append(_paragraph(f"{names[row.source]}: {' '.join(row.said)}", WIDE, colour=QUIET))
        tiles = [_labelled(tile(shown.image, pointed), pointed) for pointed in row.pointed]
        in_row = max(1, (WIDE + GAP) // (tiles[0].width + GAP)) if tiles else 1
        blocks += [_beside(tiles[at : at + in_row]) for at in range(0, len(tiles), in_row)]
    blocks.append(_legend(shown))
    height = sum(block.height for block in blocks) + GAP * (len(blocks) - 1) + 2 * MARGIN
    paper = Image.new("RGB", (WIDE + 2 * MARGIN, height), PAPER)
    y = MARGIN
    for block in blocks:
        paper.paste(block, (MARGIN, y))
        y += block.height + GAP
    return paper


def laid(blocks: Sequence[Image.Image], *, in_row: int, gap: int) -> Image.Image:
    """Blocks of one size on one sheet, so many in a row."""
    wide, tall = blocks[0].size
    rows = -(-len(blocks) // in_row)
    paper = Image.new("RGB", (in_row * (wide + gap) - gap, rows * (tall + gap) - gap), PAPER)
    for at, block in enumerate(blocks):
        paper.paste(block, (at % in_row * (wide + gap), at // in_row * (tall + gap)))
    return paper


def fitted(text: str, across: int, size: int) -> str:
    """As much of a text from its beginning as is no wider than so many pixels."""
    while text and font(size).getlength(text) > across:
        text = text[:-1]
    return text


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters of all drawings."""
    return ImageFont.load_default(size)


def _warm(heat: Image.Image) -> Image.Image:
    """The colour of each value of a map: yellow where it is low, red where it is high."""
    ends = zip(COOL, HOT, strict=True)
    return Image.merge("RGB", [heat.point([round(a + (b - a) * at / 255) for at in range(256)]) for a, b in ends])


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return left, top, max(right, left + 4), max(bottom, top + 4)


def _labelled(drawn: Image.Image, pointed: Pointed) -> Image.Image:
    """A tile with its word below and, where the truth is known, how many of its patches hit."""
    paper = Image.new("RGB", (max(drawn.width, TILE // 2), drawn.height + LABEL), PAPER)
    paper.paste(drawn, (0, 0))
    pen, room = ImageDraw.Draw(paper), paper.width
    if pointed.truth:
        said = f"{len(pointed.hits())} of {len(pointed.patches)} hit"
        room -= round(font(15).getlength(said)) + 6
        pen.text((paper.width, drawn.height + 8), said, fill=QUIET, font=font(15), anchor="ra")
    pen.text((0, drawn.height + 5), fitted(pointed.text, room, 18), fill=INK, font=font(18))
    return paper


def _beside(tiles: Sequence[Image.Image]) -> Image.Image:
    paper = Image.new("RGB", (WIDE, max(each.height for each in tiles)), PAPER)
    for at, each in enumerate(tiles):
        paper.paste(each, (at * (each.width + GAP), 0))
    return paper


def _heading(shown: Shown) -> Image.Image:
    """The photograph, its title and its text."""
    photo = shown.image.copy()
    photo.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    left = photo.width + GAP + 4
    blocks = [
        _paragraph(shown.title, WIDE - left, size=26),
        _paragraph(f"{shown.name}, {shown.split}", WIDE - left, colour=QUIET),
        _paragraph(" ".join(shown.text), WIDE - left),
    ]
    paper = Image.new("RGB", (WIDE, max(photo.height, sum(block.height for block in blocks))), PAPER)
    paper.paste(photo, (0, 0))
    y = 0
    for block in blocks:
        paper.paste(block, (left, y))
        y += block.height
    return paper


def _paragraph(text: str, across: int, *, size: int = 18, colour: str = INK) -> Image.Image:
    letters, lines = font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if letters.getlength(longer) > across and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    step = round(size * LINE / 18)
    paper = Image.new("RGB", (across, step * len(lines) + 4), PAPER)
    pen = ImageDraw.Draw(paper)
    for at, line in enumerate(lines):
        pen.text((0, at * step), fitted(line, across, size), fill=colour, font=letters)
    return paper


def _legend(shown: Shown) -> Image.Image:
    """What the outlines mean."""
    pointed = [each for row in shown.rows for each in row.pointed]
    sides = [side for side, _ in max((each.patches for each in pointed), key=len, default=())]
    paper = Image.new("RGB", (WIDE, LINE), PAPER)
    pen, x = ImageDraw.Draw(paper), 0
    for at, side in enumerate(sides):
        outline(pen, (x, 2, x + 22, 24), LEVELS[min(at, len(LEVELS) - 1)], width=3)
        x = _write(pen, x + 30, f"patch of {side} x {side}") + 26
    if any(each.truth for each in pointed):
        dashes(pen, (x, 2, x + 22, 24))
        x = _write(pen, x + 30, "true box") + 26
    for at in range(60):
        colour = tuple(round(a + (b - a) * at / 59) for a, b in zip(COOL, HOT, strict=True))
        pen.line((x + at, 6, x + at, 20), fill=colour)
    _write(pen, x + 68, "where the captioner looked")
    return paper


def _write(pen: ImageDraw.ImageDraw, x: int, text: str) -> int:
    pen.text((x, 3), text, fill=QUIET, font=font(17))
    return x + round(font(17).getlength(text))
