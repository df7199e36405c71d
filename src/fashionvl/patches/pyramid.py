"""The kaleido pyramid: one table from which every length, offset and place follows (Kaleido-BERT section 3.2).

A picture is 55 patches (1 + 4 + 9 + 16 + 25). Its cache is 74 vectors: the 55 clean ones in level order, row-major
inside a level, then the three turns of level 1 (90, 180, 270 degrees clockwise), then the 16 grey ones of level 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """One grid of `side` x `side` patches and the puzzle that is played on it."""

    side: int
    puzzle: str

    @property
    def patches(self) -> int:
        return self.side * self.side


PYRAMID = (
    Level(1, "rotation"),
    Level(2, "jigsaw"),
    Level(3, "camouflage"),
    Level(4, "grey"),
    Level(5, "blank"),
)

PATCHES = sum(level.patches for level in PYRAMID)  # 55
TURNS = 3  # of level 1, beside the upright one
VECTORS = PATCHES + TURNS + PYRAMID[3].patches  # 74


def span(puzzle: str) -> slice:
    """Where the patches of the level of one puzzle stand among the 55, e.g. jigsaw -> slice(1, 5)."""
    start = 0
    for level in PYRAMID:
        if level.puzzle == puzzle:
            return slice(start, start + level.patches)
        start += level.patches
    raise ValueError(f"no puzzle is called {puzzle!r}; there are {[level.puzzle for level in PYRAMID]}")


TURNED = slice(PATCHES, PATCHES + TURNS)  # among the 74
GREYED = slice(PATCHES + TURNS, VECTORS)  # among the 74


def cells(side: int) -> list[tuple[int, int]]:
    """The (row, column) of each patch of a grid, row-major."""
    return [(row, column) for row in range(side) for column in range(side)]


def places() -> Tensor:
    """The slot of each patch relative to the locked box (section 3.5; specification D1).

    -> (55, 5) float   x1, x2, y1, y2, area, all in [0, 1]
    """
    rows = [
        (c / level.side, (c + 1) / level.side, r / level.side, (r + 1) / level.side, 1 / level.patches)
        for level in PYRAMID
        for r, c in cells(level.side)
    ]
    return torch.tensor(rows)


def levels() -> Tensor:
    """-> (55,) int64   the index of the level of each patch, 0 for 1x1 to 4 for 5x5."""
    return torch.tensor([index for index, level in enumerate(PYRAMID) for _ in range(level.patches)])


def edges(start: int, stop: int, side: int) -> list[int]:
    """The `side` + 1 exact grid lines between two pixel positions: nothing is lost, nothing overlaps."""
    return [start + round(i * (stop - start) / side) for i in range(side + 1)]
