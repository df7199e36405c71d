"""What is asked of hidden regions (ImageBERT, VL-BERT, ViLBERT): their class, how likely each class is, their vector.

15 % of the regions are hidden; the vector of nine in ten becomes zero, that of the tenth stays, as does the place of
all of them. The whole picture in slot 0 and regions without a class are never hidden. VL-BERT masks pixels before its
network sees them, so that neighbours do not leak; the cached vectors of regions that overlap do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from fashionvl import masking
from fashionvl.batches import Pictures
from fashionvl.masking import IGNORE
from fashionvl.patches.pyramid import Regions
from fashionvl.patches.store import Store

SHARE = 0.15  # of the regions
LEFT = 0.1  # of the hidden ones stay as they are


@dataclass(frozen=True)
class Luck:
    """What is random about the regions of a batch: which are hidden (B, P), which of these stay as they are (B, P)."""

    order: Tensor
    fate: Tensor

    @classmethod
    def draw(cls, rows: int, layout: Regions, generator: Generator) -> "Luck":
        return cls(*torch.rand(2, rows, layout.patches, generator=generator))

    def __getitem__(self, rows: slice) -> "Luck":
        return Luck(self.order[rows], self.fate[rows])


@dataclass(frozen=True)
class Asked:
    """What is asked of hidden regions, K slots a picture; None where an objective is off.

    slots  (B, K) int64      which regions
    taken  (B, K) bool       True where one is hidden
    moc    (B, K) int64      the likeliest class, IGNORE where none is hidden
    mrc    (B, K, C) float   how likely each class is
    mrfr   (B, K, D) float   the clean vector
    """

    slots: Tensor
    taken: Tensor
    moc: Tensor | None
    mrc: Tensor | None
    mrfr: Tensor | None


def ask(
    store: Store, which: Tensor, pictures: Pictures, luck: Luck, objectives: Sequence[str]
) -> tuple[Pictures, Asked]:
    """Hide regions -> the pictures as they are seen, and what is asked.

    which  (B,) int64   the pictures, as the store numbers them
    """
    likely, clean = store.classes(which).float(), pictures.patches
    shown = pictures.shown[:, : clean.shape[1]] & (likely.sum(dim=2) > 0)
    slots, taken = masking.hide_regions(shown, luck.order, share=SHARE)
    row = torch.arange(len(slots))[:, None]
    zeroed = torch.zeros(clean.shape[:2], dtype=torch.bool)
    zeroed[row, slots] = taken & (luck.fate[row, slots] >= LEFT)
    of_slots = likely[row, slots]
    asked = Asked(
        slots,
        taken,
        of_slots.argmax(dim=2).masked_fill(~taken, IGNORE) if "moc" in objectives else None,
        of_slots if "mrc" in objectives else None,
        clean[row, slots] if "mrfr" in objectives else None,
    )
    return replace(pictures, patches=clean.masked_fill(zeroed[:, :, None], 0.0)), asked
