"""The one attention and the one dropout.

On an accelerator they are PyTorch's own. On a processor most of the time of PyTorch's own goes into drawing one
Bernoulli number an element and into the slow path that attention takes backward; here 16 random bits decide an element
(so a share of 0.1 is 6554 / 65536) and all products go through the bf16 matrix units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HALF = 1 << 15


def _kept(shape: torch.Size, share: float, dtype: torch.dtype) -> Tensor:
    """One where an element is kept, zero where it is dropped."""
    count = shape.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    kept = torch.empty(shape, dtype=dtype)
    return torch.ge(bits[:count].view(shape), round(share * 2 * _HALF) - _HALF, out=kept)


class _DropAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, stream: Tensor, update: Tensor, share: float) -> Tensor:
        kept = _kept(update.shape, share, update.dtype)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - share)
        return torch.addcmul(stream, update, kept, value=ctx.scale)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (kept,) = ctx.saved_tensors
        return grad, torch.mul(grad, kept).mul_(ctx.scale), None


def drop_add(stream: Tensor, update: Tensor, share: float, training: bool) -> Tensor:
    """stream + dropout(update), all of one shape; the residual connection."""
    if not (training and share):
        return stream + update
    if stream.device.type != "cpu":
        return stream + F.dropout(update, share)
    return _DropAdd.apply(stream, update, share)


def drop(x: Tensor, share: float, training: bool) -> Tensor:
    """Dropout."""
    if x.device.type != "cpu" or not (training and share):
        return F.dropout(x, share, training)
    return _DropAdd.apply(torch.zeros((), dtype=x.dtype), x, share)


class _Attend(torch.autograd.Function):
    """softmax(q k' + bias), dropped, times v, for (N, S, d) tensors; q comes scaled, bias as (B, 1, 1 or Q, S)."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, share: float) -> Tensor:
        scores = torch.bmm(q, k.transpose(1, 2))
        if bias is not None:
            scores.view(len(bias), -1, *scores.shape[1:]).add_(bias)
        looks = scores.softmax(dim=-1)
        kept = _kept(looks.shape, share, looks.dtype) if share else None
        dropped = looks if kept is None else looks * kept
        ctx.save_for_backward(q, k, v, looks, kept, dropped)
        ctx.scale = 1 / (1 - share)
        return torch.bmm(dropped, v).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, looks, kept, dropped = ctx.saved_tensors
        grad = grad * ctx.scale
        of_looks = torch.bmm(grad, v.transpose(1, 2))
        if kept is not None:
            of_looks.mul_(kept)
        of_scores = torch._softmax_backward_data(of_looks, looks, -1, looks.dtype)
        of_v = torch.bmm(dropped.transpose(1, 2), grad)
        return torch.bmm(of_scores, k), torch.bmm(of_scores.transpose(1, 2), q), of_v, None, None


def attend(q: Tensor, k: Tensor, v: Tensor, *, shown: Tensor | None, share: float, training: bool) -> Tensor:
    """Attention, full and bidirectional (section 3.5) unless every query has a row of keys of its own.

    q     (B, H, Q, d) float   queries
    k, v  (B, H, S, d) float   keys and values
    shown (B, S) or (B, Q, S) bool   True where a key may be looked at, by all queries or by each; None where all may
    share                      dropout of the attention weights
    -> (B, H, Q, d)
    """
    mask = None if shown is None else shown[:, None, None] if shown.ndim == 2 else shown[:, None]
    if q.device.type != "cpu" or not training:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=share if training else 0.0)
    bias = None if mask is None else torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, -1e4)
    flat = [x.reshape(-1, *x.shape[2:]) for x in (q * q.shape[-1] ** -0.5, k, v)]
    return _Attend.apply(*flat, bias, share).view(q.shape)


def split(x: Tensor, qkv: nn.Linear, heads: int, wanted: Tensor | None = None) -> list[Tensor]:
    """What a layer attends with.

    x (B, S, C), qkv C -> 3 C, wanted (B, K) int64   the positions that are asked for; None for all
    -> q (B, H, K or S, d), k and v (B, H, S, d)
    """
    width = x.shape[2]
    if wanted is None:
        parts = qkv(x).chunk(3, dim=2)
    else:
        weight, bias = qkv.weight, qkv.bias
        q = F.linear(rows(x, wanted), weight[:width], bias[:width])
        parts = (q, *F.linear(x, weight[width:], bias[width:]).chunk(2, dim=2))
    return [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts]


def rows(x: Tensor, wanted: Tensor) -> Tensor:
    """x (B, S, n), wanted (B, K) int64 -> (B, K, n)   (take_along_dim cannot be exported for any size)"""
    return x.gather(1, wanted[:, :, None].expand(-1, -1, x.shape[2]))
