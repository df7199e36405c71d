"""What challenger and champion are asked (`gate` in params.yaml): drawn once for each version of the catalogue.

build/gate/questions/<key>/ holds `lists.parquet` and, with its checksum, `card.json`. The key is a hash of the tables
of the catalogue and of how lists are drawn, so that the same is asked about the same catalogue, whoever is asked, when.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.store import checksum
from fashionvl.tasks import retrieval

LISTS = "lists.parquet"
TABLES = ("products.parquet", "pictures.parquet")


def pinned(catalogue: Catalogue, build: Path, gate: config.Gate, seed: int) -> tuple[retrieval.Lists, str]:
    """-> the lists of this version of the catalogue, made if they are not there, and their key

    A split without products, or lists that were changed after they were made, are a Problem.
    """
    drawn = {"split": gate.split, "queries": gate.queries, "candidates": gate.candidates, "seed": seed}
    key = key_of([build / "catalogue" / name for name in TABLES], drawn)
    folder = build / "gate" / "questions" / key
    if not folder.exists():
        _make(folder, _draw(catalogue, gate, seed), drawn)
    lists = _read(folder)
    retrieval.check(lists, catalogue)
    return lists, key


def key_of(tables: list[Path], drawn: dict) -> str:
    """Sixteen hex digits that change with the tables and with how lists are drawn from them."""
    named = {table.name: checksum(table) for table in tables}
    return hashlib.sha256(json.dumps([named, drawn], sort_keys=True).encode()).hexdigest()[:16]


def _draw(catalogue: Catalogue, gate: config.Gate, seed: int) -> retrieval.Lists:
    if not len(catalogue.in_split(gate.split)):
        raise Problem(f"no product is in the split {gate.split!r}, which gate.split names: nothing can be asked")
    return retrieval.candidate_lists(
        catalogue,
        gate.split,
        queries=gate.queries,
        candidates=gate.candidates,
        draws=1,
        generator=np.random.default_rng(training.seed_of(seed, 10)),
    )


def _make(folder: Path, lists: retrieval.Lists, drawn: dict) -> None:
    """Write a folder whole or not at all; where another process was faster, its folder stays."""
    part = folder.with_name(f".{folder.name}-{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    lists.table().to_parquet(part / LISTS)
    checkpoint.write_card(part, {**drawn, "lists": checksum(part / LISTS)})
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)
        if not folder.exists():
            raise


def _read(folder: Path) -> retrieval.Lists:
    card = checkpoint.read_card(folder)
    if not (folder / LISTS).is_file() or checksum(folder / LISTS) != card["lists"]:
        raise Problem(f"{folder / LISTS} is not what was drawn: delete {folder}, the same is drawn again")
    table = pd.read_parquet(folder / LISTS)
    columns = {name: table[name].to_numpy() for name in ("draw", "direction", "product", "picture", "same_kind")}
    return retrieval.Lists(**columns, candidates=np.stack(list(table["candidates"])))
