"""CLIP and its family: the same contrast of pictures and texts, with fewer of the patches to see while it learns."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from fashionvl import clusters, losses
from fashionvl.batches import moved
from fashionvl.catalogue.problems import Problem
from fashionvl.clusters import Luck
from fashionvl.dropping import hidden_share
from fashionvl.models.clip import Clip
from fashionvl.tasks import contrast
from fashionvl.tasks.apart import deal
from fashionvl.tasks.hiding import Hiding, kept
from fashionvl.tasks.pairs import Chance, Shop

WEIGHTS = {"nce": 1.0, "hidden": 0.0}  # of what `losses_of` gives


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    contrast  pictures and texts; its `word_dropout` is a share of the pieces that are left out, the texts getting
              shorter by them, and spares the first and the last
    end       the piece that ends a text; every text has it
    patches   of a picture
    steps     of the whole training
    """

    contrast: contrast.Desk
    end: int
    patches: int
    steps: int

    def __post_init__(self):
        if not (self.contrast.ids == self.end).any(dim=1).all():
            raise Problem(f"every text must have the piece that ends it, number {self.end}")


@dataclass(frozen=True)
class Question:
    """Pictures and their texts, row by row.

    pictures (B, 3, H, W) uint8
    words    (B, T) int64
    group    (B,) int64    rows of one group are not told apart
    luck     what is random about what is hidden
    progress how much of the training is over, in [0, 1]
    counts   how many rows there are
    """

    pictures: Tensor
    words: Tensor
    group: Tensor
    luck: Luck
    progress: float
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(desk: Desk, shop: Shop, *, batch: int, chance: Chance) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    An epoch shows every product once at most, by one random view, those of a group in batches apart. All parts are of
    one size; what a batch has too much for that is left out.
    """
    batch = min(batch, len(shop.products))
    in_epoch = len(shop.products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Tensor:
        return deal(shop.products, shop.group, batch=batch, generator=chance(0, number))

    def draw(step: int, part: int, parts: int) -> Question:
        rows, size = epoch(step // in_epoch)[step % in_epoch], batch // parts
        mine = rows[part * size : (part + 1) * size]
        return ask(desk, shop, mine, progress=step / desk.steps, generator=chance(1, step, part))

    return draw


def ask(desk: Desk, shop: Shop, products: Tensor, *, progress: float, generator: Generator) -> Question:
    """Look at some products (B,) int64, each by one random view, and read what they say, some pieces left out."""
    seen = contrast.ask(desk.contrast, shop, products, generator=generator)
    words, pad = desk.contrast.ids[products], desk.contrast.pad
    dropped = torch.rand(words.shape, generator=generator) < desk.contrast.word_dropout
    dropped &= (words != desk.end) & (torch.arange(words.shape[1]) > 0)
    luck = clusters.draw(len(products), desk.patches, generator=generator)
    words = shortened(words, dropped, pad=pad)
    return Question(seen.patches[:, 0], words, seen.group, luck, progress, dict.fromkeys(WEIGHTS, len(products)))


def shortened(words: Tensor, dropped: Tensor, *, pad: int) -> Tensor:
    """words (B, T) int64, dropped (B, T) bool, True where a piece is left out -> (B, T) int64, `pad` at the end"""
    order = dropped.int().argsort(dim=1, stable=True)
    return words.masked_fill(dropped, pad).gather(1, order)


def losses_of(model: Clip, question: Question, *, hiding: Hiding, at_once: int | None = None) -> dict[str, Tensor]:
    """The loss `nce` of the rows of one question among those of all processes, and the share of the patches that is
    `hidden`, to be looked at and not to be learned; each summed over its rows.

    at_once  so many rows are embedded at a time, and once more for the gradient, so that a batch of any size fits
             into memory with the same gradient (GradCache, Gao et al. 2021); None embeds all at once and once
    """

    def look(pictures: Tensor, anchor: Tensor, half: Tensor, drop: Tensor) -> Tensor:
        patches = model.patches_of(pictures)
        keep, valid = kept(model, patches, Luck(anchor, half, drop), hiding, progress=question.progress)
        hidden = hidden_share(keep, valid, rows=len(patches), patches=patches.shape[1]).to(patches)
        return torch.cat([model.embed_pictures(patches, keep, valid), hidden[:, None]], dim=1)

    luck = question.luck
    seen = in_parts(look, question.pictures, luck.anchor, luck.half, luck.drop, at_once=at_once)
    seen, hidden = seen[:, :-1], seen[:, -1]
    said = in_parts(model.embed_texts, question.words, at_once=at_once)
    (seen, mine), (said, _), (group, _) = map(losses.gathered, (seen, said, question.group))
    nce = losses.info_nce(seen, said, group=group, scale=model.scale, mine=mine)
    return {"nce": nce, "hidden": hidden.detach().sum()}


def in_parts(embed: Callable[..., Tensor], *inputs: Tensor, at_once: int | None) -> Tensor:
    """`embed(*inputs)`, a few rows after the other, keeping nothing but what comes out: the gradient embeds again.

    Equal to embedding all at once, gradient too, where rows do not depend on each other.
    """
    if at_once is None:
        return embed(*inputs)
    parts = zip(*(rows.split(at_once) for rows in inputs), strict=True)
    return torch.cat([checkpoint(embed, *part, use_reentrant=False) for part in parts])


@torch.inference_mode()
def embed_pictures(model: Clip, pixels: Tensor, *, batch: int = 256) -> Tensor:
    """Whole pictures, nothing hidden: pixels (n, H, W, 3) uint8 -> (n, C) float, of length 1"""
    model.eval()
    device = model.log_scale.device
    parts = (model.patches_of(part.to(device).permute(0, 3, 1, 2)) for part in pixels.split(batch))
    return torch.cat([model.embed_pictures(part).cpu() for part in parts])


@torch.inference_mode()
def embed_texts(model: Clip, ids: Tensor, *, batch: int = 1024) -> Tensor:
    """ids (n, T) int64 -> (n, C) float, of length 1"""
    model.eval()
    device = model.log_scale.device
    return torch.cat([model.embed_texts(part.to(device)).cpu() for part in ids.split(batch)])
