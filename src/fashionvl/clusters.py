"""Which patches go together because they look alike (Cluster Masking, Wei, Pan and Owens, CVPR 2024).

A few patches of a picture, the anchors, are drawn; each is hidden with all that are more alike to it than a threshold.
Likeness is a cosine: of pixels, each patch standardised by itself, or more and more of what the model makes of them.

Pure functions from tensors without gradient, which know no model. All that is random is drawn before anything is
looked at (`draw`); `dropping` decides from what is hidden here what a model gets to see.

B rows, P patches of a picture, D numbers of a patch, A anchors, C width of a model.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from fashionvl.dropping import ROUNDING, kept_of

FLAT = 0.03  # standard deviation of a patch below which it shows nothing; two grey levels of 255 after CLIP's spread
SPAN = 1.9  # half of the way from black to white after CLIP's spread
EPSILON = 1e-6
ROUNDS = 10  # of k-means
HALVINGS = 40  # of the search; float32 knows no finer threshold


@dataclass(frozen=True)
class Luck:
    """All that is random about what a batch may not see, a draw in [0, 1) a patch for each purpose.

    anchor (B, P) float   the lowest become anchors, or first centres
    half   (B, P) float   the clusters of the centres with the lowest are hidden
    drop   (B, P) float   of the visible patches the lowest are kept first
    """

    anchor: Tensor
    half: Tensor
    drop: Tensor


def draw(rows: int, patches: int, *, generator: Generator) -> Luck:
    """Draw the luck of some pictures; every picture has its own."""
    return Luck(*torch.rand(3, rows, patches, generator=generator))


def anchors(draws: Tensor, *, share: float) -> Tensor:
    """The anchors of each picture: of 196 patches 6 at a share of 0.03, 10 at 0.05; one at least.

    draws (B, P) float   one draw a patch -> (B, A) int64   where the lowest stand
    """
    patches = draws.shape[1]
    count = patches - math.floor(patches * (1 - share) + ROUNDING)
    return draws.topk(max(1, count), dim=1, largest=False).indices


def standardised(pixels: Tensor) -> Tensor:
    """Every patch less its mean, over its spread: all numbers of a patch together, colours too (the paper's pixel
    normalisation).

    pixels (B, P, D) float -> (B, P, D) float   of mean 0 and variance 1; nearly 0 where a patch is flat
    """
    variance, mean = torch.var_mean(pixels, dim=2, keepdim=True)
    return (pixels - mean) * (variance + EPSILON).rsqrt()


def alike_in_pixels(pixels: Tensor, anchor: Tensor) -> Tensor:
    """How alike patches are to the anchors of their picture, by their pixels.

    A flat patch has no pattern to compare (its cosine would be 0 / 0, or that of its noise): two of them are alike as
    far as they are equally bright, 1 if wholly, and a flat one is neither like nor unlike one with a pattern, 0. After
    CLIP's statistics a grey patch is not flat: what is left of its three colours is its pattern.

    pixels (B, P, D) float   after the normalisation of the data set
    anchor (B, A) int64
    -> (B, A, P) float       in [-1, 1]
    """
    variance, mean = torch.var_mean(pixels, dim=2)  # (B, P)
    flat = variance < FLAT**2
    of_anchor = pixels.gather(1, _wide(anchor, pixels)) - mean.gather(1, anchor)[:, :, None]  # (B, A, D)
    length = (variance * (pixels.shape[2] - 1)).sqrt().clamp(min=EPSILON)
    alike = F.normalize(of_anchor, dim=2) @ pixels.transpose(1, 2)  # anchors sum to 0: no mean need leave the others
    alike = (alike / length[:, None]).clamp(-1, 1)
    flat_anchor, brightness = flat.gather(1, anchor)[:, :, None], mean.gather(1, anchor)[:, :, None]
    equally_bright = (1 - (brightness - mean[:, None]).abs() / SPAN).clamp(min=-1)
    alike = torch.where(flat[:, None] & flat_anchor, equally_bright, alike)
    return alike.masked_fill(flat[:, None] ^ flat_anchor, 0.0)


def cosines(vectors: Tensor, anchor: Tensor) -> Tensor:
    """vectors (B, P, C) float, anchor (B, A) int64 -> (B, A, P) float in [-1, 1]   cosines of anchors and all"""
    unit = F.normalize(vectors.detach().float(), dim=2)
    return (unit.gather(1, _wide(anchor, unit)) @ unit.transpose(1, 2)).clamp(-1, 1)


def mixed(pixels: Tensor, vectors: Tensor, *, progress: float, power: float = 1.0) -> Tensor:
    """Likeness of pixels at first and of the model's vectors in the end (the embedding variant).

    pixels, vectors (B, A, P) float   likeness by either
    progress        how much of the training is over, in [0, 1]
    -> (B, A, P) float   no gradient flows into either
    """
    return torch.lerp(pixels.detach().float(), vectors.detach().float(), progress**power)


def closeness(alike: Tensor, anchor: Tensor) -> Tensor:
    """How alike each patch is to the nearest anchor; it is hidden where that is above the threshold.

    alike (B, A, P) float, anchor (B, A) int64 -> (B, P) float   infinite at the anchors, which are always hidden
    """
    return alike.amax(dim=1).scatter(1, anchor, torch.inf)


def hide(close: Tensor, *, threshold: float) -> Tensor:
    """Hide the anchors and all that is like one of them: close (B, P) float -> (B, P) bool, True where hidden."""
    return close > threshold


def hide_half(pixels: Tensor, luck: Luck, *, clusters: int) -> Tensor:
    """Hide half of the clusters that k-means finds among the patches of each picture (the K-Means variant).

    pixels (B, P, D) float   after the normalisation of the data set
    -> (B, P) bool           True where hidden
    """
    patches = standardised(pixels)
    first = luck.anchor.topk(min(clusters, pixels.shape[1]), dim=1, largest=False).indices  # (B, A)
    centres = patches.gather(1, _wide(first, patches))
    for _ in range(ROUNDS):
        nearest = torch.cdist(patches, centres).argmin(dim=2)  # (B, P)
        mine = F.one_hot(nearest, first.shape[1]).to(patches.dtype)
        count = mine.sum(dim=1)[:, :, None]  # (B, A, 1)
        centres = torch.where(count > 0, mine.transpose(1, 2) @ patches / count.clamp(min=1), centres)
    rank = luck.half.gather(1, first).argsort(dim=1).argsort(dim=1)
    return (rank < first.shape[1] // 2).gather(1, nearest)


@dataclass(frozen=True)
class Found:
    """What a search found.

    threshold  the likeness above which a patch is hidden
    ratio      the share of the patches that it hides; not the target where no threshold comes nearer
    """

    threshold: float
    ratio: float


def search(close: Tensor, *, target: float, least: float = 0.0, shown: int = 1) -> Found:
    """The threshold in [-1, 1] at which the share of hidden patches is nearest to the target.

    What is hidden is counted after the cut-off where `least` is below the target, as the paper has it, and before
    the cut-off otherwise: after it no threshold would make a difference.

    close (N, P) float   `closeness` of the patches of several batches, each with anchors of its own
    least, shown         as `dropping.keep_visible` has them
    """
    patches = close.shape[1]
    most = kept_of(patches, least) if least < target else patches

    def ratio(threshold: float) -> float:
        seen = (close <= threshold).sum(dim=1).clamp(min=min(shown, most), max=most)
        return 1 - float(seen.double().mean()) / patches

    low, high = -1.0, 1.0  # the ratio falls as the threshold rises
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) > target else (low, middle)
    found = [Found(threshold, ratio(threshold)) for threshold in (low, high)]
    return min(found, key=lambda one: abs(one.ratio - target))


def _wide(rows: Tensor, vectors: Tensor) -> Tensor:
    """rows (B, A) int64, vectors (B, P, C) -> (B, A, C), what gathers whole vectors"""
    return rows[:, :, None].expand(-1, -1, vectors.shape[2])
