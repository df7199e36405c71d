"""Two towers: pictures and texts as points of one space, near where they belong together."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.models.patch_encoder import ConvEncoder

FIRST_SCALE, LARGEST_SCALE = 14.0, 100.0  # of the cosines, before softmax; learned in between


class PictureTower(nn.Module):
    """Patches through one encoder, one projection a level, and their sum; a whole picture is the one patch of level 0.

    levels  how many kinds of patches there are
    """

    def __init__(self, *, channels: list[int], levels: int, width: int):
        super().__init__()
        self.encoder = ConvEncoder(channels)
        self.projections = nn.ModuleList([nn.Linear(self.encoder.dim, width) for _ in range(levels)])

    def forward(self, patches: Tensor, levels: Tensor) -> Tensor:
        """patches (B, P, 3, H, W) uint8, levels (P,) int64 -> (B, C) float"""
        return self.pool(self.encoder(patches.flatten(0, 1)).unflatten(0, patches.shape[:2]), levels)

    def pool(self, vectors: Tensor, levels: Tensor) -> Tensor:
        """vectors (B, P, D) float of the encoder, levels (P,) int64 -> (B, C) float"""
        present = levels.unique().tolist()
        return torch.stack([self.projections[k](vectors[:, levels == k].mean(dim=1)) for k in present]).sum(dim=0)


class BagOfWords(nn.Module):
    """A weighted mean of word vectors. A word's weight starts at its `rarity` and is learned from there.

    rarity (V,) float   0 or more, by word piece; a piece of rarity 0 (padding, [CLS], [SEP]) never counts
    """

    rarity: Tensor

    def __init__(self, rarity: Tensor, *, width: int):
        super().__init__()
        self.vectors = nn.Embedding(len(rarity), width)
        nn.init.normal_(self.vectors.weight, std=0.02)
        self.weight = nn.Parameter(torch.zeros(len(rarity)))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("rarity", rarity)

    def forward(self, words: Tensor) -> Tensor:
        """words (B, T) int64   word-piece ids -> (B, C) float"""
        weight = self.rarity[words] * self.weight[words].exp()  # (B, T)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
        bag = F.embedding_bag(words, self.vectors.weight, per_sample_weights=weight, mode="sum")
        return self.norm(bag)


class TwoTowers(nn.Module):
    """A picture tower, a text tower, and how sharply their cosines are compared."""

    def __init__(self, *, channels: list[int], levels: int, width: int, rarity: Tensor):
        super().__init__()
        self.pictures = PictureTower(channels=channels, levels=levels, width=width)
        self.texts = BagOfWords(rarity, width=width)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def embed_pictures(self, patches: Tensor, levels: Tensor) -> Tensor:
        """patches (B, P, 3, H, W) uint8, levels (P,) int64 -> (B, C) float, of length 1"""
        return F.normalize(self.pictures(patches, levels).float(), dim=-1)

    def embed_texts(self, words: Tensor) -> Tensor:
        """words (B, T) int64 -> (B, C) float, of length 1"""
        return F.normalize(self.texts(words).float(), dim=-1)

    def forward(self, patches: Tensor, levels: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """-> (B, C), (B, C) float   pictures and texts, of length 1"""
        return self.embed_pictures(patches, levels), self.embed_texts(words)
