"""From rows to a checked catalogue: every row is accepted, perhaps repaired, or set aside with its reason."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl.catalogue.inspection import Inspected, inspect
from fashionvl.catalogue.pictures import BrokenPicture
from fashionvl.catalogue.rules import FIELDS, CleanRow, RawRow, Rejection, clean_row
from fashionvl.catalogue.splits import settle_splits

TEXTS = ("title", "description", "category", "sub_category", "group_id")  # one of each a product
PRODUCT_COLUMNS = ["product_id", "title", "description", "category", "sub_category", "attributes", "group_id", "split"]
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Texts:
    """The rows whose texts are good, before any picture was opened.

    rows      one row each: `row` (its number) and FIELDS, all str
    rejected  the rows set aside
    repaired  rows by the rule that repaired them
    count     how many rows the source has
    """

    rows: pd.DataFrame
    rejected: list[Rejection]
    repaired: Counter[str]
    count: int


@dataclass(frozen=True)
class Intake:
    """A checked catalogue: `products` and `pictures` as `Catalogue` has them, and what became of every row.

    Accepted rows are those of `pictures`: their number and the number of `rejected` make `count`.
    `pictures` has sha256 (of the file) and phash (16 hexadecimal digits) besides.
    """

    products: pd.DataFrame
    pictures: pd.DataFrame
    rejected: list[Rejection]
    repaired: Counter[str]
    count: int

    @property
    def share_set_aside(self) -> float:
        return len(self.rejected) / max(self.count, 1)


def read_texts(raw: Iterable[RawRow], progress: Callable[[int], None] = lambda _: None) -> Texts:
    """Read all rows and apply the rules that need no picture."""
    rejected: list[Rejection] = []
    repaired: Counter[str] = Counter()
    tables, block, count = [], [], 0
    for count, row in enumerate(raw, start=1):
        clean = clean_row(row)
        if isinstance(clean, CleanRow):
            block.append({"row": clean.number, **clean.cells})
            repaired.update(clean.repairs)
        else:
            rejected.append(clean)
        if len(block) == ROWS_AT_ONCE:
            tables.append(_table(block))
            block = []
            progress(count)
    rows = pd.concat([*tables, _table(block)], ignore_index=True)
    return _one_text_a_product(Texts(rows, rejected, repaired, count))


def _table(block: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(block, columns=["row", *FIELDS]).astype({"row": "int64"} | dict.fromkeys(FIELDS, "str"))


def _one_text_a_product(texts: Texts) -> Texts:
    """Rows of one product say the same: what contradicts an earlier row is set aside, what is missing is filled in."""
    rows, rejected, repaired = texts.rows, list(texts.rejected), Counter(texts.repaired)

    def set_aside(mask: pd.Series, field: str, rule: str, reason: str) -> None:
        nonlocal rows
        rejected.extend(_reject(rows[mask], field, rule, reason))
        rows = rows[~mask]

    set_aside(rows.duplicated(list(FIELDS)), "row", "duplicate row", "an earlier row is the same in every column")
    for name in TEXTS:
        first = _first(rows, name)
        said = f"an earlier row of this product has another {name}"
        set_aside(rows[name].ne("") & rows[name].ne(first), name, f"contradicting {name}", said)
    for name in (*TEXTS, "attributes"):
        first = _first(rows, name)
        changed = rows[name] != first
        filled = changed & (rows[name] == "")
        repaired[f"{name} taken from another row of the product"] += int(filled.sum())
        repaired["attributes of the product's first row kept"] += int((changed & ~filled).sum())
        rows = rows.assign(**{name: first})
    empty = rows["title"].eq("") & rows["description"].eq("")
    set_aside(empty, "description", "no text", "title and description are empty")
    rows = rows.assign(
        group_id=rows["group_id"].where(rows["group_id"] != "", rows["product_id"]),
        view=rows["view"].where(rows["view"] != "", "main"),
    )
    return replace(texts, rows=rows.reset_index(drop=True), rejected=rejected, repaired=+repaired)


def _first(rows: pd.DataFrame, name: str) -> pd.Series:
    """The first text of a column that is not empty, of each row's product."""
    said = rows[name].where(rows[name] != "")
    return said.groupby(rows["product_id"], sort=False).transform("first").fillna("").astype("str")


def _reject(rows: pd.DataFrame, field: str, rule: str, reason: str) -> list[Rejection]:
    values = rows[field] if field in rows else rows["image_path"]
    return [
        Rejection(int(number), product, field, rule, reason, value)
        for number, product, value in zip(rows["row"], rows["product_id"], values, strict=True)
    ]


def add_pictures(
    texts: Texts,
    root: Path,
    *,
    shares: Mapping[str, float],
    max_megapixels: float,
    workers: int,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Intake:
    """Open every picture, set aside rows whose picture is broken, settle the splits, number products and pictures."""
    rows, rejected, repaired = texts.rows, list(texts.rejected), Counter(texts.repaired)
    paths = list(rows["image_path"].unique())
    seen: dict[str, Inspected | BrokenPicture] = {}
    for done, (path, result) in enumerate(
        zip(paths, inspect(root, paths, max_megapixels=max_megapixels, workers=workers), strict=True), start=1
    ):
        seen[path] = result
        progress(done, len(paths))

    results = [seen[path] for path in rows["image_path"]]
    usable = np.array([isinstance(result, Inspected) for result in results], dtype=bool)
    for row, product, result in zip(rows["row"], rows["product_id"], results, strict=True):
        if isinstance(result, BrokenPicture):
            rejected.append(Rejection(int(row), product, "picture", result.rule, result.reason, result.path))
    good = [result for result in results if isinstance(result, Inspected)]
    repaired.update(chain.from_iterable(result.repairs for result in good))
    rows = rows[usable].assign(
        path=pd.Series([result.path for result in good], index=rows.index[usable], dtype="str"),
        width=np.array([result.width for result in good], dtype=np.int64),
        height=np.array([result.height for result in good], dtype=np.int64),
        sha256=pd.Series([result.sha256 for result in good], index=rows.index[usable], dtype="str"),
        phash=pd.Series([f"{result.phash:016x}" for result in good], index=rows.index[usable], dtype="str"),
    )
    again = rows.duplicated(["product_id", "path"])
    twice = "an earlier row of this product names the same picture"
    rejected += _reject(rows[again], "picture", "picture listed twice", twice)
    rows = rows[~again]
    split, moved = settle_splits(rows["split"], rows["group_id"], shares)
    repaired.update({rule: int(mask.sum()) for rule, mask in moved.items() if mask.any()})
    products, pictures = _number(rows.assign(split=split))
    return Intake(products, pictures, sorted(rejected, key=lambda one: one.row), repaired, texts.count)


def _number(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Products in the order of their first row, pictures in the order of their products."""
    number, _ = pd.factorize(rows["product_id"])
    rows = rows.assign(product=number.astype(np.int64)).sort_values("product", kind="stable")
    products = rows.drop_duplicates("product")[PRODUCT_COLUMNS].reset_index(drop=True)
    pictures = rows[["product", "path", "view", "width", "height", "sha256", "phash"]].reset_index(drop=True)
    return products, pictures
