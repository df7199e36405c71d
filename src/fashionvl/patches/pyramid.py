"""The pyramid: the grids that a picture is cut into, from which every length, offset and place follows.

Kaleido-BERT's (section 3.2) has five, 1x1 to 5x5: 55 patches. Its cache is 74 vectors: the 55 clean ones in level
order, row-major inside a level, then the three turns of level 1 (90, 180, 270 degrees clockwise), then the 16 grey ones
of level 4. One grid of 8x8 is FashionBERT's, and the paper's ablation of a fixed scale.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

PUZZLES = {1: "rotation", 2: "jigsaw", 3: "camouflage", 4: "grey", 5: "blank"}  # by side (section 3.6)
TURNS = 3  # of the whole picture, beside the upright one


@dataclass(frozen=True)
class Level:
    """One grid of `side` x `side` patches and the puzzle that is played on it, None where none is."""

    side: int
    puzzle: str | None

    @property
    def patches(self) -> int:
        return self.side * self.side


@dataclass(frozen=True)
class Pyramid:
    """The grids of a picture, the coarsest first.

    sides   of the grids, rising; a grid without a puzzle plays `blank` if it is the finest and no other grid does

    P below is the number of patches, V the number of cached vectors.
    """

    sides: tuple[int, ...]

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        puzzles = [PUZZLES.get(side) for side in self.sides]
        if "blank" not in puzzles:
            puzzles[-1] = puzzles[-1] or "blank"
        return tuple(Level(side, puzzle) for side, puzzle in zip(self.sides, puzzles, strict=True))

    @property
    def puzzles(self) -> tuple[str, ...]:
        """The puzzles that can be played, in the order of their levels."""
        return tuple(level.puzzle for level in self.levels if level.puzzle)

    @cached_property
    def patches(self) -> int:
        """P, 55 in Kaleido-BERT."""
        return sum(level.patches for level in self.levels)

    @property
    def vectors(self) -> int:
        """V, 74 in Kaleido-BERT: the clean patches, the turned ones, the grey ones."""
        return self.greyed.stop

    @property
    def turned(self) -> slice:
        """Where the turns of the patch of `rotation` stand among the V; empty where it is not played."""
        return slice(self.patches, self.patches + TURNS * ("rotation" in self.puzzles))

    @property
    def greyed(self) -> slice:
        """Where the grey patches of the level of `grey` stand among the V; empty where it is not played."""
        start = self.turned.stop
        return slice(start, start + (self.level("grey").patches if "grey" in self.puzzles else 0))

    @property
    def called(self) -> str:
        """What a sentence calls it."""
        return f"the grids {list(self.sides)}"

    def level(self, puzzle: str) -> Level:
        """The level that one puzzle is played on; a ValueError where there is none."""
        return self.levels[self._number(puzzle)]

    def span(self, puzzle: str) -> slice:
        """Where the patches of the level of one puzzle stand among the P, e.g. jigsaw -> slice(1, 5).

        A ValueError where the pyramid cannot play it.
        """
        return self.span_of(self._number(puzzle))

    def span_of(self, index: int) -> slice:
        """Where the patches of one level stand among the P, e.g. 1 -> slice(1, 5)."""
        start = sum(level.patches for level in self.levels[:index])
        return slice(start, start + self.levels[index].patches)

    @property
    def spans(self) -> list[slice]:
        """Where the patches of each level stand among the P."""
        return [self.span_of(index) for index in range(len(self.levels))]

    def places(self) -> Tensor:
        """The slot of each patch relative to the locked box (section 3.5; specification D1).

        -> (P, 5) float   x1, x2, y1, y2, area, all in [0, 1]
        """
        rows = [
            (c / level.side, (c + 1) / level.side, r / level.side, (r + 1) / level.side, 1 / level.patches)
            for level in self.levels
            for r, c in cells(level.side)
        ]
        return torch.tensor(rows)

    def levels_of(self) -> Tensor:
        """-> (P,) int64   the index of the level of each patch, in Kaleido-BERT 0 for 1x1 to 4 for 5x5."""
        return torch.tensor([index for index, level in enumerate(self.levels) for _ in range(level.patches)])

    def _number(self, puzzle: str) -> int:
        for number, level in enumerate(self.levels):
            if level.puzzle == puzzle:
                return number
        raise ValueError(f"the grids {list(self.sides)} do not play {puzzle!r}; they play {list(self.puzzles)}")


KALEIDO = Pyramid((1, 2, 3, 4, 5))


@dataclass(frozen=True)
class Regions:
    """The slots of a picture whose vectors are those of regions: one level, on which no puzzle of the grids is played.

    most   slots; slot 0 is the whole picture
    names  of the K classes that a region may be of, as the tags of OSCAR say them
    """

    most: int
    names: tuple[str, ...] = ()

    levels: ClassVar[tuple[Level, ...]] = ()
    puzzles: ClassVar[tuple[str, ...]] = ()

    @property
    def called(self) -> str:
        """What a sentence calls it."""
        return f"{self.most} regions of {len(self.names)} classes"

    @property
    def patches(self) -> int:
        """P."""
        return self.most

    @property
    def vectors(self) -> int:
        """V."""
        return self.most

    @property
    def spans(self) -> list[slice]:
        """Where the one level stands among the P."""
        return [slice(0, self.most)]

    def levels_of(self) -> Tensor:
        """-> (P,) int64   zeros: there is one level"""
        return torch.zeros(self.most, dtype=torch.int64)


Layout = Pyramid | Regions


def cells(side: int) -> list[tuple[int, int]]:
    """The (row, column) of each patch of a grid, row-major."""
    return [(row, column) for row in range(side) for column in range(side)]


def edges(start: int, stop: int, side: int) -> list[int]:
    """The `side` + 1 exact grid lines between two pixel positions: nothing is lost, nothing overlaps."""
    return [start + round(i * (stop - start) / side) for i in range(side + 1)]
