"""The five puzzles of AKPM (Kaleido-BERT section 3.6), played on cached vectors: a new perturbation every step,
drawn by the caller.

One level, one puzzle: rotation picks a turn of level 1, jigsaw permutes level 2, camouflage borrows a patch of level 3
from another product, grey swaps in grey patches of level 4, blank zeroes patches of level 5.
"""

from itertools import permutations

import torch
from torch import Tensor

from fashionvl.patches.pyramid import GREYED, PATCHES, TURNED, span

PERMUTATIONS = torch.tensor(list(permutations(range(4))))  # (24, 4), lexicographic: row k is class k
QUOTA = {"camouflage": 1, "grey": 2, "blank": 3}  # patches changed (section 3.4)


def clean(vectors: Tensor) -> Tensor:
    """vectors (B, 74, D) -> (B, 55, D)   a copy of the clean patches, to play on."""
    return vectors[:, :PATCHES].clone()


def rotate(patches: Tensor, vectors: Tensor, turn: Tensor) -> Tensor:
    """Show the whole picture turned by 0, 90, 180 or 270 degrees clockwise.

    patches (B, 55, D)   changed in place
    vectors (B, 74, D)   the cache of the same pictures
    turn    (B,) int64   k: turn by k * 90 degrees
    -> (B,) int64        the class: k
    """
    upright = span("rotation").start
    shown = torch.where(turn == 0, upright, TURNED.start + turn - 1)
    patches[:, upright] = vectors[torch.arange(len(patches)), shown]
    return turn


def shuffle(patches: Tensor, order: Tensor) -> Tensor:
    """Permute the four patches of level 2: slot j shows the patch of place PERMUTATIONS[order][j].

    patches (B, 55, D)   changed in place
    order   (B,) int64   which of the 24 permutations
    -> (B,) int64        the class: that number
    """
    tiles = patches[:, span("jigsaw")]
    patches[:, span("jigsaw")] = tiles.gather(1, PERMUTATIONS[order][:, :, None].expand_as(tiles))
    return order


def camouflage(patches: Tensor, strangers: Tensor, slot: Tensor) -> Tensor:
    """Replace one patch of level 3 by one of another product.

    patches   (B, 55, D)     changed in place
    strangers (B, D)         a level-3 vector of a product that is no match
    slot      (B, 1) int64   which of the nine
    -> (B,) int64            the class: that slot
    """
    patches[torch.arange(len(patches)), span("camouflage").start + slot[:, 0]] = strangers
    return slot[:, 0]


def turn_grey(patches: Tensor, vectors: Tensor, slots: Tensor) -> Tensor:
    """Show some patches of level 4 without colour.

    patches (B, 55, D)    changed in place
    vectors (B, 74, D)    the cache of the same pictures
    slots   (B, 2) int64  which of the sixteen
    -> (B, 2, D)          their vectors in colour: the answer
    """
    rows = torch.arange(len(patches))[:, None]
    places = span("grey").start + slots
    answer = patches[rows, places]
    patches[rows, places] = vectors[rows, GREYED.start + slots]
    return answer


def blank(patches: Tensor, slots: Tensor) -> Tensor:
    """Set some patches of level 5 to zero.

    patches (B, 55, D)    changed in place
    slots   (B, 3) int64  which of the twenty-five, distinct
    -> (B, 3, D)          their vectors: the answer
    """
    rows = torch.arange(len(patches))[:, None]
    places = span("blank").start + slots
    answer = patches[rows, places]
    patches[rows, places] = 0
    return answer
