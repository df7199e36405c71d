"""One post-norm transformer layer, as BERT's: the piece that encoders of one stream and of two are made of."""

import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.models.attention import attend, drop_add, rows, split

EPSILON = 1e-12  # of the layer norms, as BERT's


class Layer(nn.Module):
    """One post-norm transformer layer, as BERT's."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_attention = nn.LayerNorm(width, EPSILON)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.dropout = dropout

    def forward(self, x: Tensor, shown: Tensor | None, wanted: Tensor | None = None) -> Tensor:
        """Update all rows, or answer only at some of them.

        x      (B, S, C)
        shown  (B, S) or (B, S, S) bool   True where a token may be looked at, by all or by each; None where all may
        wanted (B, K) int64     the positions that are asked for; None for all
        -> (B, S, C) or (B, K, C)
        """
        q, k, v = self.split(x, wanted)
        if wanted is not None:
            x = rows(x, wanted)
            if shown is not None and shown.ndim == 3:
                shown = rows(shown, wanted)
        return self.update(x, attend(q, k, v, shown=shown, share=self.dropout, training=self.training))

    def update(self, x: Tensor, looked: Tensor) -> Tensor:
        """x (B, Q, C), looked (B, H, Q, d), what attention gave -> (B, Q, C)"""
        looked = self.out(looked.transpose(1, 2).flatten(2))
        x = self.norm_attention(drop_add(x, looked, self.dropout, self.training))
        thought = self.down(F.gelu(self.up(x)))
        return self.norm(drop_add(x, thought, self.dropout, self.training))

    def split(self, x: Tensor, wanted: Tensor | None = None) -> list[Tensor]:
        """x (B, S, C), wanted (B, K) int64 -> q (B, H, K or S, d), k and v (B, H, S, d)"""
        return split(x, self.qkv, self.heads, wanted)
