"""What a catalogue is once it has been checked: products, and the pictures that show them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl.catalogue.problems import Problem

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Picture:
    """One view of a product: its path relative to the catalogue's folder, and what the view shows."""

    path: str
    view: str = "main"


@dataclass(frozen=True)
class Product:
    """One thing for sale. The unit of sampling, scoring and returning: several views, one text.

    group       products that count as the same answer (colour variants of one article)
    attributes  free keys and values, e.g. {"colour": "Black"}
    split       train, val or test; empty until it is drawn
    """

    id: str
    pictures: tuple[Picture, ...]
    title: str = ""
    description: str = ""
    category: str = ""
    sub_category: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    split: str = ""


def text_of(row: Mapping, fields: Sequence[str]) -> str:
    """What a product says: the named fields in order, joined by a space; `attributes.x` is a key of its attributes.

    A field that this product lacks adds nothing.
    """
    attributes = json.loads(row["attributes"] or "{}")
    parts = [
        str(attributes.get(name.removeprefix("attributes."), "")) if name.startswith("attributes.") else row[name]
        for name in fields
    ]
    return " ".join(part.strip() for part in parts if part and part.strip())


@dataclass(frozen=True)
class Catalogue:
    """A checked catalogue, as the stage `catalogue` leaves it.

    products  one row a product: product_id, title, description, category, sub_category, attributes (JSON), group_id,
              split; all str. The row number is the product's index everywhere.
    pictures  one row a picture, in product order: product (int, row in `products`), path (str, relative to `root`),
              view (str), width, height (int). The row number is the picture's index everywhere.
    root      the folder that the paths are relative to
    """

    products: pd.DataFrame
    pictures: pd.DataFrame
    root: Path

    def texts(self, fields: Sequence[str]) -> list[str]:
        """The text of every product, in order."""
        return [text_of(row, fields) for row in self.products.to_dict("records")]

    def in_split(self, split: str) -> np.ndarray:
        """-> (n,) int64   the indices of the products of one split."""
        return np.flatnonzero((self.products["split"] == split).to_numpy())

    def pictures_in(self, split: str) -> np.ndarray:
        """-> (n,) int64   the indices of the pictures whose product is in one split."""
        return np.flatnonzero((self.products["split"] == split).to_numpy()[self.pictures["product"].to_numpy()])

    def groups(self) -> np.ndarray:
        """-> (N,) int64   a number for the group of every product."""
        return _codes(self.products["group_id"].to_numpy())

    def kinds(self) -> np.ndarray:
        """-> (N,) int64   a number for the sub-category of every product, or its category where it has none."""
        return _codes(
            np.where(self.products["sub_category"] != "", self.products["sub_category"], self.products["category"])
        )

    def first_pictures(self) -> np.ndarray:
        """-> (N,) int64   the index of the first picture of every product; its other views follow."""
        return np.searchsorted(self.pictures["product"].to_numpy(), np.arange(len(self.products)))

    def view_counts(self) -> np.ndarray:
        """-> (N,) int64   how many pictures every product has."""
        return np.bincount(self.pictures["product"].to_numpy(), minlength=len(self.products))

    @classmethod
    def load(cls, folder: Path, root: Path) -> "Catalogue":
        """Read `products.parquet` and `pictures.parquet` of the stage `catalogue`; a Problem if they are not there."""
        if not (folder / "pictures.parquet").exists():
            raise Problem(f"{folder} holds no checked catalogue; run the stage `catalogue` (`dvc repro catalogue`)")
        return cls(pd.read_parquet(folder / "products.parquet"), pd.read_parquet(folder / "pictures.parquet"), root)


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values.astype(str), return_inverse=True)[1].astype(np.int64)
