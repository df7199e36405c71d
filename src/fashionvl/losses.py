"""Everything that is differentiated. Each loss is a sum; the training loop divides by what it was summed over."""

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
