"""Table 4 as Markdown: its columns over all seeds, its steps, and the paper's signs beside ours."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from fashionvl.stages.pages import published

PAPER = {name: published.sums_of(name) for name in published.ABLATIONS}
SUM = "sampled.SumR"
SUMS = {"SumR": SUM, "SumCLS": "SumCLS", "SumCAP": "SumCAP"}  # the paper's name: the metric
SHOWN = published.RECALLS
CLEAR = 0.95  # how sure a sign must be, by Student's t over the seeds


@dataclass(frozen=True)
class Column:
    """All runs of one column.

    metrics  one row a seed, one column a number
    ranks    of all runs, each seed with draws of its own
    """

    metrics: pd.DataFrame
    ranks: pd.DataFrame

    def spread(self, name: str) -> tuple[float, float | None]:
        """The mean of a metric over the seeds and its standard deviation, None where there is one seed."""
        values = self.metrics[name]
        return float(values.mean()), float(values.std()) if len(values) > 1 else None


@dataclass(frozen=True)
class Gain:
    """What one step of Table 4 adds to a sum.

    error  the standard error of `ours` over seeds, None where there is one seed
    runs   of both columns together
    """

    ours: float
    error: float | None
    paper: float
    runs: int

    @property
    def agrees(self) -> bool:
        """True where the sign is the paper's."""
        return bool(np.sign(self.ours) == np.sign(self.paper))

    @property
    def clear(self) -> bool:
        """True where the gain is larger than chance over seeds explains."""
        return self.error is not None and abs(self.ours) > float(t.ppf((1 + CLEAR) / 2, self.runs - 2)) * self.error

    @property
    def verdict(self) -> str:
        """Whether the sign is the paper's, in words."""
        said = "as the paper's" if self.agrees else "against the paper's" if self.ours else "no gain"
        return said if self.clear else f"{said}, not clear"


@dataclass(frozen=True)
class Step:
    """One step of Table 4.

    gains   by the name of the sum; those that both of its columns have
    paired  recalls in points of a hundred, [gain, low, high], all seeds together, by a bootstrap over groups
    """

    gains: dict[str, Gain]
    paired: dict[str, list[float]]


def table(columns: Mapping[str, Column]) -> str:
    """One line a column, in Markdown."""
    head = ["column", "steps", "min", *(name.removeprefix("sampled.") for name in SHOWN), "SumR", "paper"]
    lines = [head]
    for name, column in columns.items():
        recalls = [cell(*(None if x is None else 100 * x for x in column.spread(metric))) for metric in SHOWN]
        minutes = column.metrics["training_seconds"].mean() / 60
        first = [name, f"{column.metrics['steps'].mean():.0f}", f"{minutes:.1f}"]
        lines.append(
            [*first, *recalls, cell(*column.spread(SUM)), f"{PAPER[name]['SumR']:.1f}" if name in PAPER else ""]
        )
    return markdown(lines)


def signs(steps: Mapping[str, Step]) -> str:
    """One line a step of Table 4, in Markdown: its gain in SumR and in R@1, and whether the sign is the paper's."""
    lines = [["step", "SumR, paper", "SumR, ours", "R@1 itr", "R@1 tir", "sign"]]
    for name, each in steps.items():
        paper, ours, said = _compared(each.gains["SumR"])
        ends = [each.paired[f"sampled.{way}.R@1"] for way in ("itr", "tir")]
        firsts = [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" for mean, low, high in ends]
        lines.append([name, paper, ours, *firsts, said])
    return markdown(lines)


def table_of_tasks(columns: Mapping[str, Column]) -> str:
    """CR, SUB and FC, in Markdown: a line for each column, and the paper's below it."""
    cells = {**published.RECOGNISED, "SumCLS": "SumCLS", **published.SAID, "SumCAP": "SumCAP"}
    lines = [["column", *cells.values()]]
    for name, column in columns.items():
        ours = []
        for metric in cells:
            times = 100 if metric in published.RECOGNISED else 1
            spread = column.spread(metric) if metric in column.metrics else None
            ours.append("not measured" if spread is None else cell(*(x if x is None else times * x for x in spread)))
        lines.append([name, *ours])
        if name in PAPER:
            printed = {**published.ABLATIONS[name], **PAPER[name]}
            lines.append([f"{name}, paper", *(f"{printed[metric]:.1f}" for metric in cells)])
    return markdown(lines)


def signs_of_tasks(steps: Mapping[str, Step]) -> str:
    """One line a step of Table 4, in Markdown: its gain in SumCLS and SumCAP, and whether the sign is the paper's."""
    names = ("SumCLS", "SumCAP")
    head = ["step", *(said for name in names for said in (f"{name}, paper", f"{name}, ours", "sign"))]
    lines = [head]
    for name, each in steps.items():
        after, _, before = name.partition(" - ")
        cells = []
        for of in names:
            paper = f"{PAPER[after][of] - PAPER[before][of]:+.1f}"
            cells += _compared(each.gains[of]) if of in each.gains else [paper, "not measured", ""]
        lines.append([name, *cells])
    return markdown(lines)


def _compared(gain: Gain) -> list[str]:
    error = "" if gain.error is None else f" ± {gain.error:.1f}"
    return [f"{gain.paper:+.1f}", f"{gain.ours:+.1f}{error}", gain.verdict]


def gained_over(
    gains: Mapping[str, Mapping[str, list[float]]], against: str, names: Mapping[str, str], *, of: str
) -> str:
    """What each row has over another, with 95 % intervals, in Markdown; an empty cell where a metric was not compared.

    names  of the metrics that are shown: what a head says of each
    of     what a row is
    """
    lines = [[of, *(f"{said} over {against}" for said in names.values())]]
    for name, gain in gains.items():
        cells = [gain.get(metric) for metric in names]
        lines.append([name, *(f"{each[0]:+.1f} [{each[1]:+.1f}, {each[2]:+.1f}]" if each else "" for each in cells)])
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """A table in Markdown, its first line the head."""
    head, *rows = lines
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def cell(mean: float | None, spread: float | None) -> str:
    """A mean and its standard deviation over seeds, None where there is one."""
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"
