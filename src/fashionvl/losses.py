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
