"""Patch encoders: a small picture in, one vector out (Kaleido-BERT section 3.2 uses ResNet-50)."""

import torch
from torch import Tensor, nn


class ConvEncoder(nn.Module):
    """The `scratch` patch encoder: five convolutional blocks, global average pooling after the last ReLU.

    Its bias (local, translation-equivariant) is what makes a few thousand products enough to learn from.
    """

    def __init__(self, channels: list[int]):
        super().__init__()
        self.channels = list(channels)
        blocks: list[nn.Module] = []
        for before, after in zip([3, *channels[:-1]], channels, strict=True):
            blocks += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)

    @property
    def dim(self) -> int:
        return self.channels[-1]

    def forward(self, tiles: Tensor) -> Tensor:
        """tiles (N, 3, S, S) uint8 -> (N, D) float, non-negative."""
        pixels = tiles.to(torch.get_autocast_dtype(tiles.device.type) if torch.is_autocast_enabled(tiles.device.type) else torch.float32)
        return self.blocks((pixels - 127.5) / 63.75).mean(dim=(2, 3))
