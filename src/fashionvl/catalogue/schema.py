"""What the two tables of a checked catalogue look like, checked once more at the door out."""

import json

import numpy as np
import pandas as pd
import pandera.pandas as pa

from fashionvl.catalogue.inspection import SMALLEST_SIDE
from fashionvl.catalogue.product import SPLITS

_NOT_EMPTY = pa.Check.str_length(min_value=1)


def _is_json_object(text: str) -> bool:
    return text == "" or isinstance(json.loads(text), dict)


PRODUCTS = pa.DataFrameSchema(
    {
        "product_id": pa.Column(str, [_NOT_EMPTY, pa.Check(lambda ids: ~ids.str.contains(r"[/\\]"))], unique=True),
        "title": pa.Column(str),
        "description": pa.Column(str),
        "category": pa.Column(str),
        "sub_category": pa.Column(str),
        "attributes": pa.Column(str, pa.Check(_is_json_object, element_wise=True)),
        "group_id": pa.Column(str, _NOT_EMPTY),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
    },
    checks=[
        pa.Check(lambda table: (table["title"] != "") | (table["description"] != ""), error="a product without text"),
        pa.Check(lambda table: table.groupby("group_id")["split"].nunique().le(1).all(), error="a divided group"),
    ],
    strict=True,
)

PICTURES = pa.DataFrameSchema(
    {
        "product": pa.Column(np.int64, pa.Check.ge(0)),
        "path": pa.Column(str, _NOT_EMPTY),
        "view": pa.Column(str, _NOT_EMPTY),
        "width": pa.Column(np.int64, pa.Check.ge(SMALLEST_SIDE)),
        "height": pa.Column(np.int64, pa.Check.ge(SMALLEST_SIDE)),
        "sha256": pa.Column(str, pa.Check.str_matches("^[0-9a-f]{64}$")),
        "phash": pa.Column(str, pa.Check.str_matches("^[0-9a-f]{16}$")),
    },
    checks=pa.Check(lambda table: ~table.duplicated(["product", "path"]), error="a picture listed twice"),
    strict=True,
)


def check_tables(products: pd.DataFrame, pictures: pd.DataFrame) -> None:
    """Raises pandera's SchemaError if a table is not as promised, which would be a fault of this program.

    Every product has a picture, pictures stand in the order of their products, no group is divided between splits.
    """
    PRODUCTS.validate(products)
    PICTURES.validate(pictures)
    owners = pictures["product"].to_numpy()
    if not np.array_equal(np.unique(owners), np.arange(len(products))) or (np.diff(owners) < 0).any():
        raise pa.errors.SchemaError(PICTURES, pictures, "pictures do not stand in the order of the products")
