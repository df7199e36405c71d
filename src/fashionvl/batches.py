"""What a single-stream model reads: words and patches side by side, with names instead of positions in a tuple."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """What is seen of pictures, row by row: patches of a grid, or regions, and where there are tags, their words.

    B rows, P patches or regions, D length of a vector, G slots of tags.

    patches (B, P, D) float    their vectors
    shown   (B, P + G) bool    True where a patch stands, then where a piece of a tag does; all False: no picture
    places  (P, 5) float       x1, x2, y1, y2, area of each slot, in [0, 1]; or (B, P, 5) where they vary by row
    levels  (P,) int64         the index of the level of each slot
    tags    (B, G) int64       word-piece ids of what a detector saw (OSCAR); None where a system reads none
    """

    patches: Tensor
    shown: Tensor
    places: Tensor
    levels: Tensor
    tags: Tensor | None = None

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, rows: Tensor | slice) -> "Pictures":
        places = self.places[rows] if self.places.ndim == 3 else self.places
        tags = None if self.tags is None else self.tags[rows]
        return Pictures(self.patches[rows], self.shown[rows], places, self.levels, tags)

    def to(self, device: torch.device) -> "Pictures":
        return moved(self, device)


@dataclass(frozen=True)
class Batch:
    """Texts and pictures, row by row.

    B rows, T text slots; the rest as in `Pictures`.

    words   (B, T) int64    word-piece ids
    real    (B, T) bool     True where a piece stands, False where padding; a row of False is a missing text
    """

    words: Tensor
    real: Tensor
    patches: Tensor
    shown: Tensor
    places: Tensor
    levels: Tensor
    tags: Tensor | None = None

    @classmethod
    def of(cls, words: Tensor, real: Tensor, pictures: Pictures) -> "Batch":
        """A text beside each picture."""
        return cls(words, real, *(getattr(pictures, field.name) for field in fields(pictures)))

    @property
    def pictures(self) -> Pictures:
        return Pictures(self.patches, self.shown, self.places, self.levels, self.tags)

    def to(self, device: torch.device) -> "Batch":
        return moved(self, device)


def moved(row: T, device: torch.device) -> T:
    """A dataclass of tensors (or of such dataclasses) on another device; itself where nothing has to move."""
    if device.type == "cpu":
        return row
    return type(row)(**{f.name: _moved(getattr(row, f.name), device) for f in fields(row)})  # type: ignore[arg-type]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return moved(value, device) if is_dataclass(value) else value


def trimmed(ids: Tensor, *, pad: int, patches: int, multiple: int = 8) -> Tensor:
    """Cut off the text slots that no row uses (dynamic padding).

    ids     (B, T) int64
    patches how many tokens a picture has
    -> (B, T') int64   T' <= T, as short as leaves T' + `patches` a multiple of `multiple`
    """
    longest = int((ids != pad).sum(dim=1).max())
    slots = -(-(longest + patches) // multiple) * multiple - patches
    return ids[:, : max(1, slots)]
