"""What a row of CLIP's family hides of its pictures, by which CLIP, FLIP, FLIP-Attn and Cluster Masking differ."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fashionvl import clusters, dropping
from fashionvl.catalogue.problems import Problem
from fashionvl.clusters import Luck
from fashionvl.models.clip import Clip

NOBODY = -1  # stands for an anchor where a patch goes with none
Kept = tuple[Tensor | None, Tensor | None]  # keep (B, K) int64, valid (B, K) bool; None for all


@dataclass(frozen=True)
class Hiding:
    """What a row hides of its pictures.

    by         a name in WAYS: nothing (CLIP), random (FLIP), attention (FLIP-Attn), pixels, vectors (Cluster Masking
               by RGB, by embedding), halves (by K-Means)
    least      share of the patches that every picture loses at least (beta)
    target     share that they lose on average, by which a threshold is searched
    anchors    share of the patches that are anchors
    threshold  likeness above which a patch goes with an anchor; None searches it in every batch anew, since the
               likeness of vectors changes while the model learns
    power      of the share of the training that is over; so much do vectors weigh beside pixels
    clusters   that k-means makes of a picture
    shown      patches that a picture shows at least, however alike they are
    """

    by: str = "nothing"
    least: float = 0.5
    target: float = 0.5
    anchors: float = 0.03
    threshold: float | None = None
    power: float = 1.0
    clusters: int = 16
    shown: int = 1

    def __post_init__(self):
        if self.by not in WAYS:
            raise Problem(f"what hides patches must be one of {list(WAYS)}, not {self.by!r}")
        if not (0 <= self.least < 1 and 0 < self.target < 1 and 0 < self.anchors <= 1):
            raise Problem(
                "the shares of hidden patches must be in [0, 1) for `least`, in (0, 1) for `target` and in (0, 1] for"
                f" `anchors`, not {self.least}, {self.target} and {self.anchors}"
            )


@torch.no_grad()
def kept(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, *, progress: float) -> Kept:
    """Which patches (B, P, D) the tower sees, as the row has it; `progress` in [0, 1] of the training is over."""
    return WAYS[hiding.by](model, patches, luck, hiding, progress)


def find_threshold(model: Clip, batches: Iterable[tuple[Tensor, Luck]], hiding: Hiding) -> clusters.Found:
    """The threshold at which the pixels of some batches hide the target, or come nearest to it.

    batches  pictures (B, 3, H, W) uint8 as they are seen in training, and their luck; 2,000 pictures are plenty
    """
    close = [_closeness(model, model.patches_of(pictures), luck, hiding, 0.0) for pictures, luck in batches]
    return clusters.search(torch.cat(close), target=hiding.target, least=hiding.least, shown=hiding.shown)


@torch.no_grad()
def companions(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, *, progress: float) -> Tensor:
    """Which anchor each patch goes with, where a row hides by likeness to anchors (`pixels`, `vectors`).

    -> (B, P) int64   the place of the anchor, its own at an anchor; NOBODY where a patch goes with none
    """
    alike, anchor = _likeness(model, patches, luck, hiding, progress)
    close = clusters.closeness(alike, anchor)
    nearest = anchor.gather(1, alike.argmax(dim=1)).scatter(1, anchor, anchor)
    return nearest.where(clusters.hide(close, threshold=_threshold(close, hiding)), NOBODY)


def _closeness(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Tensor:
    """-> (B, P) float   how alike each patch is to the nearest anchor of its picture"""
    return clusters.closeness(*_likeness(model, patches, luck, hiding, progress))


@torch.no_grad()
def _likeness(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> tuple[Tensor, Tensor]:
    """-> (B, A, P) float, how alike each patch is to each anchor of its picture; (B, A) int64, where they are"""
    anchor = clusters.anchors(luck.anchor, share=hiding.anchors)
    vectors = model.pictures.embedded(patches) if hiding.by == "vectors" and progress > 0 else None
    with torch.autocast(patches.device.type, enabled=False):  # as exact as the threshold
        alike = clusters.alike_in_pixels(patches, anchor)
        if vectors is not None:
            alike = clusters.mixed(alike, clusters.cosines(vectors, anchor), progress=progress, power=hiding.power)
    return alike, anchor


def _threshold(close: Tensor, hiding: Hiding) -> float:
    """The row's, or that of this batch."""
    if hiding.threshold is not None:
        return hiding.threshold
    return clusters.search(close, target=hiding.target, least=hiding.least, shown=hiding.shown).threshold


def _nothing(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Kept:
    return None, None


def _random(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Kept:
    return dropping.keep_random(luck.drop, least=hiding.least), None


def _attention(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Kept:
    return dropping.keep_attended(model.pictures.looks(patches), least=hiding.least), None


def _clusters(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Kept:
    close = _closeness(model, patches, luck, hiding, progress)
    hidden = clusters.hide(close, threshold=_threshold(close, hiding))
    return dropping.keep_visible(hidden, luck.drop, least=hiding.least, shown=hiding.shown)


def _halves(model: Clip, patches: Tensor, luck: Luck, hiding: Hiding, progress: float) -> Kept:
    with torch.autocast(patches.device.type, enabled=False):
        hidden = clusters.hide_half(patches, luck, clusters=hiding.clusters)
    return dropping.keep_visible(hidden, luck.drop, least=hiding.least, shown=hiding.shown)


WAYS: dict[str, Callable[[Clip, Tensor, Luck, Hiding, float], Kept]] = {
    "nothing": _nothing,
    "random": _random,
    "attention": _attention,
    "pixels": _clusters,
    "vectors": _clusters,
    "halves": _halves,
}
