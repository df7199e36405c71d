"""The regions of some products, drawn over their pictures, with what each is taken for."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fashionvl import config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.patches.store import Store
from fashionvl.stages.gallery import COLOURS, GAP, INK, PAPER, TILE, fitted, font, laid, outline
from fashionvl.training import seed_of

NAME = "regions.png"
PRODUCTS, IN_ROW = 6, 2
SHOWN = len(COLOURS)  # regions of a picture, the surest
BESIDE, LINE, SWATCH, LETTERS = 230, 28, 16, 17  # of the names, pixels
WIDER = 34


def draw(folder: Path, catalogue: Catalogue, settings: config.Params) -> Image.Image:
    """A sheet of some products of the validation split (of all, where it is empty), as a store of regions has them."""
    store = Store.open(folder)
    products = catalogue.in_split("val") if len(catalogue.in_split("val")) else np.arange(len(catalogue.products))
    chance = np.random.default_rng(seed_of(settings.seed, 14))
    some = catalogue.first_pictures()[np.sort(chance.choice(products, min(PRODUCTS, len(products)), replace=False))]
    blocks = []
    for picture, places, classes in zip(some, store.places(some).numpy(), store.classes(some).numpy(), strict=True):
        path = catalogue.pictures["path"].iloc[picture]
        photo = open_rgb(catalogue.root, path, max_megapixels=settings.catalogue.max_megapixels)
        blocks.append(_block(photo, places, classes, store.manifest["classes"]))
    return laid(blocks, in_row=IN_ROW, gap=WIDER)


def _block(photo: Image.Image, places: NDArray[np.float32], classes: NDArray, names: list[str]) -> Image.Image:
    """One product: the picture with its surest regions, and their names beside it.

    places  (R, 5) float32
    classes (R, K) float16
    """
    scale = TILE / max(photo.size)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    drawn = photo.resize(size, Image.Resampling.LANCZOS)
    shown = np.flatnonzero(places[:, 4] > 0)[1 : SHOWN + 1].tolist()
    pen = ImageDraw.Draw(drawn)
    for at in reversed(shown):
        left, right, top, bottom = (places[at, :4] * np.repeat(size, 2)).round().astype(int).tolist()
        outline(pen, (left, top, max(right, left + 6), max(bottom, top + 6)), COLOURS[at - 1], width=2)
    paper = Image.new("RGB", (TILE + GAP + BESIDE, TILE), PAPER)
    paper.paste(drawn, ((TILE - drawn.width) // 2, (TILE - drawn.height) // 2))
    pen = ImageDraw.Draw(paper)
    for row, at in enumerate(shown):
        _line(pen, row * LINE, COLOURS[at - 1], names, classes[at].astype(np.float32))
    return paper


def _line(pen: ImageDraw.ImageDraw, y: int, colour: str, names: list[str], classes: NDArray[np.float32]) -> None:
    """One name in the colour of its box, with how likely it is where that is not certain."""
    x, best = TILE + GAP, int(classes.argmax())
    pen.rectangle((x, y + 3, x + SWATCH, y + 3 + SWATCH), fill=colour)
    likely = "" if classes[best] > 0.995 else f" {100 * classes[best]:.0f} %"
    room = BESIDE - SWATCH - 8 - round(font(LETTERS).getlength(likely))
    pen.text((x + SWATCH + 8, y), fitted(names[best], room, LETTERS) + likely, fill=INK, font=font(LETTERS))
