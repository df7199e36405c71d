"""The second stage of a search: the cross-encoder on the first few answers, patches of pictures from their cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.product import text_of
from fashionvl.models.named_encoders import weights_checksum
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import MANIFEST, Store
from fashionvl.pretrained.face import FashionVL
from fashionvl.pretrained.shelves import seeing
from fashionvl.stages.machine import has_bf16
from fashionvl.tasks import matching

NOWHERE = -1
SEEING = (  # of how a system looks at pictures: what makes vectors others
    *("weights", "pixels", "grids", "foreground", "margin", "precision"),
    *("regions", "classes", "detector_weights", "words"),
)
REMEMBERED = 1024  # pictures whose patches are not in the cache on disk

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """A query as the second stage reads it: a text, the patches of a picture, or both.

    share  of the text, where there are both
    """

    text: str | None
    picture: Store | None
    share: float


@dataclass(frozen=True)
class Reranker:
    """A cross-encoder beside a catalogue.

    fields   what a product says
    store    the cached patches of pictures, None where there are none of this model
    rows     (P,) int64   the row of every picture of the catalogue in `store`, NOWHERE where it has none
    encode   the number of a picture -> a store of it alone, from its file
    """

    model: FashionVL
    catalogue: Catalogue
    fields: list[str]
    store: Store | None
    rows: Rows
    encode: Callable[[int], Store]

    @property
    def stream(self) -> SingleStream:
        """The head that was fine-tuned for retrieval where there is one, else the pre-trained one."""
        return self.model.stream(self.model.matcher)

    def mark(self) -> str:
        """The checksum of the weights that rank."""
        return weights_checksum(self.stream)

    def see(self, text: str | None, picture: Image.Image | int | None, share: float) -> Seen:
        """A query; its picture is opened, or the number of one of the catalogue."""
        if picture is None:
            return Seen(text, None, share)
        if isinstance(picture, int):
            return Seen(text, self._patches(np.array([picture])), share)
        return Seen(text, self.model.patches([picture]), share)

    def odds(self, query: Seen, products: Rows, pictures: Rows) -> NDArray[np.float64]:
        """The log-odds that a query belongs to each of some products (k,), of which these are the pictures (k,).

        A text meets the pictures, a picture the texts, and a query of both is their weighted mean.
        """
        found = np.zeros(len(products))
        share = 0.0 if query.text is None else 1.0 if query.picture is None else query.share
        one, many = np.zeros(len(products), np.int64), np.arange(len(products))
        if query.text is not None:
            found += share * self._score([query.text], self._patches(pictures), many, one)
        if query.picture is not None:
            rows = self.catalogue.products.iloc[products].to_dict("records")
            texts = [text_of(row, self.fields) for row in rows]
            found += (1 - share) * self._score(texts, query.picture, one, many)
        return found

    def _score(self, texts: list[str], store: Store, pictures: Rows, products: Rows) -> NDArray[np.float64]:
        """As the stages score pairs, so in bf16 where there is hardware for it."""
        words = self.model.words
        desk = matching.Sides(words, words.encode(texts), store)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=has_bf16()):
            return matching.score_pairs(self.stream, desk, pictures, products)

    def _patches(self, pictures: Rows) -> Store:
        """What is seen of pictures of the catalogue: from the cache, or from the file where they are not there."""
        rows = self.rows[pictures]
        cached = rows != NOWHERE
        if self.store is not None and cached.all():
            return self.model.tagged(self.store.only(rows))
        parts = [self.store.only(rows[cached])] if self.store is not None and cached.any() else []
        parts += [self.encode(picture) for picture in pictures[~cached].tolist()]
        order = np.concatenate([np.flatnonzero(cached), np.flatnonzero(~cached)])
        return self.model.tagged(Store.joined(parts).only(order.argsort()))


def reranker(
    model: FashionVL, catalogue: Catalogue, fields: list[str], store: Store | None, *, max_megapixels: float
) -> Reranker:
    """Put a model beside a catalogue; the cache is used where it was made as this model looks at pictures."""
    asked, paths = model.facts["patches"], catalogue.pictures["path"].to_numpy()
    rows = np.full(len(paths), NOWHERE, np.int64)
    if store is not None and _is_of(store, asked):
        row_of = {path: row for row, path in enumerate(store.boxes()["path"].tolist())}
        rows = np.array([row_of.get(path, NOWHERE) for path in paths.tolist()], np.int64)
    else:
        store = None

    @lru_cache(maxsize=REMEMBERED)
    def encode(picture: int) -> Store:
        return model.sight.patches([open_rgb(catalogue.root, paths[picture], max_megapixels=max_megapixels)])

    return Reranker(model, catalogue, fields, store, rows, encode)


def trained(build: Path, asked: config.Search, *, max_megapixels: float) -> FashionVL | None:
    """The system of `search.rerank`, None where none is named or it is not trained yet."""
    folder = build / "runs" / (asked.rerank or "")
    if asked.rerank is None or not (folder / "card.json").is_file():
        return None
    return FashionVL.from_pretrained(folder, max_megapixels=max_megapixels)


def store_beside(build: Path, model: FashionVL, settings: config.Params) -> Store | None:
    """The cached patches of the kind that a system reads, None where there are none."""
    row = settings.systems.get(model.facts["system"])
    folder = build / "patches" / (row.patches if row else "")
    return Store.open(folder) if row and (folder / MANIFEST).is_file() else None


def weight(build: Path, asked: config.Search, recall: Mapping[str, str], mark: str) -> tuple[float, str]:
    """What a cosine counts beside log-odds, and where that is from.

    recall, mark  of the first and the second stage; what `two_stage` found of others does not count
    """
    if asked.cosine is not None:
        return asked.cosine, f"log-odds + {asked.cosine:.4g} cosine, as params.yaml says"
    folder = build / "two_stage" / asked.recall
    if (folder / "card.json").is_file():
        card = checkpoint.read_card(folder)
        if card["recall"] == recall and card["rerank"] == mark:
            return card["cosine"], f"log-odds + {card['cosine']:.4g} cosine, as the stage two_stage found"
    return 0.0, "log-odds alone: the stage two_stage has not weighed these two"


def _is_of(store: Store, asked: dict) -> bool:
    made = seeing(store.manifest)
    return all(made.get(name) == asked.get(name) for name in SEEING)
