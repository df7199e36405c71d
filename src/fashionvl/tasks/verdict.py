"""Which of two systems is better: paired, metric by metric and slice by slice, on what both were asked.

A challenger is promoted when it is better in the main number for certain, and nowhere worse than allowed. A fall is
too deep when its mean is below the bound and its interval below 0: a shop does not lose a category to a better average,
nor a better system to a slice of twenty products that was unlucky.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator

from fashionvl import metrics
from fashionvl.catalogue.problems import Problem

MAIN = "sampled.R@1"  # of each product, the mean of both directions
LEVEL = 0.95
LEAST_GROUPS = 6  # fewer agree by chance more often than one time in twenty, whatever they agree on
KEYS = ["metric", "product", "group"]


@dataclass(frozen=True)
class Bounds:
    """What is allowed, as shares; params.yaml (`gate`) says more.

    least_gain   the lower end of the main number's gain must lie above it
    worst        how far a metric may fall
    worst_slice  how far the main number may fall within a slice
    least_slice  groups of a slice that is compared
    """

    least_gain: float = 0.0
    worst: float = 0.02
    worst_slice: float = 0.05
    least_slice: int = 20


@dataclass(frozen=True)
class Verdict:
    """True where the challenger is promoted, why in sentences, and the numbers row by row"""

    promote: bool
    reasons: list[str]
    table: list[dict[str, Any]]


def values_of(ranks: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """One value of every metric for every product.

    ranks  a row a query: direction, product, group, rank, listed (candidates with the right one), and slice columns
    rows   a row a product that was recognised: task, column, product, group, right (bool), and slice columns
    -> metric, product, group, value (0 to 1), chance (what guessing reaches, NaN where unknown), slice columns
    """
    parts, hits = [], []
    for direction, of_direction in ranks.groupby("direction", sort=False):
        for at in metrics.RANKS:
            part = of_direction.assign(metric=f"sampled.{direction}.R@{at}")
            part["value"] = (part["rank"] <= at).astype(float)
            part["chance"] = np.minimum(1.0, at / part["listed"])
            parts.append(part.drop(columns=["direction", "rank", "listed"]))
            hits += [parts[-1]] if at == 1 else []
    both = pd.concat(hits)
    others = [name for name in both.columns if name not in ("value", "chance", "metric")]
    main = both.groupby(others, sort=False, as_index=False, dropna=False)[["value", "chance"]].mean()
    names = rows["task"] + "." + rows["column"] + ".accuracy"
    said = rows.assign(metric=names, value=rows["right"].astype(float), chance=np.nan)
    said = said.drop(columns=["task", "column", "right"])
    return pd.concat([main.assign(metric=MAIN), *parts, said], ignore_index=True)


def verdict(
    challenger: pd.DataFrame,
    champion: pd.DataFrame | None,
    bounds: Bounds,
    *,
    slices: Sequence[str] = (),
    lost: Sequence[str] = (),
    generator: Generator,
) -> Verdict:
    """Judge a challenger.

    challenger, champion  what `values_of` gives of each; None where there is no champion yet: then the challenger must
                          be above chance for certain
    slices                columns of both whose values part the products; an empty value is no slice
    lost                  parts that the champion has and the challenger lacks, whether or not they were asked today
    """
    groups = challenger.loc[challenger["metric"] == MAIN, "group"].nunique()
    if groups < LEAST_GROUPS:
        few = f"only {groups} groups of products were asked for, and fewer than {LEAST_GROUPS} can show nothing"
        return Verdict(False, [few], [])
    if champion is None:
        return _first(challenger, generator)
    pairs = _paired(challenger, champion)
    whole = [_row(rows, str(metric), "", LEVEL, generator) for metric, rows in pairs.groupby("metric", sort=False)]
    parts = _slices(pairs[pairs["metric"] == MAIN], slices, bounds.least_slice, generator)
    better, gain = _gain(whole[0], bounds)
    worse = _falls(whole[1:], bounds.worst) + _falls(parts, bounds.worst_slice)
    worse += [f"the champion has the part {name!r}, which the challenger lacks" for name in lost]
    guarded = f"none of {len(whole) - 1} other metrics and {len(parts)} slices fell further than allowed"
    lacking = _not_compared(challenger, champion)
    return Verdict(better and not worse, [gain, *(worse or [guarded]), *lacking], whole + parts)


def _first(challenger: pd.DataFrame, generator: Generator) -> Verdict:
    """The verdict on a first system: there is only chance to beat, and it stands where the champion would."""
    table = []
    for metric, rows in challenger.groupby("metric", sort=False):
        known = bool(rows["chance"].notna().all())
        pair = rows.assign(one=rows["value"], other=rows["chance"] if known else 0.0)
        row = _row(pair, str(metric), "", LEVEL, generator)
        unknown = {"champion": None, "gain": None, "low": None, "high": None, "says": ""}
        table.append(row | ({"says": "above chance" if row["low"] > 0 else "at chance"} if known else unknown))
    main = table[0]
    promote = main["low"] > 0
    above = "is above chance" if promote else "is not above chance for certain"
    numbers = f"{_percent(main['challenger'])} where guessing reaches {_percent(main['champion'])}, {_change(main)}"
    return Verdict(promote, [f"there is no champion yet, and {MAIN} of the challenger {above}: {numbers}"], table)


def _paired(challenger: pd.DataFrame, champion: pd.DataFrame) -> pd.DataFrame:
    """What both were asked, row by row: `one` of the challenger, `other` of the champion."""
    shared = set(challenger["metric"]) & set(champion["metric"])
    mine, theirs = (table[table["metric"].isin(shared)] for table in (challenger, champion))
    pairs = mine.rename(columns={"value": "one"}).merge(
        theirs[[*KEYS, "value"]].rename(columns={"value": "other"}), on=KEYS
    )
    if not len(pairs) == len(mine) == len(theirs):
        raise Problem("challenger and champion were not asked the same; score both again on the same lists")
    return pairs


def _row(rows: pd.DataFrame, metric: str, part: str, level: float, generator: Generator) -> dict[str, Any]:
    """One line of the table: the means, and the gain with its paired interval over groups."""
    gain = (rows["one"] - rows["other"]).to_numpy()
    low, high = metrics.interval(gain, rows["group"].to_numpy(), generator=generator, level=level)
    means = {"challenger": float(rows["one"].mean()), "champion": float(rows["other"].mean())}
    says = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return {
        "metric": metric,
        "slice": part,
        "groups": int(rows["group"].nunique()),
        **means,
        "gain": float(gain.mean()),
        "low": low,
        "high": high,
        "says": says,
    }


def _slices(main: pd.DataFrame, slices: Sequence[str], least: int, generator: Generator) -> list[dict[str, Any]]:
    """The main number within every slice that is large enough; all intervals together hold as one would."""
    found = [
        (f"{column}={value}", rows)
        for column in slices
        for value, rows in main.groupby(column)
        if value != "" and rows["group"].nunique() >= least
    ]
    level = 1 - (1 - LEVEL) / max(1, len(found))  # Bonferroni: of many slices one is unlucky by chance
    return [_row(rows, MAIN, name, level, generator) for name, rows in found]


def _gain(main: dict[str, Any], bounds: Bounds) -> tuple[bool, str]:
    better = main["low"] > bounds.least_gain
    numbers = f"from {_percent(main['champion'])} to {_percent(main['challenger'])}, {_change(main)}"
    if better:
        return True, f"{MAIN} rises {numbers}"
    if main["gain"] == main["low"] == main["high"] == 0:
        return False, f"{MAIN} is the same for every product, {_percent(main['champion'])}: the champion stays"
    if main["high"] < 0:
        return False, f"{MAIN} falls {numbers}"
    bound = f"its lower end must lie above {100 * bounds.least_gain:g}"
    return False, f"{MAIN} does not rise for certain, {numbers}: {bound}"


def _falls(table: Sequence[dict[str, Any]], allowed: float) -> list[str]:
    """A sentence for every number that fell further than allowed."""
    return [
        f"{row['metric']}{' where ' + row['slice'] if row['slice'] else ''} falls from {_percent(row['champion'])} to"
        f" {_percent(row['challenger'])}, {_change(row)}: {100 * allowed:g} points are allowed"
        for row in table
        if row["gain"] < -allowed and row["high"] < 0
    ]


def _not_compared(challenger: pd.DataFrame, champion: pd.DataFrame) -> list[str]:
    sides = {"challenger": set(challenger["metric"]), "champion": set(champion["metric"])}
    odd = sorted(sides["challenger"] ^ sides["champion"])
    return [
        f"{name} is not compared: the {next(side for side, has in sides.items() if name not in has)} has no head for it"
        for name in odd
    ]


def markdown(found: Verdict) -> str:
    """The verdict for people: what is done, why, and the table."""
    lines = ["**promoted**" if found.promote else "**kept as it was**", ""]
    lines += [f"- {reason}" for reason in found.reasons]
    if found.table:
        lines += ["", "| metric | slice | groups | challenger | champion | gain | interval | |"]
        lines += ["|---|---|--:|--:|--:|--:|--:|---|"]
        lines += [_line(row) for row in found.table]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    told = ["", "", ""]
    if row["gain"] is not None:
        told = [_percent(row["champion"]), _points(row["gain"]), f"{_points(row['low'])} to {_points(row['high'])}"]
    part = row["slice"].replace("|", "\\|")
    cells = [row["metric"], part, str(row["groups"]), _percent(row["challenger"]), *told, row["says"]]
    return f"| {' | '.join(cells)} |"


def _change(row: dict[str, Any]) -> str:
    ends = f"{_points(row['low'])} to {_points(row['high'])}"
    return f"{_points(row['gain'])} points (interval {ends}, {row['groups']} groups)"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
