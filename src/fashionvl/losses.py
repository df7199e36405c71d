"""Everything that is differentiated. Each loss is a sum; the training loop divides by what it was summed over."""

import torch
import torch.distributed as dist
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


def likely(said: Tensor, answer: Tensor, counted: Tensor) -> Tensor:
    """KL divergence from `answer` to softmax(said), summed over regions (ViLBERT's masked region classes).

    said    (B, K, C) float   scores
    answer  (B, K, C) float   how likely each class is, sums to 1
    counted (B, K) bool       True where the region counts
    """
    distance = F.kl_div(said.float().log_softmax(dim=-1), answer.detach().float(), reduction="none").sum(dim=-1)
    return (distance * counted).sum()


def regressed(said: Tensor, answer: Tensor, counted: Tensor) -> Tensor:
    """Mean squared difference of vectors, summed over regions (ImageBERT's MRFR, which leaves sum or mean open).

    said    (B, K, D) float
    answer  (B, K, D) float   the clean vectors; no gradient flows into them
    counted (B, K) bool       True where the region counts
    """
    return ((said.float() - answer.detach().float()).square().mean(dim=-1) * counted).sum()


def adaptive(means: Tensor, *, alpha: float = 1.0) -> Tensor:
    """How much each loss counts beside the others (FashionBERT section 3.3), the larger the more.

    The paper weighs by squared norms of gradients; its code, as here, by squares of the softmax of the values. Unlike
    there no gradient flows through the weights. Each lies between (K - 1) / (K^2 - K + 1) and K / (K^2 - K + 1) for K
    losses: 0.286 and 0.429 for three.

    means (K,) float   the value of each loss -> (K,) float   sums to 1
    """
    size = means.detach().float().softmax(dim=0).square()
    weight = 1 / (alpha * len(means) - size)
    return weight / weight.sum()


def info_nce(pictures: Tensor, texts: Tensor, *, group: Tensor, scale: Tensor, mine: slice = slice(None)) -> Tensor:
    """Cross-entropy of each row's own partner among all partners, mean of both directions, summed over rows (InfoNCE).

    pictures (B, C) float   of length 1
    texts    (B, C) float   of length 1
    group    (B,) int64     another row of the same group is no wrong answer: it is left out
    scale    () float       one over the temperature
    mine     the rows that ask and are summed over, where the others are those of other processes (`gathered`)
    """
    own = torch.arange(len(group), device=group.device)[mine]
    alike = group[own, None] == group[None, :]
    alike[torch.arange(len(own), device=group.device), own] = False
    pictures, texts = pictures.float(), texts.float()
    there = (scale * pictures[mine] @ texts.T).masked_fill(alike, -torch.inf)  # (b, B)
    back = there.T if len(own) == len(group) else (scale * texts[mine] @ pictures.T).masked_fill(alike, -torch.inf)
    return (F.cross_entropy(there, own, reduction="sum") + F.cross_entropy(back, own, reduction="sum")) / 2


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        said = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(said)  # the sum of what every process says of these rows
        return said.chunk(dist.get_world_size())[dist.get_rank()]


def gathered(rows: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes one after the other, with gradient, and where those of this process are among them.

    rows (b, ...)   as many in every process
    -> (B, ...), the slice of this process; the rows themselves where there is but one process

    The gradient of a row is the sum of what the losses of all processes say of it, so that losses that are summed over
    processes have the gradient of one process with all the rows.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows, slice(None)
    at = dist.get_rank() * len(rows)
    return _Gathered.apply(rows), slice(at, at + len(rows))


def binary(scores: Tensor, alike: Tensor, *, margin: float = 0.0) -> Tensor:
    """Cross-entropy of yes or no for every pair of a group, the mean of right and wrong ones, summed over queries.

    ImageBERT asks each pair by itself; here the wrong answers of a query count together as much as its right one.

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
