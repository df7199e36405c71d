"""Everything that is differentiated. Each loss is a sum; the training loop divides by what it was summed over."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fashionvl.masking import IGNORE


def named(said: Tensor, answer: Tensor) -> Tensor:
    """Cross-entropy of class scores, summed; rows whose answer is IGNORE count nothing.

    said   (..., C) float   scores
    answer (...) int64      classes
    """
    return F.cross_entropy(said.float().flatten(0, -2), answer.flatten(), ignore_index=IGNORE, reduction="sum")


def drawn(said: Tensor, answer: Tensor, counted: Tensor) -> Tensor:
    """KL divergence from softmax(answer) to softmax(said), summed over patches (Kaleido-BERT Eq. 6, 7; target || said).

    said    (B, K, D) float   scores
    answer  (B, K, D) float   the clean vectors; no gradient flows into them
    counted (B,) bool         True where the row counts
    """
    target = answer.detach().float().log_softmax(dim=-1)
    distance = F.kl_div(said.float().log_softmax(dim=-1), target, reduction="none", log_target=True).sum(dim=-1)
    return (distance * counted[:, None]).sum()


def info_nce(pictures: Tensor, texts: Tensor, *, group: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of each row's own partner among all partners, mean of both directions, summed over rows (InfoNCE).

    pictures (B, C) float   of length 1
    texts    (B, C) float   of length 1
    group    (B,) int64     another row of the same group is no wrong answer: it is left out
    scale    () float       one over the temperature
    """
    likeness = scale * pictures.float() @ texts.float().T  # (B, B)
    alike = group[:, None] == group[None, :]
    alike.fill_diagonal_(False)
    likeness = likeness.masked_fill(alike, -torch.inf)
    own = torch.arange(len(group), device=group.device)
    there = F.cross_entropy(likeness, own, reduction="sum")
    return (there + F.cross_entropy(likeness.T, own, reduction="sum")) / 2


def binary(scores: Tensor, alike: Tensor, *, margin: float = 0.0) -> Tensor:
    """Cross-entropy of yes or no for every pair of a group, the mean of right and wrong ones, summed over queries.

    scores (b, n, n) float   log-odds; row i asks, column i is its own answer
    alike  (b, n, n) bool    True where a pair is of one group: off the diagonal it is neither right nor wrong
    """
    wrong = ~alike
    right = F.softplus(-scores.diagonal(dim1=1, dim2=2))
    others = (F.softplus(scores) * wrong).sum(dim=2) / wrong.sum(dim=2).clamp(min=1)
    return ((right + others) / 2).sum()


def multiclass(scores: Tensor, alike: Tensor, *, margin: float = 0.0) -> Tensor:
    """Cross-entropy of its own answer among the answers of a group, summed over queries; as `binary` otherwise."""
    b, n, _ = scores.shape
    own = torch.arange(n, device=scores.device).expand(b, -1)
    return F.cross_entropy(_without(scores, alike).transpose(1, 2), own, reduction="sum")


def triplet(scores: Tensor, alike: Tensor, *, margin: float) -> Tensor:
    """How far the hardest wrong answer comes within `margin` of the right one, summed over queries; as `binary`."""
    right = scores.diagonal(dim1=1, dim2=2)
    hardest = scores.masked_fill(alike, -torch.inf).amax(dim=2)
    return (margin + hardest - right).clamp(min=0).sum()


def _without(scores: Tensor, alike: Tensor) -> Tensor:
    """Leave out what is neither right nor wrong: pairs of one group off the diagonal."""
    own = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(alike & ~own, -torch.inf)
