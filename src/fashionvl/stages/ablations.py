"""Stage `ablations`: build/ablations/COLUMN-SEED -> build/metrics/ablations.json and .md, as in the paper's Table 4."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config
from fashionvl.stages import compare, options, run

# SumR of Kaleido-BERT's Table 4. Its "Kaleido + SOD", "AGM" and "B + I-V" are the full model; the last of the three
# cells reads 319.02, from an R@10 of 68.09 that is 68.59 in Table 2.
PAPER = {
    "fixed": 276.97,
    "whole": 303.80,
    "full": 319.52,
    "random": 299.50,
    "B": 295.70,
    "B+I": 297.18,
    "B+I-II": 300.82,
    "B+I-III": 312.65,
    "B+I-IV": 316.10,
    "B+V": 287.70,
}
STEPS = [  # from, to
    ("fixed", "whole"),
    ("whole", "full"),
    ("random", "full"),
    ("B", "B+I"),
    ("B+I", "B+I-II"),
    ("B+I-II", "B+I-III"),
    ("B+I-III", "B+I-IV"),
    ("B+I-IV", "full"),
    ("B", "B+V"),
]
SUM = "sampled.SumR"
SHOWN = [f"sampled.{way}.R@{at}" for way in ("itr", "tir") for at in (1, 5, 10)]
CLEAR = 2.0  # standard errors


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
    """What one step of Table 4 adds to SumR.

    error   the standard error of `ours` over seeds, None where there is one seed
    paired  recalls in points of a hundred, [gain, low, high], all seeds together, by a bootstrap over groups
    """

    ours: float
    error: float | None
    paper: float
    paired: dict[str, list[float]]

    @property
    def agrees(self) -> bool:
        """True where the sign is the paper's."""
        return bool(np.sign(self.ours) == np.sign(self.paper))

    @property
    def clear(self) -> bool:
        """True where the gain is larger than chance over seeds explains."""
        return self.error is not None and abs(self.ours) > CLEAR * self.error


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Gather every run that params.yaml lists; a missing one is a Problem."""
    settings = config.load(params)
    columns = {name: read(name, settings.ablation.seeds, build / "ablations") for name in settings.ablation.columns}
    gains = {
        f"{after} - {before}": gain(columns, before, after, settings.seed)
        for before, after in STEPS
        if before in columns and after in columns
    }
    checkpoint.write_json(build / "metrics" / "ablations.json", numbers(columns, gains))
    asked = config.ranked_by(settings)
    heading = f"Split {asked.ranking_on}, sampled-{asked.candidates + 1}, seeds {settings.ablation.seeds}"
    text = f"{heading}, mean ± standard deviation over seeds.\n\n{table(columns)}\n\n{signs(gains)}"
    (build / "metrics" / "ablations.md").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def read(name: str, seeds: list[int], folder: Path) -> Column:
    """The cards and ranks of one column."""
    rows, ranks = [], []
    for number, seed in enumerate(seeds):
        run_folder = folder / f"{name}-{seed}"
        card = checkpoint.read_card(run_folder)
        last = json.loads((run_folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        times = {"training_seconds": last["seconds"], "ranking_seconds": card["ranking_seconds"]}
        each = {"steps": card["steps"], "seconds_a_step": last["seconds"] / card["steps"]}
        rows.append({**times, **each, **card["metrics"]})
        found = compare.ranks_of(run_folder)
        ranks.append(found.assign(draw=found["draw"] + number * (1 + found["draw"].max())))
    return Column(pd.DataFrame(rows), pd.concat(ranks, ignore_index=True))


def gain(columns: Mapping[str, Column], before: str, after: str, seed: int) -> Gain:
    """One step of Table 4, ours and the paper's."""
    one, other = columns[after].metrics[SUM], columns[before].metrics[SUM]
    error = float(np.sqrt(one.var() / len(one) + other.var() / len(other))) if len(one) > 1 else None
    paired = compare.paired(columns[after].ranks, columns[before].ranks, seed, f"{after} and {before}")
    return Gain(float(one.mean() - other.mean()), error, PAPER[after] - PAPER[before], paired)


def numbers(columns: Mapping[str, Column], gains: Mapping[str, Gain]) -> dict[str, dict]:
    """Everything as plain numbers, for `dvc metrics`."""
    found: dict[str, dict] = {}
    for name, column in columns.items():
        found[name] = {}
        for metric in column.metrics.columns:
            if metric.endswith((".low", ".high")):
                continue  # of one seed
            mean, spread = column.spread(metric)
            found[name][metric] = round(mean, 6)
            if spread is not None:
                found[name][f"{metric}.sd"] = round(spread, 6)
    for name, step in gains.items():
        found[name] = {"SumR": round(step.ours, 3), "paper": round(step.paper, 2), "agrees": step.agrees}
        if step.error is not None:
            found[name] |= {"SumR.error": round(step.error, 3), "clear": step.clear}
        for metric, ends in step.paired.items():
            found[name] |= dict(zip((metric, f"{metric}.low", f"{metric}.high"), ends, strict=True))
    return found


def table(columns: Mapping[str, Column]) -> str:
    """One line a column, in Markdown."""
    head = ["column", "steps", "min", *(name.removeprefix("sampled.") for name in SHOWN), "SumR", "paper"]
    lines = [head, ["---"] * len(head)]
    for name, column in columns.items():
        recalls = [_cell(*(None if x is None else 100 * x for x in column.spread(metric))) for metric in SHOWN]
        minutes = column.metrics["training_seconds"].mean() / 60
        first = [name, f"{column.metrics['steps'].mean():.0f}", f"{minutes:.1f}"]
        lines.append([*first, *recalls, _cell(*column.spread(SUM)), f"{PAPER[name]:.1f}" if name in PAPER else ""])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def signs(gains: Mapping[str, Gain]) -> str:
    """One line a step of Table 4, in Markdown: its gain in SumR and in R@1, and whether the sign is the paper's."""
    lines = [["step", "SumR, paper", "SumR, ours", "R@1 itr", "R@1 tir", "sign"], ["---"] * 6]
    for name, step in gains.items():
        error = "" if step.error is None else f" ± {step.error:.1f}"
        ends = [step.paired[f"sampled.{way}.R@1"] for way in ("itr", "tir")]
        firsts = [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" for mean, low, high in ends]
        said = "as the paper's" if step.agrees else "against the paper's" if step.ours else "no gain"
        said += "" if step.clear else ", not clear"
        lines.append([name, f"{step.paper:+.1f}", f"{step.ours:+.1f}{error}", *firsts, said])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(mean: float | None, spread: float | None) -> str:
    return f"{mean:.1f}" if spread is None else f"{mean:.1f} ± {spread:.1f}"


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
