"""What a text and a picture have in common at first glance: two linear towers over words and cached patch vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.batches import Pictures
from fashionvl.models.two_towers import BagOfWords

FIRST_SCALE = 14.0  # of the cosines, before softmax; learned from there


class Likeness(nn.Module):
    """The cosine of a bag of words and of the mean patch vector of every level.

    Not in Kaleido-BERT, which starts from a BERT that was trained on billions of words: an encoder that knows only one
    catalogue ranks behind a bag of words there. The matching head adds `gain` times this cosine to its log-odds.

    rarity (V,) float   of every word piece, as BagOfWords has it
    levels  of the pyramid
    dim     length of a patch vector
    width   of the space where both meet
    dropout of the standardised vectors
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, rarity: Tensor, *, levels: int, dim: int, width: int, dropout: float = 0.2):
        super().__init__()
        self.texts = BagOfWords(rarity, width=width)
        self.project = nn.Linear(levels * dim, width)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())
        self.gain = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.dropout = dropout
        self.register_buffer("mean", torch.zeros(levels * dim))
        self.register_buffer("spread", torch.ones(levels * dim))

    def standardise(self, means: Tensor) -> None:
        """Take mean and spread from the training pictures: means (n, L, D) float."""
        flat = means.flatten(1)
        self.mean.copy_(flat.mean(dim=0))
        self.spread.copy_(flat.std(dim=0).clamp(min=1e-6))

    def forward(self, words: Tensor, means: Tensor) -> Tensor:
        """words (B, T) int64, means (B, L, D) float -> (B,) float   what is added to the log-odds"""
        return self.gain * (self.look(means) * self.read(words)).sum(dim=-1)

    def look(self, means: Tensor) -> Tensor:
        """means (B, L, D) float, the mean clean vector of each level -> (B, C) float, of length 1"""
        seen = (means.float().flatten(1) - self.mean) / self.spread
        return F.normalize(self.project(F.dropout(seen, self.dropout, self.training)).float(), dim=-1)

    def read(self, words: Tensor) -> Tensor:
        """words (B, T) int64 -> (B, C) float, of length 1"""
        return F.normalize(self.texts(words).float(), dim=-1)


def means_of(pictures: Pictures, spans: list[slice]) -> Tensor:
    """spans of the L levels -> (B, L, D) float   the mean vector of the patches of each level that there are"""
    means = torch.stack([pictures.patches[:, span].float().mean(dim=1) for span in spans], dim=1)
    there = torch.stack([pictures.shown[:, span].float().mean(dim=1) for span in spans], dim=1)
    return means / there[..., None].clamp(min=1e-6)  # the vectors of those that there are not are zero
