"""Squares: a picture as the grid of patches that a vision transformer reads, and that masking by likeness compares."""

import torch
from torch import Tensor


def squares(pictures: Tensor, *, side: int, mean: Tensor, std: Tensor) -> Tensor:
    """Cut pictures into squares and normalise them.

    pictures (B, 3, H, W) uint8   H and W multiples of `side`
    side     of a square in pixels
    mean     (3,) float           of the data set, of red, green, blue in 0..1
    std      (3,) float
    -> (B, P, 3 * side * side) float   rows of squares from the top; within a square colour by colour, row by row
    """
    rows, height, width = len(pictures), pictures.shape[2] // side, pictures.shape[3] // side
    cut = pictures.reshape(rows, 3, height, side, width, side).permute(0, 2, 4, 1, 3, 5).contiguous()
    cut = cut.view(rows, height * width, 3, side * side)
    gain = (1 / (255 * std))[:, None]
    return torch.addcmul(-(mean / std)[:, None], cut.float(), gain).flatten(2)
