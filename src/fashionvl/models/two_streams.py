"""Two streams (ViLBERT, Lu et al. 2019): words and patches in encoders of their own, which look at each other.

In each layer both streams first look across (co-attention: the queries of one, the keys and values of the other), then
at themselves, each with weights of its own. The overall representation is the product of both streams' first states.

From what is generally known of the paper. It has more layers of words than of patches and a narrower stream of patches;
here both are alike, so that the layers of a row of params.yaml mean the same for every system.
"""

import torch
from torch import Tensor, nn

from fashionvl.models.attention import attend, rows
from fashionvl.models.layer import Layer


class TwinLayer(nn.Module):
    """One layer of both streams, which come as one tensor: words first, then the patches.

    seen  how many of its rows are patches
    last  True where [CLS] leaves as the product with the first patch, the whole picture, hidden or not
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, *, seen: int, last: bool):
        super().__init__()
        self.seen, self.last = seen, last
        make = lambda: Layer(width, heads, inner, dropout)  # noqa: E731
        self.across = nn.ModuleList([make(), make()])  # of the words, of the patches
        self.within = nn.ModuleList([make(), make()])

    def forward(self, x: Tensor, shown: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Update all rows -> all, or only those that are asked for.

        x      (B, T + P, C)
        shown  (B, S) or (B, S, S) bool   True where a token may be looked at, by all or by each
        wanted (B, K) int64               the positions that are asked for; None for all
        -> (B, S, C) or (B, K, C)
        """
        slots = x.shape[1] - self.seen
        streams = [part.contiguous() for part in x.split([slots, self.seen], dim=1)]  # or products are done row by row
        if shown.ndim == 2:
            shown = shown[:, None].expand(-1, x.shape[1], -1)
        may = [part.split([slots, self.seen], dim=2) for part in shown.split([slots, self.seen], dim=1)]
        streams = self._update(self.across, streams, [(1, may[0][1]), (0, may[1][0])])
        words, patches = self._update(self.within, streams, [(0, may[0][0]), (1, may[1][1])])
        first = words[:, :1] * patches[:, :1] if self.last else words[:, :1]
        x = torch.cat([first, words[:, 1:], patches], dim=1)
        return x if wanted is None else rows(x, wanted)

    def _update(self, layers: nn.ModuleList, streams: list[Tensor], looks: list[tuple[int, Tensor]]) -> list[Tensor]:
        """looks   for each stream, the number of the one that it looks at, and (B, Q, S) bool, at which of its rows"""
        parts = [layer.split(x) for layer, x in zip(layers, streams, strict=True)]  # type: ignore[operator]
        updated = []
        for layer, x, (q, _, _), (other, shown) in zip(layers, streams, parts, looks, strict=True):
            assert isinstance(layer, Layer)
            _, k, v = parts[other]
            anything = shown.any(dim=2, keepdim=True)  # who sees nothing would be no number
            share = layer.dropout
            looked = attend(q, k, v, shown=shown | ~anything, share=share, training=self.training)
            updated.append(layer.update(x, looked * anything[:, None]))
        return updated
