"""Cutting: the 74 small pictures of one picture, in the order of pyramid.py (Kaleido-BERT sections 3.2 and 3.6)."""

import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fashionvl.patches.pyramid import GREYED, PYRAMID, VECTORS, Level, cells, edges, span

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

# Pillow turns counter-clockwise.
CLOCKWISE = (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)


def cut(picture: Image.Image, box: Box, pixels: int) -> NDArray[np.uint8]:
    """Cut the locked box of a picture into its 55 patches, and spoil those that puzzles need spoilt before the encoder.

    Each patch is resized alone, so that it shows nothing of its neighbours; rotation turns and grey are taken of the
    resized patch, so that turning back gives the upright one bit for bit.

    picture  RGB
    pixels   side S of a patch as the encoder sees it
    -> (74, S, S, 3) uint8   55 clean, level 1 turned by 90, 180, 270 degrees clockwise, level 4 grey (ITU-R 601 luma)
    """
    places = [place for level in PYRAMID for place in patch_boxes(box, level)]
    patches = [picture.crop(place).resize((pixels, pixels), Image.Resampling.BILINEAR) for place in places]
    strip = Image.new("RGB", (pixels, VECTORS * pixels))
    for index, patch in enumerate([*patches, *(patches[0].transpose(turn) for turn in CLOCKWISE)]):
        strip.paste(patch, (0, index * pixels))
    grey = span("grey")
    luma = strip.crop((0, grey.start * pixels, pixels, grey.stop * pixels)).convert("L")
    strip.paste(luma.convert("RGB"), (0, GREYED.start * pixels))
    return np.array(strip).reshape(VECTORS, pixels, pixels, 3)


def patch_boxes(box: Box, level: Level) -> list[Box]:
    """Where the patches of one level lie in the picture, row-major: together they are the box, and none overlap.

    Only where the box is narrower than the grid would a patch be empty; it then is the one pixel at its place.
    """
    left, top, right, bottom = box
    x, y = edges(left, right, level.side), edges(top, bottom, level.side)
    across, down = _spans(x), _spans(y)
    return [(across[c][0], down[r][0], across[c][1], down[r][1]) for r, c in cells(level.side)]


def _spans(lines: list[int]) -> list[tuple[int, int]]:
    """From grid lines to (start, stop) of each cell, at least one pixel wide."""
    last = lines[-1] - 1
    return [(min(a, last), max(b, min(a, last) + 1)) for a, b in itertools.pairwise(lines)]
