"""Stage `ablations`: build/ablations/COLUMN-SEED -> build/metrics/ablations.json and .md, as in the paper's Table 4."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config, metrics
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import compare, options, run
from fashionvl.stages.ablation_table import (
    PAPER,
    SUMS,
    Column,
    Gain,
    Step,
    signs,
    signs_of_tasks,
    table,
    table_of_tasks,
)
from fashionvl.stages.pages import published

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


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Gather every run that params.yaml lists; a missing one is a Problem, missing tasks are a sentence."""
    settings = config.load(params)
    seeds = settings.ablation.seeds
    columns = {name: read(name, seeds, build / "ablations") for name in settings.ablation.columns}
    lacking = without_tasks(columns, seeds, build / "ablation_tasks")
    if not lacking:
        asked = {seed: config.asked_of_tasks(settings, "ablation", seed) for seed in seeds}
        columns = {name: with_tasks(name, of, build / "ablation_tasks", asked) for name, of in columns.items()}
    steps = {
        f"{after} - {before}": step(columns, before, after, settings.seed)
        for before, after in STEPS
        if before in columns and after in columns
    }
    checkpoint.write_json(build / "metrics" / "ablations.json", numbers(columns, steps))
    ranked = config.ranked_by(settings, "ablation")
    heading = f"Split {ranked.ranking_on}, sampled-{ranked.candidates + 1}, seeds {seeds}"
    parts = [f"{heading}, mean ± standard deviation over seeds.", table(columns), signs(steps)]
    if lacking:
        parts.append(
            f"CR, SUB and FC are not shown: {len(lacking)} of {len(columns) * len(seeds)} runs have not been through"
            f" `ablation_tasks` ({lacking[0]} is the first)."
        )
    else:
        parts += [table_of_tasks(columns), signs_of_tasks(steps)]
    text = "\n\n".join(parts)
    (build / "metrics" / "ablations.md").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def read(name: str, seeds: list[int], folder: Path) -> Column:
    """The cards and ranks of one column."""
    folders = [folder / f"{name}-{seed}" for seed in seeds]
    return Column(pd.DataFrame([metrics_of(each) for each in folders]), ranks_of(folders))


def ranks_of(folders: Iterable[Path]) -> pd.DataFrame:
    """The ranks of several runs, each with draws of its own."""
    ranks = []
    for number, folder in enumerate(folders):
        found = compare.ranks_of(folder)
        ranks.append(found.assign(draw=found["draw"] + number * (1 + found["draw"].max())))
    return pd.concat(ranks, ignore_index=True)


def metrics_of(run_folder: Path) -> dict[str, float]:
    """What one run has found, and how long it took."""
    card = checkpoint.read_card(run_folder)
    last = json.loads((run_folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    times = {"training_seconds": last["seconds"], "ranking_seconds": card["ranking_seconds"]}
    each = {"steps": card["steps"], "seconds_a_step": last["seconds"] / card["steps"]}
    return {**times, **each, **card["metrics"]}


def without_tasks(columns: Iterable[str], seeds: list[int], folder: Path) -> list[str]:
    """The runs whose tasks have not been learned, or not to the end."""
    runs = [f"{name}-{seed}" for name in columns for seed in seeds]
    return [run for run in runs if not (folder / run / "card.json").exists()]


def with_tasks(name: str, column: Column, folder: Path, asked: Mapping[int, dict[str, Any]]) -> Column:
    """A column with what its runs have found at the tasks; a Problem where one was asked otherwise than `asked`, by
    seed."""
    rows = [
        added_up(found_at_tasks(folder / f"{name}-{seed}", f"{name}-{seed}", of_seed))
        for seed, of_seed in asked.items()
    ]
    found = pd.DataFrame(rows).dropna(axis=1)  # what some runs lack is not measured
    return replace(column, metrics=pd.concat([column.metrics, found], axis=1))


def found_at_tasks(folder: Path, item: str, asked: Mapping[str, Any]) -> dict[str, float]:
    """What one run, which the stage `ablation_tasks` calls `item`, has found; a Problem where asked otherwise."""
    card = checkpoint.read_card(folder)
    if any(card[key] != value for key, value in asked.items()):
        raise Problem(
            f"{folder} was taught or examined by other parameters than params.yaml has now: run"
            f" `ablation_tasks {item}` again"
        )
    found: dict[str, float] = card["metrics"]
    return found


def added_up(found: dict[str, float]) -> dict[str, float]:
    """What one run has found at the tasks, with SumCLS and SumCAP where all of their parts are there."""
    sums = {}
    if set(published.RECOGNISED) <= set(found):
        scores = ("accuracy", "macro_f_all")
        cells = {task: {score: found[f"{task}.both.{score}"] for score in scores} for task in published.RECOGNITION}
        sums["SumCLS"] = metrics.sum_of_recognition(cells)
    if set(published.SAID) <= set(found):
        sums["SumCAP"] = metrics.sum_of_caption_scores({key.rpartition(".")[2]: found[key] for key in published.SAID})
    return {**found, **sums}


def step(columns: Mapping[str, Column], before: str, after: str, seed: int) -> Step:
    """One step of Table 4, ours and the paper's."""
    gains = {}
    for name, metric in SUMS.items():
        if all(metric in columns[end].metrics for end in (before, after)):
            one, other = columns[after].metrics[metric], columns[before].metrics[metric]
            error = float(np.sqrt(one.var() / len(one) + other.var() / len(other))) if len(one) > 1 else None
            theirs = PAPER[after][name] - PAPER[before][name]
            gains[name] = Gain(float(one.mean() - other.mean()), error, theirs, len(one) + len(other))
    return Step(gains, compare.paired(columns[after].ranks, columns[before].ranks, seed, f"{after} and {before}"))


def numbers(columns: Mapping[str, Column], steps: Mapping[str, Step]) -> dict[str, dict]:
    """Everything as plain numbers, for `dvc metrics`; a step's `paper`, `agrees` and `clear` are of SumR."""
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
    for name, each in steps.items():
        found[name] = {}
        for of, gain in each.gains.items():
            first = "" if of == "SumR" else f"{of}."
            found[name] |= {of: round(gain.ours, 3), f"{first}paper": round(gain.paper, 2)}
            found[name] |= {f"{first}agrees": gain.agrees}
            if gain.error is not None:
                found[name] |= {f"{of}.error": round(gain.error, 3), f"{first}clear": gain.clear}
        for metric, ends in each.paired.items():
            found[name] |= dict(zip((metric, f"{metric}.low", f"{metric}.high"), ends, strict=True))
    return found


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
