"""What is new, changed and withdrawn between two states of a catalogue, by product_id."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from fashionvl.catalogue.rules import FIELDS

SAID = tuple(name for name in FIELDS if name not in ("product_id", "split"))  # a split is no property of a product


@dataclass(frozen=True)
class Changes:
    """Product ids: only in the newer state, in both but not the same, only in the older one; how many each has."""

    new: list[str]
    changed: list[str]
    withdrawn: list[str]
    before: int
    now: int


def changes(before: pd.DataFrame, now: pd.DataFrame, is_same_picture: Callable[[str], bool]) -> Changes:
    """Compare the rows of two states, as `intake.read_texts` gives them.

    is_same_picture  True when a path shows the same in both; asked of products whose texts and paths are the same
    """
    old, new = _by_product(before), _by_product(now)
    both = [product for product in new if product in old]
    changed = [
        product
        for product in both
        if new[product] != old[product] or not all(map(is_same_picture, _pictures(new[product])))
    ]
    return Changes(
        new=[product for product in new if product not in old],
        changed=changed,
        withdrawn=[product for product in old if product not in new],
        before=len(old),
        now=len(new),
    )


def _by_product(rows: pd.DataFrame) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for product, *said in rows[["product_id", *SAID]].itertuples(index=False, name=None):
        found[product].add(tuple(said))
    return dict(found)


def _pictures(said: set[tuple[str, ...]]) -> list[str]:
    return sorted({row[SAID.index("image_path")] for row in said})
