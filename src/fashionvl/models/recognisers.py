"""The heads that name a category, and what they see of what the encoder has read (specification 8.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.batches import Batch
from fashionvl.models.attention import drop

# How many vectors of the encoder's width the heads see.
#   cls   the pooled [CLS], as the paper
#   mean  and the mean state of the words and that of the patches
#   bag   and the mean row of the word table: a bag of words beside the encoder, which no small encoder does without
READOUTS = {"cls": 1, "mean": 3, "bag": 4}


class Recogniser(nn.Module):
    """Dropout, then one linear layer of small weights."""

    def __init__(self, seen: int, classes: int, dropout: float):
        super().__init__()
        self.classify = nn.Linear(seen, classes)
        self.dropout = dropout
        nn.init.trunc_normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)

    def forward(self, seen: Tensor) -> Tensor:
        """seen (B, F) -> (B, classes)"""
        return self.classify(drop(seen, self.dropout, self.training))


def heads(classes_of: dict[str, int], *, width: int, readout: str, dropout: float) -> nn.ModuleDict:
    """A head each: the name of a task -> how many classes it has; a ValueError for a readout that there is not."""
    if readout not in READOUTS:
        raise ValueError(f"there is no readout {readout!r}; there are {list(READOUTS)}")
    seen = READOUTS[readout] * width
    return nn.ModuleDict({name: Recogniser(seen, count, dropout) for name, count in classes_of.items()})


def seen_by_heads(readout: str, pooled: Tensor, states: Tensor, batch: Batch, table: Tensor) -> Tensor:
    """What a readout joins; of a missing text or picture the mean is zero.

    pooled (B, C), states (B, T + P, C) (unused by `cls`), table (V, C) the word table
    -> (B, F)   F = C times READOUTS
    """
    parts, words = [pooled], batch.real[:, 1:]  # [CLS] is no word
    if readout != "cls":
        slots = batch.words.shape[1]
        parts += [_mean(states[:, 1:slots], words), _mean(states[:, slots:], batch.shown)]
    if readout == "bag":
        parts.append(_mean(F.embedding(batch.words[:, 1:], table), words))
    return torch.cat(parts, dim=1)


def _mean(states: Tensor, counted: Tensor) -> Tensor:
    """states (B, S, C), counted (B, S) bool -> (B, C)   brought to mean 0 and variance 1, as a layer norm does"""
    total = (states * counted[:, :, None]).sum(dim=1)
    return F.layer_norm(total / counted.sum(dim=1, keepdim=True).clamp(min=1), total.shape[1:], eps=1e-12)
