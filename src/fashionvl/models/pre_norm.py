"""The transformer block of CLIP: norms before attention and before the two linear layers, none after."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.models.attention import attend, rows, split

EPSILON = 1e-5  # of the layer norms, as CLIP's


@dataclass(frozen=True)
class Sizes:
    """Of one transformer: width of a token, layers, heads, width inside the two linear layers."""

    width: int
    layers: int
    heads: int
    inner: int


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), OpenAI's, by one fused kernel."""
    return F.silu(1.702 * x) / 1.702


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


class Block(nn.Module):
    """One layer; `activation` is a name in ACTIVATIONS."""

    def __init__(self, sizes: Sizes, *, activation: str):
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        self.activation = ACTIVATIONS[activation]
        self.norm_attention = nn.LayerNorm(width, EPSILON)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.up = nn.Linear(width, sizes.inner)
        self.down = nn.Linear(sizes.inner, width)
        deep = (2 * sizes.layers) ** -0.5
        nn.init.normal_(self.qkv.weight, std=width**-0.5 * deep)
        nn.init.normal_(self.out.weight, std=width**-0.5)
        nn.init.normal_(self.up.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.down.weight, std=width**-0.5 * deep)
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, shown: Tensor | None, wanted: Tensor | None = None) -> Tensor:
        """Update all tokens, or answer only at some of them.

        x      (B, S, C)
        shown  (B, S) or (1, S, S) or (B, Q, S) bool   True where a token may be looked at, by all or by each of the Q
               that are answered; None where all may
        wanted (B, Q) int64   the tokens that are asked for; None for all
        -> (B, S, C) or (B, Q, C)
        """
        q, k, v = self.split(self.norm_attention(x), wanted)
        x = x if wanted is None else rows(x, wanted)
        looked = attend(q, k, v, shown=shown, share=0.0, training=self.training)
        x = x + self.out(looked.transpose(1, 2).flatten(2))
        return x + self.down(self.activation(self.up(self.norm(x))))

    def split(self, x: Tensor, wanted: Tensor | None = None) -> list[Tensor]:
        """x (B, S, C) normed, wanted (B, Q) int64 -> q (B, H, Q or S, d), k and v (B, H, S, d)"""
        return split(x, self.qkv, self.heads, wanted)
