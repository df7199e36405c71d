"""A small catalogue made of tensors: what tests of questions and trainings are asked on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import words
from fashionvl.alignment import Aligned
from fashionvl.catalogue import Catalogue
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.patches.store import VERSION, Store, write_shard
from fashionvl.tasks.spoil import PUZZLES, Desk

OBJECTIVES = ("mlm", "itm", *PUZZLES)  # of Kaleido-BERT
COLOURS = ("black", "white", "red", "green", "blue", "camel")
THINGS = ("jeans", "shirt", "boots", "parka")


def catalogue(products: int = 48, views: int = 2, seed: int = 0) -> Catalogue:
    """Products of a few things and colours; two products in a row are one group; two thirds are for training."""
    draw = np.random.default_rng(seed)
    thing, colour = draw.integers(len(THINGS), size=products), draw.integers(len(COLOURS), size=products)
    number = np.arange(products)
    table = pd.DataFrame(
        {
            "product_id": [f"p{i}" for i in number],
            "title": [f"{COLOURS[c]} {THINGS[t]}" for c, t in zip(colour, thing, strict=True)],
            "description": [
                f"unbelievably soft {THINGS[t]} with {i % 7} pockets" * (1 + i % 2) for i, t in enumerate(thing)
            ],
            "category": "clothes",
            "sub_category": [THINGS[t] for t in thing],
            "attributes": [json.dumps({"colour": COLOURS[c]}) for c in colour],
            "group_id": [f"g{i // 2}" for i in number],
            "split": np.where(number % 6 < 4, "train", np.where(number % 12 < 6, "val", "test")),
        }
    )
    seen = number.repeat(views)
    pictures = pd.DataFrame({"product": seen, "path": [f"{i}.jpg" for i in range(len(seen))], "view": "main"})
    return Catalogue(table, pictures, Path())


def store(folder: Path, of: Catalogue, dim: int = 12, seed: int = 0, pyramid: Pyramid = KALEIDO) -> Store:
    """Vectors that tell the product: its things and colours stand in them, under noise."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    meaning = draw.random((len(THINGS) * len(COLOURS), dim)) * 3
    names = of.products["title"].to_numpy()[of.pictures["product"]]
    code = np.unique(names, return_inverse=True)[1]
    vectors = (meaning[code][:, None] + draw.random((len(code), pyramid.vectors, dim))).astype(np.float16)
    path = write_shard(folder, 0, vectors)
    entry = {"file": path.name, "rows": len(vectors)}
    manifest = {"version": VERSION, "dim": dim, "grids": pyramid.sides, "shards": [entry]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Store.open(folder)


def regions(folder: Path, of: Catalogue, most: int = 6, dim: int = 12, seed: int = 0) -> Store:
    """Regions that tell the product: the whole picture, then one to five of them, surely of the class of its thing."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    thing = np.unique(of.products["sub_category"].to_numpy()[of.pictures["product"]], return_inverse=True)[1]
    names, rows = sorted(THINGS), len(thing)
    there = np.arange(most) < draw.integers(2, most + 1, size=rows)[:, None]
    vectors = draw.random((len(names), dim))[thing][:, None] * 3 + draw.random((rows, most, dim))
    corner, size = draw.random((rows, most, 2)) / 2, 0.1 + draw.random((rows, most, 2)) / 3
    corner[:, 0], size[:, 0] = 0.0, 1.0
    sides = [corner[..., 0], corner[..., 0] + size[..., 0], corner[..., 1], corner[..., 1] + size[..., 1]]
    places = np.stack([*sides, size.prod(axis=2)], axis=2)
    classes = np.full((rows, most, len(names)), 0.1 / (len(names) - 1))
    classes[np.arange(rows), :, thing] = 0.9
    classes[:, 0] = 0.0
    entry: dict = {"file": "vectors-00000.npy", "rows": rows}
    for what, values, kind in (("vectors", vectors, "f2"), ("places", places, "f4"), ("classes", classes, "f2")):
        path = write_shard(folder, 0, (values * there[..., None]).astype(kind), what)
        entry |= {} if what == "vectors" else {what: {"file": path.name}}
    made = {"version": VERSION, "dim": dim, "regions": most, "classes": names, "encoder": {"name": "drawn"}}
    (folder / "manifest.json").write_text(json.dumps({**made, "shards": [entry]}))
    return Store.open(folder)


def bring(of: Catalogue, build: Path) -> None:
    """Put a catalogue of tensors where the stages look for it, with its words and two kinds of patches."""
    (build / "catalogue").mkdir(parents=True)
    of.products.to_parquet(build / "catalogue" / "products.parquet")
    of.pictures.to_parquet(build / "catalogue" / "pictures.parquet")
    (build / "words").mkdir()
    desk(build / "patches" / "kaleido", of).words.save(build / "words")
    store(build / "patches" / "fixed", of, pyramid=Pyramid((8,)))


def desk(
    folder: Path,
    of: Catalogue,
    objectives=OBJECTIVES,
    matched_only=("mlm", "grey", "blank"),
    pyramid=KALEIDO,
    aligned: Aligned | None = None,
) -> Desk:
    """Words learned from the catalogue, its texts and its vectors; no pairs where none are given."""
    texts = of.texts(["title", "description"])
    vocabulary = words.learn(texts, vocabulary=120, slots=24)
    vectors, encoded = store(folder, of, pyramid=pyramid), vocabulary.encode(texts)
    return Desk(vocabulary, encoded, vectors, objectives, matched_only, aligned or Aligned.none(len(vectors)))
