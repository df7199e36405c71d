"""Which patches a picture tower gets to see: the rest is dropped before its encoder (FLIP; Cluster Masking 3.3).

Pure functions to indices: `keep` says which patches go in, `valid` which of those may be looked at. What they cost is
set by how many are kept, not by how many are valid.

B rows, P patches of a picture, K of them kept.
"""

import math

import torch
from torch import Tensor

ROUNDING = 1e-6  # so that 100 * (1 - 0.9) is 10 and not 9.99


def kept_of(patches: int, least: float) -> int:
    """How many of the patches are kept where at least a share of them, `least`, is dropped; one always is."""
    return max(1, math.floor(patches * (1 - least) + ROUNDING))


def keep_visible(hidden: Tensor, draws: Tensor, *, least: float, shown: int = 1) -> tuple[Tensor, Tensor]:
    """Keep the visible patches, as many as the fullest picture has, and not more than `least` leaves of a picture.

    A picture with more loses some of them, by its own draws; one with fewer is filled up with hidden ones, which are
    not valid.

    hidden (B, P) bool    True where a patch may not be seen
    draws  (B, P) float   in [0, 1), one draw a patch; the lowest are kept first
    least  share of the patches that every picture loses at least (the cut-off beta of the paper)
    shown  valid patches that every picture has at least, were all of them hidden
    ->
    keep   (B, K) int64   distinct indices into P, visible ones first
    valid  (B, K) bool    True where the patch may be looked at
    """
    shown = min(shown, kept_of(hidden.shape[1], least))
    fullest = max(shown, int((~hidden).sum(dim=1).max()))
    order = (draws + 2 * hidden).argsort(dim=1)
    keep = order[:, : min(kept_of(hidden.shape[1], least), fullest)]
    valid = ~hidden.gather(1, keep)
    valid[:, :shown] = True  # the lowest draws of a picture that shows fewer
    return keep, valid


def keep_random(draws: Tensor, *, least: float) -> Tensor:
    """Keep the patches with the lowest draws (FLIP); all of them are valid.

    draws (B, P) float   one draw a patch
    -> (B, K) int64      distinct indices into P
    """
    return draws.argsort(dim=1)[:, : kept_of(draws.shape[1], least)]


def keep_attended(looks: Tensor, *, least: float) -> Tensor:
    """Keep the patches that are looked at most (FLIP-Attn); all of them are valid.

    looks (B, P) float   how much each patch is looked at, without gradient
    -> (B, K) int64      distinct indices into P
    """
    return looks.argsort(dim=1, descending=True)[:, : kept_of(looks.shape[1], least)]


def hidden_share(keep: Tensor | None, valid: Tensor | None, *, rows: int, patches: int) -> Tensor:
    """The share of the patches of each picture that is not seen -> (B,) float

    keep (B, K) int64, valid (B, K) bool   None for all
    """
    if valid is not None:
        return 1 - valid.sum(dim=1) / patches
    return torch.full((rows,), 0.0 if keep is None else 1 - keep.shape[1] / patches)
