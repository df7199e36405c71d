"""Score pairs with the matching head: as it was pre-trained ("paper protocol", specification 8.1) or fine-tuned."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fashionvl.batches import trimmed
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store
from fashionvl.words import Texts, Words

PAIRS_AT_ONCE = {"cpu": 32, "cuda": 256}  # on a processor few, or the caches overflow
PICTURES_AT_ONCE = 256
REPORT_SECONDS = 5.0


@dataclass(frozen=True)
class Sides:
    """All that pairs are made of.

    texts  of every product
    store  vectors of every picture
    """

    words: Words
    texts: Texts
    store: Store


class Desk(Protocol):
    """Both sides of pairs, whatever else a task has on its desk."""

    @property
    def words(self) -> Words: ...
    @property
    def texts(self) -> Texts: ...
    @property
    def store(self) -> Store: ...


def score_pairs(
    model: SingleStream,
    desk: Desk,
    pictures: np.ndarray,
    products: np.ndarray,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """The log-odds of "these belong together": those of the head, and what a likeness adds to them.

    pictures (n,) int, products (n,) int   the pairs
    say      receives a line of progress every few seconds
    -> (n,) float64
    """
    odds = head_odds(model, desk, pictures, products, say=say)
    return odds if model.likeness is None else odds + glances(model, desk, pictures, products)


@torch.inference_mode()
def head_odds(
    model: SingleStream,
    desk: Desk,
    pictures: np.ndarray,
    products: np.ndarray,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """The log-odds that the matching head alone gives; arguments and answer as those of `score_pairs`.

    The picture side is embedded once; pairs are read in order of text length, so that little is padding; the last
    layer answers at [CLS] only.
    """
    device = model.pooler.weight.device
    seen, row_of_picture = np.unique(pictures, return_inverse=True)
    embedded, shown = _embed(model, desk, seen, device)
    lengths = (desk.texts.ids != desk.words.pad).sum(dim=1).numpy()
    patches = desk.store.layout.patches + model.tags
    order = np.lexsort((products, lengths[products]))
    odds = np.zeros(len(order))
    began = spoke = time.monotonic()
    few = PAIRS_AT_ONCE[device.type]
    for start in range(0, len(order), few):
        rows = order[start : start + few]
        ids = trimmed(desk.texts.ids[products[rows]], pad=desk.words.pad, patches=patches).to(device)
        of = torch.from_numpy(row_of_picture[rows])
        odds[rows] = _match(model, ids, ids != desk.words.pad, embedded[of], shown[of])
        if time.monotonic() - spoke > REPORT_SECONDS:
            spoke = time.monotonic()
            left = (spoke - began) / (start + len(rows)) * (len(order) - start - len(rows))
            say(f"{start + len(rows)}/{len(order)} pairs  {left:.0f} s left")
    return odds


def _embed(model: SingleStream, desk: Desk, pictures: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """-> (n, P, C) float, (n, P) bool   the embedded clean patches of every picture, and which of them there are."""
    embedded, shown = [], []
    for start in range(0, len(pictures), PICTURES_AT_ONCE):
        seen = desk.store.pictures(pictures[start : start + PICTURES_AT_ONCE]).to(device)
        embedded.append(model.look(seen))
        shown.append(seen.shown)
    return torch.cat(embedded), torch.cat(shown)


def _match(model: SingleStream, ids: Tensor, real: Tensor, patches: Tensor, shown: Tensor) -> np.ndarray:
    shown = torch.cat([real, shown], dim=1)
    wanted = torch.zeros(len(ids), 1, dtype=torch.int64, device=ids.device)
    states = model.read(model.words(ids), patches, shown, wanted)
    return model.log_odds(states).double().cpu().numpy()


@torch.inference_mode()
def glances(model: SingleStream, desk: Desk, pictures: np.ndarray, products: np.ndarray) -> np.ndarray:
    """What the likeness of a model adds to the log-odds of pairs; pictures (n,), products (n,) -> (n,) float64."""
    assert model.likeness is not None, "only a model with a likeness is asked"
    device = model.pooler.weight.device
    seen, of_picture = np.unique(pictures, return_inverse=True)
    told, of_product = np.unique(products, return_inverse=True)
    with torch.autocast(device.type, enabled=False):
        parts = np.array_split(seen, max(1, len(seen) // PICTURES_AT_ONCE))
        looks = torch.cat(
            [model.likeness.look(model.level_means(desk.store.pictures(some).to(device))) for some in parts]
        )
        reads = model.likeness.read(desk.texts.ids[told].to(device))
        likeness = (model.likeness.gain * looks @ reads.T).double().cpu().numpy()
    return likeness[of_picture, of_product]
