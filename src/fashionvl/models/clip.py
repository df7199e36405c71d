"""CLIP: a vision transformer and a causal text transformer whose cosines say what belongs together.

The picture tower sees the patches that it is told to keep and looks at those that are valid, and does not know why
(CLIP keeps all, FLIP some, Cluster Masking those that are not alike).

B rows, P patches of a picture, K of them kept, D numbers of a patch, T text slots, C width of a tower.
"""

import math
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl.catalogue.problems import Problem
from fashionvl.models.attention import rows
from fashionvl.models.pre_norm import EPSILON, Block, Sizes
from fashionvl.models.two_towers import BagOfWords
from fashionvl.patches.squares import squares

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures
FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0  # of the cosines, before softmax; learned in between


class ConvStem(nn.Module):
    """A small convolutional network over every patch by itself: each step makes one place of two by two.

    Its bias (local, the same everywhere) is what a few thousand products are enough for. It looks at no patch but its
    own, and at none that may not be seen: so a dropped patch costs nothing, and nothing of a hidden one shows anywhere.
    Kernels of two by two do not overlap, so that a step is one product. While it learns, its norms are those of a batch
    of patches: rows depend on each other then.
    """

    order: Tensor

    def __init__(self, channels: list[int], side: int, width: int):
        super().__init__()
        if side % 2 ** len(channels):
            raise Problem(
                f"a patch of {side} pixels cannot be halved {len(channels)} times, as the stem's channels ask"
            )
        steps = [nn.Linear(4 * before, after) for before, after in pairwise([3, *channels])]
        self.steps = nn.ModuleList(steps)
        self.norms = nn.ModuleList(nn.BatchNorm1d(after) for after in channels)
        self.project = nn.Linear(channels[-1], width, bias=False)
        self.register_buffer("order", _nested(side, len(channels)), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        """patches (N, D) float -> (N, C)"""
        places = patches.index_select(1, self.order).unflatten(1, (-1, 3))  # (N, side * side, 3)
        for step, norm in zip(self.steps, self.norms, strict=True):
            places = step(places.unflatten(1, (-1, 4)).flatten(2))
            places = F.relu(norm(places.flatten(0, 1)).view_as(places))
        return self.project(places.mean(dim=1))


def _nested(side: int, halvings: int) -> Tensor:
    """Where the numbers of a patch stand so that four places in a row are two by two neighbours, `halvings` times.

    -> (side * side * 3,) int64   indices into the numbers of a patch, which are colour by colour, row by row
    """
    at = torch.arange(side * side).view(side, side)
    for _ in range(halvings):  # the last four become the innermost
        rows, across = at.shape[0] // 2, at.shape[1] // 2
        blocks = at.view(rows, 2, across, 2, *at.shape[2:]).transpose(1, 2)  # (rows, across, 2, 2, ...)
        at = blocks.flatten(2, 3)
    return (at.flatten()[:, None] + side * side * torch.arange(3)).flatten()


class PictureTower(nn.Module):
    """A vision transformer that answers at its class token.

    pixels    height, width of a picture          patch    side of a patch in pixels
    dim       of the space where both towers meet
    channels  of the convolutional stem; none for CLIP's linear one
    means     True where the mean of the patches has a say of its own: they are alike in every picture, and a few
              thousand products are enough to learn that from (not in the paper)
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        pixels: tuple[int, int],
        patch: int,
        dim: int,
        activation: str,
        channels: list[int],
        means: bool,
    ):
        super().__init__()
        width, numbers = sizes.width, 3 * patch * patch
        self.stem = ConvStem(channels, patch, width) if channels else nn.Linear(numbers, width, bias=False)
        if isinstance(self.stem, nn.Linear):
            nn.init.normal_(self.stem.weight, std=0.02)
        self.first = nn.Parameter(torch.randn(width) * width**-0.5)
        self.position = nn.Parameter(0.02 * torch.randn(1 + (pixels[0] // patch) * (pixels[1] // patch), width))
        self.norm_first = nn.LayerNorm(width, EPSILON)
        self.blocks = nn.ModuleList(Block(sizes, activation=activation) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.project = nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.project.weight, std=width**-0.5)
        self.mean = nn.Linear(width, dim) if means else None
        if means:
            nn.init.zeros_(self.project.weight)  # the mean is there first

    @property
    def patches(self) -> int:
        return len(self.position) - 1

    def forward(self, patches: Tensor, keep: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """What the pictures are, by the patches that are kept.

        patches (B, P, D) float
        keep    (B, K) int64    which patches go in; None for all
        valid   (B, K) bool     True where a kept patch may be looked at, one in each row at least; None for all
        -> (B, dim)
        """
        tokens, shown = self.tokens(patches, keep, valid)
        x, last = self._read(tokens, shown)
        seen = last(x, shown, torch.zeros(len(x), 1, dtype=torch.int64, device=x.device))[:, 0]
        answer = self.project(self.norm(seen))
        return answer if self.mean is None else answer + self.mean(_mean(tokens[:, 1:], valid))

    def tokens(self, patches: Tensor, keep: Tensor | None, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """-> (B, 1 + K, C) class token and patches with their positions; (B, 1 + K) bool, True where one is shown"""
        position = self.position[1:]
        if keep is not None:
            patches, position = rows(patches, keep), F.embedding(keep, position)
        embedded = self._stem(patches, valid) + position
        first = (self.first + self.position[0]).to(embedded.dtype).expand(len(patches), 1, -1)
        shown = None if valid is None else F.pad(valid, (1, 0), value=True)
        return torch.cat([first, embedded], dim=1), shown

    def embedded(self, patches: Tensor) -> Tensor:
        """patches (B, P, D) float -> (B, P, C)   with their positions, before the first norm"""
        return self._stem(patches, None) + self.position[1:]

    def looks(self, patches: Tensor) -> Tensor:
        """How much the class token looks at each patch in the last block, the mean of its heads.

        patches (B, P, D) float -> (B, P) float
        """
        tokens, _ = self.tokens(patches, None, None)
        x, last = self._read(tokens, None)
        q, k, _ = last.split(last.norm_attention(x), torch.zeros(len(x), 1, dtype=torch.int64, device=x.device))
        scores = q.float() @ k.float().transpose(2, 3) * q.shape[3] ** -0.5  # (B, H, 1, 1 + P)
        return scores.softmax(dim=3)[:, :, 0, 1:].mean(dim=1)

    def _stem(self, patches: Tensor, valid: Tensor | None) -> Tensor:
        """patches (B, K, D) -> (B, K, C); a patch that is not valid is not even encoded by the convolutional stem"""
        if not isinstance(self.stem, ConvStem):
            return self.stem(patches)
        if valid is None:
            return self.stem(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        seen = self.stem(patches[valid])
        return seen.new_zeros(*valid.shape, seen.shape[1]).masked_scatter(valid[:, :, None], seen)

    def _read(self, tokens: Tensor, shown: Tensor | None) -> tuple[Tensor, Any]:
        """Through all blocks but the last -> (B, 1 + K, C), the last block"""
        x = self.norm_first(tokens)
        for block in self.blocks[:-1]:
            x = block(x, shown)
        return x, self.blocks[-1]


def _mean(tokens: Tensor, valid: Tensor | None) -> Tensor:
    """tokens (B, K, C), valid (B, K) bool or None for all -> (B, C)   the mean of those that are valid"""
    if valid is None:
        return tokens.mean(dim=1)
    share = valid / valid.sum(dim=1, keepdim=True)
    return (share.to(tokens.dtype)[:, None] @ tokens)[:, 0]


class TextTower(nn.Module):
    """A causal transformer that answers at the piece which ends a text.

    slots   most pieces of a text
    end     the piece that ends a text; what comes behind its first place is never looked at
    rarity  (V,) float   of every piece, 0 for `end`, where a bag of words has a say of its own (models/two_towers.py;
            not in the paper); None for none
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        vocabulary: int,
        slots: int,
        end: int,
        dim: int,
        activation: str,
        rarity: Tensor | None,
    ):
        super().__init__()
        self.end = end
        self.words = nn.Embedding(vocabulary, sizes.width)
        self.position = nn.Parameter(0.02 * torch.randn(slots, sizes.width))
        self.blocks = nn.ModuleList(Block(sizes, activation=activation) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width, EPSILON)
        self.project = nn.Linear(sizes.width, dim, bias=False)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.project.weight, std=sizes.width**-0.5)
        self.bag = None if rarity is None else BagOfWords(rarity, width=dim)
        if self.bag is not None:
            nn.init.zeros_(self.project.weight)  # the bag is there first

    def forward(self, words: Tensor) -> Tensor:
        """words (B, T) int64   each row with its end -> (B, dim)"""
        last = (words == self.end).int().argmax(dim=1, keepdim=True)  # (B, 1)
        words = words[:, : int(last.max()) + 1]
        said = self.words(words)  # (B, T, C)
        place = torch.arange(words.shape[1], device=words.device)
        until = place <= last  # (B, T)
        x, causal = said + self.position[: len(place)], (place <= place[:, None])[None]
        for block in self.blocks[:-1]:
            x = block(x, causal)
        found = self.blocks[-1](x, until[:, None], last)[:, 0]
        answer = self.project(self.norm(found))
        return answer if self.bag is None else answer + self.bag(words.where(until, self.end))


class Clip(nn.Module):
    """Both towers, and how sharply their cosines are compared; pictures are normalised by `mean` and `std`.

    sizes   plain values that describe it
    rarity  (V,) float   of every piece, where mean patches and a bag of words have a say of their own; None for none,
            as the papers have it
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        picture: Sizes,
        text: Sizes,
        dim: int,
        pixels: tuple[int, int],
        patch: int,
        vocabulary: int,
        slots: int,
        end: int,
        activation: str = "gelu",
        channels: list[int] | None = None,
        rarity: Tensor | None = None,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
    ):
        super().__init__()
        self.pixels, self.patch = pixels, patch
        self.sizes: dict[str, Any] = {
            **{"picture": asdict(picture), "text": asdict(text), "dim": dim, "pixels": list(pixels), "patch": patch},
            **{"vocabulary": vocabulary, "slots": slots, "end": end, "activation": activation},
            **{"channels": channels or [], "means": rarity is not None},
        }
        self.pictures = PictureTower(
            picture,
            pixels=pixels,
            patch=patch,
            dim=dim,
            activation=activation,
            channels=channels or [],
            means=rarity is not None,
        )
        self.texts = TextTower(
            text, vocabulary=vocabulary, slots=slots, end=end, dim=dim, activation=activation, rarity=rarity
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    @property
    def scale(self) -> Tensor:
        """() float   one over the temperature; a step that led out of its range, 1 to 100, is first taken back"""
        with torch.no_grad():
            self.log_scale.clamp_(0.0, math.log(LARGEST_SCALE))
        return self.log_scale.exp()

    def patches_of(self, pictures: Tensor) -> Tensor:
        """pictures (B, 3, H, W) uint8 -> (B, P, D) float, normalised"""
        return squares(pictures, side=self.patch, mean=self.mean, std=self.std)

    def embed_pictures(self, patches: Tensor, keep: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """patches, keep, valid as PictureTower has them -> (B, dim) float, of length 1"""
        return F.normalize(self.pictures(patches, keep, valid).float(), dim=-1)

    def embed_texts(self, words: Tensor) -> Tensor:
        """words (B, T) int64 -> (B, dim) float, of length 1"""
        return F.normalize(self.texts(words).float(), dim=-1)
