"""Glimpses: random small pictures cut from a batch of pictures at once, for what learns from pixels."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def places_in(sides: Tensor, *, jitter: float, mirror: bool, generator: Generator) -> Tensor:
    """A random cell of a grid of `sides` x `sides`, moved and stretched at random.

    sides   (B, P) int64   1 is the whole picture
    jitter  how far a window may move and stretch, as a share of its cell; it shrinks by up to 1.5 times that
    mirror  True mirrors half of the windows, left to right
    -> (B, P, 4) float     left, top, right, bottom in [0, 1], a little outside at most; left > right is mirrored
    """

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(sides.shape, generator=generator)

    cell = 1 / sides.float()
    x = ((draw(0, 1) * sides).floor() + 0.5 + draw(-jitter, jitter)) * cell
    y = ((draw(0, 1) * sides).floor() + 0.5 + draw(-jitter, jitter)) * cell
    size, stretch = draw(1 - 1.5 * jitter, 1 + jitter), draw(-jitter, jitter)
    across = cell * size * (1 + stretch) / 2 * torch.where(draw(0, 1) < 0.5 * mirror, -1, 1)
    down = cell * size * (1 - stretch) / 2
    return torch.stack([x - across, y - down, x + across, y + down], dim=-1)


def look(pictures: Tensor, windows: Tensor, *, height: int, width: int) -> Tensor:
    """What shows in some windows of each picture, bilinear; beyond the edge the edge goes on.

    pictures (B, 3, H, W) uint8
    windows  (B, P, 4) float    left, top, right, bottom in [0, 1]; left > right is mirrored
    -> (B, P, 3, height, width) uint8

    A window much larger than what it is brought to would be aliased: pictures are first brought to a half, a third ...
    as most of the windows at one place ask for.
    """
    shrunk = [_shrink(pictures, windows[:, place], height, width) for place in range(windows.shape[1])]
    seen = {part: _divided(pictures, part).float() for part in set(shrunk)}
    glimpses = [_look_once(seen[part], windows[:, place], height, width) for place, part in enumerate(shrunk)]
    return torch.stack(glimpses, dim=1)


def _shrink(pictures: Tensor, windows: Tensor, height: int, width: int) -> int:
    """By how much pictures can be divided before these windows (B, 4) lose detail in a glimpse."""
    across = (windows[:, 2] - windows[:, 0]).abs().median().item() * pictures.shape[3] / width
    down = (windows[:, 3] - windows[:, 1]).abs().median().item() * pictures.shape[2] / height
    return max(1, round(min(across, down)))


def _divided(pictures: Tensor, part: int) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, 3, H / part, W / part) uint8"""
    if part == 1:
        return pictures
    size = (pictures.shape[2] // part, pictures.shape[3] // part)
    return F.interpolate(pictures, size, mode="bilinear", antialias=True)


def _look_once(pictures: Tensor, windows: Tensor, height: int, width: int) -> Tensor:
    """pictures (B, 3, H, W) float, windows (B, 4) -> (B, 3, height, width) uint8"""
    left, top, right, bottom = windows.unbind(-1)
    x = between(left, right, width)[:, None, :].expand(-1, height, -1)
    y = between(top, bottom, height)[:, :, None].expand(-1, -1, width)
    grid = torch.stack([x, y], dim=-1) * 2 - 1  # (B, height, width, 2)
    seen = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return (seen + 0.5).to(torch.uint8)


def between(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """The middles of `count` equal parts: (B,), (B,) -> (B, count)."""
    part = (torch.arange(count, device=start.device) + 0.5) / count
    return start[:, None] + (stop - start)[:, None] * part
