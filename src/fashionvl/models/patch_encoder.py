"""Patch encoders: a small picture in, one vector out (Kaleido-BERT section 3.2 uses ResNet-50)."""

import torch
from torch import Tensor, nn

SPREAD = 0.5  # standard deviation of every number of a vector after `calibrate`, about that of ResNet-50's


class ConvEncoder(nn.Module):
    """The `scratch` patch encoder: convolutional blocks, global average pooling after the last ReLU.

    Its bias (local, translation-equivariant) is what makes a few thousand products enough to learn from.
    """

    scale: Tensor

    def __init__(self, channels: list[int]):
        super().__init__()
        self.channels = list(channels)
        blocks: list[nn.Module] = []
        for before, after in zip([3, *channels[:-1]], channels, strict=True):
            blocks += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.register_buffer("scale", torch.ones(self.dim))

    @property
    def dim(self) -> int:
        return self.channels[-1]

    def forward(self, tiles: Tensor) -> Tensor:
        """tiles (N, 3, H, W) uint8 -> (N, D) float, non-negative."""
        return self._map(tiles).mean(dim=(2, 3)) * self.scale

    def maps(self, tiles: Tensor) -> Tensor:
        """tiles (N, 3, H, W) uint8 -> (N, h, w, D) float, non-negative   what `forward` is the mean of, by place"""
        return self._map(tiles).permute(0, 2, 3, 1) * self.scale

    def _map(self, tiles: Tensor) -> Tensor:
        kind = tiles.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        pixels = tiles.to(dtype, memory_format=torch.channels_last)  # a copy, so that the next line may change it
        return self.blocks(pixels.sub_(127.5).div_(63.75))

    @torch.no_grad()
    def calibrate(self, tiles: Tensor) -> None:
        """Scale every number of a vector so that it spreads by SPREAD over these patches.

        The KL losses of the cross-encoder (specification 4.1) compare softmaxes of vectors, so their size matters; a
        number that never moves stays as it is.

        tiles (N, 3, H, W) uint8
        """
        self.eval()
        self.scale.fill_(1)
        spread = torch.cat([self(part).float() for part in tiles.split(512)]).std(dim=0)
        self.scale.copy_(torch.where(spread > 1e-4, SPREAD / spread.clamp(min=1e-4), 1.0))
