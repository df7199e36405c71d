"""What products can be filtered by: category, sub-category and every attribute, exactly."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionvl.catalogue.problems import Problem

COLUMNS = ("category", "sub_category")
NONE = -1

Where = Mapping[str, Sequence[str]]  # name -> allowed values


@dataclass(frozen=True)
class Facets:
    """Every name that products can be filtered by.

    values  name -> its values, sorted
    codes   name -> (N,) int32   which of them each product has, NONE where it has none
    """

    values: Mapping[str, list[str]]
    codes: Mapping[str, NDArray[np.int32]]

    @classmethod
    def of(cls, products: pd.DataFrame) -> "Facets":
        """Of the rows of a catalogue; an attribute that is called like a column is left out."""
        said: dict[str, dict[int, str]] = {
            name: {row: value for row, value in enumerate(products[name].tolist()) if value} for name in COLUMNS
        }
        for row, attributes in enumerate(products["attributes"].tolist()):
            for name, value in plain(attributes).items():
                if name not in COLUMNS:
                    said.setdefault(name, {})[row] = value
        values = {name: sorted(set(of.values())) for name, of in said.items() if of}
        return cls(values, {name: _codes(said[name], of, len(products)) for name, of in values.items()})

    def counts(self) -> dict[str, dict[str, int]]:
        """name -> value -> how many products have it, the most frequent first"""
        found = {}
        for name, values in self.values.items():
            codes = self.codes[name]
            many = np.bincount(codes[codes != NONE], minlength=len(values))
            found[name] = {values[at]: int(many[at]) for at in np.argsort(-many, kind="stable")}
        return found

    def allowed(self, where: Where) -> NDArray[np.bool_] | None:
        """Which products have, of every name, one of its allowed values.

        -> (N,) bool, None where nothing is asked; a Problem for a name or value that no product has
        """
        if not where:
            return None
        masks = []
        for name, wanted in where.items():
            if name not in self.values:
                raise Problem(f"products cannot be filtered by {name!r}; they can by {', '.join(sorted(self.values))}")
            values = self.values[name]
            unknown = sorted(set(wanted) - set(values))
            if unknown:
                raise Problem(f"no product has {unknown[0]!r} as its {name}; there are {_some(values)}")
            masks.append(np.isin(self.codes[name], [values.index(value) for value in wanted]))
        return np.logical_and.reduce(masks)


def plain(attributes: str) -> dict[str, str]:
    """A product's attributes, from their JSON, without those it lacks."""
    return {name: str(value) for name, value in json.loads(attributes or "{}").items() if value}


def _codes(said: Mapping[int, str], values: list[str], count: int) -> NDArray[np.int32]:
    number = {value: at for at, value in enumerate(values)}
    codes = np.full(count, NONE, np.int32)
    codes[list(said)] = [number[value] for value in said.values()]
    return codes


def _some(values: list[str], most: int = 12) -> str:
    return ", ".join(values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")
