"""The part of the report on slices: the same measures for each category, gender, colour of the split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from numpy.random import Generator

from fashionvl import metrics
from fashionvl.catalogue.style import Markup, table
from fashionvl.stages.pages.parts import NONE, WAYS, absent, ends, fold, note
from fashionvl.stages.pages.recognition import TASKS

FEWEST, MOST, COVERED = 2, 20, 0.8  # values of an attribute, and the share of the split that has it
MOST_KEYS = 4  # attributes shown
FIRST = ("gender", "colour", "color")  # parts of a name that is shown before the others
SMALL = 20  # groups; a slice of fewer stands back
OTHERS, UNSAID = "all others", "not said"
MORE_STYLE = """
.halves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .4rem 2rem }
.halves > div { min-width: 0 }
"""


@dataclass(frozen=True)
class Slice:
    """One value of an attribute: how many groups and rows have it, the mean of a measure and its 95 % interval."""

    value: str
    groups: int
    rows: int
    mean: float
    low: float
    high: float


def keys_of(products: pd.DataFrame) -> dict[str, list[str]]:
    """What the products of a split are sliced by.

    -> by name, the value of every product: its category; then attributes of few values that nearly all products have,
       gender and colour before others. A product without the attribute is "not said".
    """
    found = {"category": _named(products["category"])}
    attributes = [json.loads(text or "{}") for text in products["attributes"]]
    names = sorted({name for each in attributes for name in each})
    chosen = []
    for name in names:
        values = [str(each[name]) for each in attributes if each.get(name) not in (None, "")]
        if FEWEST <= len(set(values)) <= MOST and len(values) >= COVERED * len(products):
            chosen.append(name)
    chosen.sort(key=lambda name: (not any(part in name.lower() for part in FIRST), name))
    for name in chosen[:MOST_KEYS]:
        found[name] = _named([str(each.get(name) or "") for each in attributes])
    return found


def _named(values: Sequence[str] | pd.Series) -> list[str]:
    """Empty values named, and the rarest put together where there are too many."""
    named = [value or UNSAID for value in values]
    counts = pd.Series(named, dtype="str").value_counts()
    kept = set(counts.index[: MOST - 1]) if len(counts) > MOST else set(counts.index)
    return [value if value in kept else OTHERS for value in named]


def slices(values: Sequence[str], hits: np.ndarray, groups: np.ndarray, generator: Generator) -> list[Slice]:
    """Every value of an attribute with its mean, the largest first; together they hold every row once.

    values (n,) str    of each row      hits (n,) float   the measure of each row      groups (n,) int
    """
    table_ = pd.DataFrame({"value": list(values), "hit": hits, "group": groups})
    found = []
    for value, rows in table_.groupby("value", sort=True):
        own = rows["group"].to_numpy()
        low, high = metrics.interval(rows["hit"].to_numpy(), own, generator=generator)
        mean = float(rows["hit"].mean())
        found.append(Slice(str(value), len(np.unique(own)), len(rows), mean, low, high))
    return sorted(found, key=lambda each: (each.value in (OTHERS, UNSAID), -each.groups, each.value))


def hits_of_ranks(ranks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """R@1 of both directions, a row a product: product, group, hit; the whole split where that was ranked."""
    protocol = "full" if (ranks["protocol"] == "full").any() else "sampled"
    found = {}
    for way in WAYS:
        rows = ranks[(ranks["protocol"] == protocol) & (ranks["direction"] == way)]
        hit = (rows["rank"] == 1).groupby([rows["product"], rows["group"]]).mean()
        found[WAYS[way]] = hit.rename("hit").reset_index()
    return found


def hits_of_predictions(predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Whether text and picture were recognised, a row a picture: product, group, hit."""
    return {
        TASKS[task]: rows[["product", "group"]].assign(hit=(rows["true"] == rows["said_both"]).astype(float))
        for task, rows in predictions.items()
    }


def sliced(measures: Mapping[str, Mapping[str, pd.DataFrame]], products: pd.DataFrame, generator: Generator) -> str:
    """All measures by every attribute of the products that were measured.

    measures  by family ("R@1"), by name, rows of product, group, hit; a family has the same rows throughout
    products  of the whole catalogue
    """
    measures = {family: tables for family, tables in measures.items() if tables}
    if not measures:
        return absent("Neither retrieval nor recognition was measured, so nothing can be sliced.")
    mine = np.unique(np.concatenate([rows["product"] for tables in measures.values() for rows in tables.values()]))
    keys = keys_of(products.iloc[mine])
    parts = [
        note(
            f"In per cent with the 95 % interval over groups; n counts groups of products. Slices of fewer than {SMALL}"
            " groups are grey: they say little. Attributes are those that have 2 to 20 values and that most of these"
            " products have."
        )
    ]
    if len(keys) == 1:
        parts.append(absent("No attribute of this catalogue has few enough values; only the category is left."))
    for key, values in keys.items():
        of_product = dict(zip(mine.tolist(), values, strict=True))
        found = [_table(family, tables, of_product, generator) for family, tables in measures.items()]
        title, halves = f"By {key.replace('_', ' ')}", f'<div class="halves">{"".join(found)}</div>'
        parts.append(f"<h3>{title}</h3>{halves}" if key == "category" else fold(title, halves))
    return "".join(parts)


def _table(family: str, tables: Mapping[str, pd.DataFrame], of_product: Mapping[int, str], generator: Generator) -> str:
    columns: dict[str, dict[str, Slice]] = {}
    for name, rows in tables.items():
        values = [of_product[product] for product in rows["product"].tolist()]
        found = slices(values, rows["hit"].to_numpy(), rows["group"].to_numpy(), generator)
        columns[name] = {each.value: each for each in found}
    first = next(iter(columns.values()))
    lines = [
        (value, f"{each.groups:,}", *(_cell(column.get(value)) for column in columns.values()))
        for value, each in first.items()
    ]
    small = [at for at, each in enumerate(first.values()) if each.groups < SMALL]
    called = [Markup(f"<small>{escape(name)}</small>") for name in columns]
    return table((family, "n", *called), lines, right=range(1, 2 + len(columns)), pale=small)


def _cell(found: Slice | None) -> Markup:
    if found is None:
        return NONE
    if found.groups == 1:
        return Markup(f"{100 * found.mean:.1f}")  # one group has no spread to draw from
    return Markup(f"{100 * found.mean:.1f}<small>{ends(100 * found.low, 100 * found.high)}</small>")
