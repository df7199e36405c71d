"""Which classes are taken for which: a table of the most common confusions, and a matrix as a picture."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fashionvl.stages.gallery import INK, PAPER, QUIET

MOST = 30  # classes whose names can be read side by side
CELL, SMALL, MARGIN, GAP = 26, 6, 20, 34  # pixels: of a named cell, of one without name, around, between
LONGEST = 28  # letters of a name
RIGHT, WRONG = (18, 87, 214), (214, 0, 47)  # colours of a full cell on the diagonal and off it
FAINTEST = 0.12  # of a cell that holds anything
LINE, GRID = 30, "#d9dce0"


def confusions(true: Sequence[str], said: Sequence[str], *, most: int = 20) -> pd.DataFrame:
    """The wrong answers, the most common first: true, said, rows, share (of the rows of the true class)."""
    table = pd.DataFrame({"true": list(true), "said": list(said)})
    of_class = table["true"].value_counts()
    wrong = table[table["true"] != table["said"]].groupby(["true", "said"]).size().rename("rows").reset_index()
    wrong["share"] = wrong["rows"] / wrong["true"].map(of_class).to_numpy()
    return wrong.sort_values(["rows", "true", "said"], ascending=[False, True, True]).head(most).reset_index(drop=True)


def matrix(true: Sequence[str], said: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """-> (C, C) int64   how many rows of a class (down) were said to be of another (across)"""
    number = {name: at for at, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, ([number[name] for name in true], [number[name] for name in said]), 1)
    return counts


def most_confused(counts: NDArray[np.int64], most: int = MOST) -> NDArray[np.int64]:
    """-> (at most `most`,) int64, rising   the classes that have part in the most wrong answers"""
    wrong = counts - np.diag(np.diag(counts))
    return np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:most])


def draw(true: Sequence[str], said: Sequence[str], *, title: str) -> Image.Image:
    """The matrix with names and numbers; of more than 30 classes the most confused, and all of them small below."""
    classes = sorted({*true, *said})
    counts = matrix(true, said, classes)
    chosen = most_confused(counts)
    names = [classes[at] for at in chosen]
    whole = len(chosen) == len(classes)
    caption = f"{len(classes)} classes" if whole else f"the {len(names)} most confused of {len(classes)} classes"
    shares = _shares(counts)
    panels = [_named(counts[np.ix_(chosen, chosen)], shares[np.ix_(chosen, chosen)], names, f"{title}: {caption}")]
    if not whole:
        panels.append(_small(shares, f"all {len(classes)}, in the order of their names"))
    return _stacked(panels)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the rows of each true class."""
    return counts / counts.sum(axis=1, keepdims=True).clip(min=1)


def _named(counts: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str], caption: str) -> Image.Image:
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    across = max(round(_font(14).getlength(name)) for name in short) + 10
    side, top = CELL * len(names), LINE + across
    paper = Image.new("RGB", (max(across + side, round(_font(18).getlength(caption))) + 1, top + side + LINE), PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((0, 0), caption, fill=INK, font=_font(18))
    for at, name in enumerate(short):
        pen.text((across - 6, top + at * CELL + CELL // 2), name, fill=INK, font=_font(14), anchor="rm")
        paper.paste(_upright(name, across), (across + at * CELL, LINE))
    for down, right in np.argwhere(counts > 0).tolist():
        x, y = across + right * CELL, top + down * CELL
        share = float(shares[down, right])
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=_colour(share, down == right))
        dark = share > 0.5
        number = str(int(counts[down, right]))
        size = 13 if len(number) < 4 else 9
        centre = (x + CELL // 2, y + CELL // 2)
        pen.text(centre, number, fill=PAPER if dark else INK, font=_font(size), anchor="mm")
    for at in range(len(names) + 1):
        pen.line((across, top + at * CELL, across + side, top + at * CELL), fill=GRID)
        pen.line((across + at * CELL, top, across + at * CELL, top + side), fill=GRID)
    pen.text((across, top + side + 4), "down: what it is    across: what was said", fill=QUIET, font=_font(14))
    return paper


def _small(shares: NDArray[np.float64], caption: str) -> Image.Image:
    """Every class, a few pixels each."""
    lit = np.full((*shares.shape, 3), 255, dtype=np.uint8)
    for down, right in np.argwhere(shares > 0).tolist():
        lit[down, right] = _colour(float(shares[down, right]), down == right)
    cells = Image.fromarray(lit.repeat(SMALL, axis=0).repeat(SMALL, axis=1))
    wide = max(cells.width + 2, round(_font(14).getlength(caption)) + 1)
    paper = Image.new("RGB", (wide, cells.height + LINE + 2), PAPER)
    ImageDraw.Draw(paper).text((0, 0), caption, fill=QUIET, font=_font(14))
    ImageDraw.Draw(paper).rectangle((0, LINE, cells.width + 1, LINE + cells.height + 1), outline=GRID)
    paper.paste(cells, (1, LINE + 1))
    return paper


def _colour(share: float, right: bool) -> tuple[int, int, int]:
    """Pale where it is rare, full where all rows of a class are there."""
    full, strength = RIGHT if right else WRONG, FAINTEST + (1 - FAINTEST) * share
    red, green, blue = (round(255 - (255 - part) * strength) for part in full)
    return red, green, blue


def _upright(name: str, length: int) -> Image.Image:
    line = Image.new("RGB", (length, CELL), PAPER)
    ImageDraw.Draw(line).text((4, CELL // 2), name, fill=INK, font=_font(14), anchor="lm")
    return line.transpose(Image.Transpose.ROTATE_90)


def _stacked(panels: Sequence[Image.Image]) -> Image.Image:
    wide = max(panel.width for panel in panels) + 2 * MARGIN
    high = sum(panel.height for panel in panels) + GAP * (len(panels) - 1) + 2 * MARGIN
    paper, y = Image.new("RGB", (wide, high), PAPER), MARGIN
    for panel in panels:
        paper.paste(panel, (MARGIN, y))
        y += panel.height + GAP
    return paper


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
