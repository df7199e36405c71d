"""Cutting: all small pictures of one picture, in the order of pyramid.py (Kaleido-BERT sections 3.2 and 3.6)."""

import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fashionvl.patches.pyramid import Level, Pyramid, cells, edges

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom exclusive

# Pillow turns counter-clockwise.
CLOCKWISE = (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90)


def cut(pyramid: Pyramid, picture: Image.Image, box: Box, pixels: int) -> NDArray[np.uint8]:
    """Cut the locked box of a picture into its patches, and spoil those that puzzles need spoilt before the encoder.

    Each patch is resized alone, so that it shows nothing of its neighbours; rotation turns and grey are taken of the
    resized patch, so that turning back gives the upright one bit for bit.

    picture  RGB
    pixels   side S of a patch as the encoder sees it
    -> (V, S, S, 3) uint8   the clean ones, level 1 turned by 90, 180, 270 degrees clockwise, level 4 grey (ITU-R 601
                            luma): 55 + 3 + 16 in Kaleido-BERT; neither turned nor grey ones where the grid is missing
    """
    places = [place for level in pyramid.levels for place in patch_boxes(box, level)]
    patches = [picture.crop(place).resize((pixels, pixels), Image.Resampling.BILINEAR) for place in places]
    if "rotation" in pyramid.puzzles:
        patches += [patches[pyramid.span("rotation").start].transpose(turn) for turn in CLOCKWISE]
    strip = Image.new("RGB", (pixels, pyramid.vectors * pixels))
    for index, patch in enumerate(patches):
        strip.paste(patch, (0, index * pixels))
    if "grey" in pyramid.puzzles:
        clean = pyramid.span("grey")
        luma = strip.crop((0, clean.start * pixels, pixels, clean.stop * pixels)).convert("L")
        strip.paste(luma.convert("RGB"), (0, pyramid.greyed.start * pixels))
    return np.array(strip).reshape(pyramid.vectors, pixels, pixels, 3)


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
