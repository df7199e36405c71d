"""Contrast: pictures and texts of one batch, each to be told from all others (InfoNCE, as CLIP has it)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image
from torch import Generator, Tensor

from fashionvl import losses
from fashionvl.batches import moved
from fashionvl.models.two_towers import TwoTowers
from fashionvl.patches.glimpses import look, places_in
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.tasks.pairs import Chance, Shop


@dataclass(frozen=True)
class Album:
    """The pixels of some pictures of a catalogue.

    pixels   (n, H, W, 3) uint8   may be memory-mapped
    pictures (n,) int64, rising   which pictures of the catalogue they are
    """

    pixels: Tensor
    pictures: Tensor

    def of(self, pictures: Tensor) -> Tensor:
        """pictures (B,) int64 -> (B, 3, H, W) uint8, channels last in memory"""
        return self.pixels[torch.searchsorted(self.pictures, pictures)].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    ids     (N, T) int64  the text of every product of the catalogue, `pad` where there is none
    sides   (P,) int64    the patches that are looked at: one of a grid of side x side each; (1,) is the whole picture
    height, width         of a patch
    jitter  how far a patch may move and stretch, as a share of its cell
    mirror  True where pictures may be mirrored
    word_dropout          share of the words that are left out
    """

    album: Album
    ids: Tensor
    pad: int
    sides: Tensor
    height: int
    width: int
    jitter: float
    mirror: bool
    word_dropout: float


@dataclass(frozen=True)
class Question:
    """Pictures and their texts, row by row.

    patches (B, P, 3, H, W) uint8
    levels  (P,) int64    the kind of each patch
    words   (B, T) int64
    group   (B,) int64    rows of one group are not told apart
    counts  how many rows there are
    """

    patches: Tensor
    levels: Tensor
    words: Tensor
    group: Tensor
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


@dataclass(frozen=True)
class Dual:
    """A trained dual encoder, whatever it is made of.

    see   files of pictures below a folder -> (n, C) float, of length 1
    say   texts -> (n, C) float, of length 1
    look  opened RGB pictures -> (n, C) float, of length 1, as `see` has them
    """

    see: Callable[[Path, Sequence[str]], Tensor]
    say: Callable[[Sequence[str]], Tensor]
    look: Callable[[Sequence[Image]], Tensor]


def drawing(desk: Desk, shop: Shop, *, batch: int, chance: Chance) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    An epoch shows every product once at most, by one random view. Rows of different parts are never compared.
    """
    batch = min(batch, len(shop.products))
    in_epoch = len(shop.products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Tensor:
        return shop.products[torch.randperm(len(shop.products), generator=chance(0, number))]

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        mine = slice(at + part * batch // parts, at + (part + 1) * batch // parts)
        return ask(desk, shop, epoch(step // in_epoch)[mine], generator=chance(1, step, part))

    return draw


def ask(desk: Desk, shop: Shop, products: Tensor, *, generator: Generator) -> Question:
    """Look at some products (B,) int64, each by one random view, and read what they say, some words left out."""
    pictures = desk.album.of(shop.view(products, generator=generator))
    sides = desk.sides.expand(len(products), -1)
    windows = places_in(sides, jitter=desk.jitter, mirror=desk.mirror, generator=generator)
    words = desk.ids[products]
    dropped = torch.rand(words.shape, generator=generator) < desk.word_dropout
    return Question(
        look(pictures, windows, height=desk.height, width=desk.width),
        levels_of(desk.sides),
        words.masked_fill(dropped, desk.pad),
        shop.group[products],
        {"nce": len(products)},
    )


def levels_of(sides: Tensor) -> Tensor:
    """sides (P,) int64, e.g. 1, 2, 2, 5 -> (P,) int64   the number of each kind of patch, e.g. 0, 1, 1, 2"""
    return sides.unique(return_inverse=True)[1]


def losses_of(model: TwoTowers, question: Question) -> dict[str, Tensor]:
    """The loss of one question, summed over its rows."""
    pictures, texts = model(question.patches, question.levels, question.words)
    return {"nce": losses.info_nce(pictures, texts, group=question.group, scale=model.scale)}


@torch.inference_mode()
def embed_pictures(model: TwoTowers, pixels: np.ndarray | Tensor, *, batch: int = 256) -> Tensor:
    """Whole pictures in the space of a model that was trained on whole pictures.

    pixels (n, H, W, 3) uint8   of the size it was trained with
    -> (n, C) float, of length 1
    """
    device = model.log_scale.device
    parts = [torch.as_tensor(np.asarray(pixels[at : at + batch])) for at in range(0, len(pixels), batch)]
    level = torch.zeros(1, dtype=torch.int64, device=device)
    model.eval()
    return torch.cat(
        [model.embed_pictures(part.to(device).permute(0, 3, 1, 2)[:, None], level).cpu() for part in parts]
    )


@torch.inference_mode()
def embed_pyramids(model: TwoTowers, album: Album, *, pixels: int, batch: int = 16) -> Tensor:
    """Every picture of an album by all of its clean patches, in the space of a model trained on patches.

    pixels  side of a patch
    -> (n, C) float, of length 1
    """
    device, rows = model.log_scale.device, album.pictures.split(batch)
    levels = KALEIDO.levels_of().to(device)
    model.eval()
    parts = (clean_patches(album, some, pixels=pixels).to(device) for some in rows)
    return torch.cat([model.embed_pictures(part, levels).cpu() for part in parts])


def clean_patches(album: Album, pictures: Tensor, *, pixels: int) -> Tensor:
    """pictures (B,) int64 -> (B, 55, 3, pixels, pixels) uint8   the patches of the kaleido pyramid"""
    windows = KALEIDO.places()[:, [0, 2, 1, 3]].expand(len(pictures), -1, -1)
    return look(album.of(pictures), windows, height=pixels, width=pixels)


@torch.inference_mode()
def embed_texts(model: TwoTowers, ids: Tensor, *, batch: int = 1024) -> Tensor:
    """ids (n, T) int64 -> (n, C) float, of length 1"""
    device = model.log_scale.device
    model.eval()
    return torch.cat([model.embed_texts(part.to(device)).cpu() for part in ids.split(batch)])


def scorer(
    pictures: Tensor, their: np.ndarray, texts: Tensor, products: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How embedded pictures and texts score pairs.

    pictures (n, C) float, their (n,) int, rising      which pictures of the catalogue they are
    texts    (m, C) float, products (m,) int, rising   which products
    -> score(pictures (k,), products (k,)) -> (k,) float
    """
    likeness = (pictures @ texts.T).numpy()

    def score(picture: np.ndarray, product: np.ndarray) -> np.ndarray:
        return likeness[np.searchsorted(their, picture), np.searchsorted(products, product)]

    return score
