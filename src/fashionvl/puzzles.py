"""The five puzzles of AKPM (Kaleido-BERT section 3.6), played on cached vectors: a new perturbation every step,
drawn by the caller.

One level, one puzzle: rotation picks a turn of level 1, jigsaw permutes level 2, camouflage borrows a patch of level 3
from another product, grey swaps in grey patches of level 4, blank zeroes patches of level 5. The pyramid says which
level is whose, P patches and V vectors in all (55 and 74 in the paper); a puzzle it lacks is a ValueError.
"""

from itertools import permutations

import torch
from torch import Tensor

from fashionvl.patches.pyramid import KALEIDO, Layout, Pyramid

PERMUTATIONS = torch.tensor(list(permutations(range(4))))  # (24, 4), lexicographic: row k is class k
CHANGED = {"camouflage": 1, "grey": 2, "blank": 3}  # patches (section 3.4)

# What is asked of hidden regions in place of puzzles: the class the detector is surest of (ImageBERT's MOC, VL-BERT's
# masked RoI classification), how likely it takes each class to be (ViLBERT), the vector itself (ImageBERT's MRFR).
OF_REGIONS = ("moc", "mrc", "mrfr")


def quota(pyramid: Layout) -> dict[str, int]:
    """How many patches of its level each of camouflage, grey and blank changes, of those that can be played.

    Where blank is the only puzzle, it changes as many as the kaleido pyramid in all.
    """
    changed = {name: count for name, count in CHANGED.items() if name in pyramid.puzzles}
    if pyramid.puzzles == ("blank",):
        changed["blank"] = sum(quota(KALEIDO).values())
    return changed


def classes(pyramid: Layout) -> dict[str, int]:
    """How many answers rotation, jigsaw and camouflage have, of those that can be played.

    They are answered by one class from all patches of their level; grey and blank by a vector for each changed patch.
    """
    counts = {"rotation": 4, "jigsaw": len(PERMUTATIONS)}
    counts = {name: count for name, count in counts.items() if name in pyramid.puzzles}
    if isinstance(pyramid, Pyramid) and "camouflage" in pyramid.puzzles:
        counts["camouflage"] = pyramid.level("camouflage").patches
    return counts


def clean(pyramid: Pyramid, vectors: Tensor) -> Tensor:
    """vectors (B, V, D) -> (B, P, D)   a copy of the clean patches, to play on."""
    return vectors[:, : pyramid.patches].clone()


def rotate(pyramid: Pyramid, patches: Tensor, vectors: Tensor, turn: Tensor) -> Tensor:
    """Show the whole picture turned by 0, 90, 180 or 270 degrees clockwise.

    patches (B, P, D)    changed in place
    vectors (B, V, D)    the cache of the same pictures
    turn    (B,) int64   k: turn by k * 90 degrees
    -> (B,) int64        the class: k
    """
    upright = pyramid.span("rotation").start
    shown = torch.where(turn == 0, upright, pyramid.turned.start + turn - 1)
    patches[:, upright] = vectors[torch.arange(len(patches)), shown]
    return turn


def shuffle(pyramid: Pyramid, patches: Tensor, order: Tensor) -> Tensor:
    """Permute the four patches of level 2: slot j shows the patch of place PERMUTATIONS[order][j].

    patches (B, P, D)    changed in place
    order   (B,) int64   which of the 24 permutations
    -> (B,) int64        the class: that number
    """
    level = pyramid.span("jigsaw")
    tiles = patches[:, level]
    patches[:, level] = tiles.gather(1, PERMUTATIONS[order][:, :, None].expand_as(tiles))
    return order


def camouflage(pyramid: Pyramid, patches: Tensor, strangers: Tensor, slot: Tensor) -> Tensor:
    """Replace one patch of level 3 by one of another product.

    patches   (B, P, D)      changed in place
    strangers (B, D)         a level-3 vector of a product that is no match
    slot      (B, 1) int64   which of the nine
    -> (B,) int64            the class: that slot
    """
    patches[torch.arange(len(patches)), pyramid.span("camouflage").start + slot[:, 0]] = strangers
    return slot[:, 0]


def turn_grey(pyramid: Pyramid, patches: Tensor, vectors: Tensor, slots: Tensor) -> Tensor:
    """Show some patches of level 4 without colour.

    patches (B, P, D)     changed in place
    vectors (B, V, D)     the cache of the same pictures
    slots   (B, 2) int64  which of the sixteen
    -> (B, 2, D)          their vectors in colour: the answer
    """
    rows = torch.arange(len(patches))[:, None]
    places = pyramid.span("grey").start + slots
    answer = patches[rows, places]
    patches[rows, places] = vectors[rows, pyramid.greyed.start + slots]
    return answer


def blank(pyramid: Pyramid, patches: Tensor, slots: Tensor) -> Tensor:
    """Set some patches of level 5, or of the lone grid, to zero.

    patches (B, P, D)     changed in place
    slots   (B, K) int64  which of its patches, distinct; K as `quota` has it, 3 in the paper
    -> (B, K, D)          their vectors: the answer
    """
    rows = torch.arange(len(patches))[:, None]
    places = pyramid.span("blank").start + slots
    answer = patches[rows, places]
    patches[rows, places] = 0
    return answer
