"""Stage `trials`: build/trials/ROW-SEED -> build/metrics/trials.json and .md, dual encoders taught as long."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config
from fashionvl.stages import compare, options, run
from fashionvl.stages.ablation_table import Column, cell, gained_over, markdown
from fashionvl.stages.ablations import read

WAYS = {"itr": "p -> t", "tir": "t -> p"}
RECALLS = {
    f"{protocol}.{way}.R@1": f"{protocol} R@1 {said}" for protocol in ("sampled", "full") for way, said in WAYS.items()
}
SUMS = {f"{protocol}.SumR": f"SumR {protocol}" for protocol in ("sampled", "full")}
PROBES = {
    f"{task}.{probe}.accuracy": f"{task.replace('_', '-')} {said}"
    for task in ("category", "sub_category")
    for probe, said in (("zero_shot.shop", "zero-shot"), ("probe", "probe"))
} | {f"composition.{change}.all.accuracy": change for change in ("replace", "swap", "add")}


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Gather every trial that params.yaml lists; a missing one is a Problem."""
    settings = config.load(params)
    asked = settings.trials
    rows = {name: read(name, asked.seeds, build / "trials") for name in asked.rows}
    base = rows[asked.against].ranks
    gains = {
        name: compare.paired(row.ranks, base, settings.seed, f"{name} and {asked.against}")
        for name, row in rows.items()
        if name != asked.against
    }
    means = {name: {metric: round(row.spread(metric)[0], 6) for metric in _numbers(row)} for name, row in rows.items()}
    against = {f"{name} - {asked.against}": gain for name, gain in gains.items()}
    checkpoint.write_json(build / "metrics" / "trials.json", {**means, **against})
    heading = f"Split {settings.evaluate.ranking_on}, seeds {asked.seeds}, mean ± standard deviation over seeds."
    reached = time_to(asked, build / "trials")
    text = "\n\n".join([heading, table(rows), gained(gains, asked.against), reached, probed(rows)])
    (build / "metrics" / "trials.md").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def table(rows: Mapping[str, Column]) -> str:
    """One line a row, in Markdown: how long it was taught, and how well it retrieves."""
    lines = [["row", "steps", "min", "hidden", *RECALLS.values(), *SUMS.values()]]
    for name, row in rows.items():
        minutes, hidden = row.metrics["training_seconds"].mean() / 60, _hundred(row, "hidden")
        first = [name, f"{row.metrics['steps'].mean():.0f}", f"{minutes:.1f}", hidden]
        sums = [cell(*row.spread(metric)) if metric in row.metrics else "" for metric in SUMS]
        lines.append([*first, *(_hundred(row, metric) for metric in RECALLS), *sums])
    return markdown(lines)


def gained(gains: Mapping[str, Mapping[str, list[float]]], against: str) -> str:
    """What each row has over another, paired over all seeds, with 95 % intervals."""
    return gained_over(gains, against, RECALLS, of="row")


def time_to(asked: config.Trials, folder: Path) -> str:
    """How long each row needs for an R@1 on the sampled lists: the mean over the seeds that reach it.

    Between two looks R@1 is taken to rise evenly.
    """
    lines = [["row", f"reach R@1 {100 * asked.reach:.0f}", "min", "million patches shown"]]
    for name in asked.rows:
        looks = [pd.read_csv(folder / f"{name}-{seed}" / "looks.csv") for seed in asked.seeds]
        there = [found for found in (crossing(each, asked.reach) for each in looks) if found is not None]
        line = [name, f"{len(there)} of {len(looks)}"]
        if there:
            seconds, patches = np.mean(there, axis=0)
            line += [f"{seconds / 60:.1f}", f"{patches / 1e6:.1f}" if patches else ""]
        lines.append([*line, *[""] * (4 - len(line))])
    return markdown(lines)


def crossing(looks: pd.DataFrame, reach: float) -> tuple[float, float] | None:
    """Seconds and patches when the mean R@1 of both directions first is `reach`; None where it never is."""
    steps = pd.concat([pd.DataFrame([dict.fromkeys(looks.columns, 0.0)]), looks], ignore_index=True)
    hits = steps[list(WAYS)].mean(axis=1).to_numpy()
    above = np.flatnonzero(hits >= reach)
    if not len(above):
        return None
    at = above[0]
    part = (reach - hits[at - 1]) / (hits[at] - hits[at - 1]) if at else 0.0
    seconds, patches = (
        float(steps[name].iloc[max(0, at - 1)] * (1 - part) + steps[name].iloc[at] * part)
        for name in ("seconds", "patches")
    )
    return seconds, patches


def probed(rows: Mapping[str, Column]) -> str:
    """What rows know without being asked for it, in per cent."""
    lines = [["row", *PROBES.values()]]
    return markdown(lines + [[name, *(_hundred(row, metric) for metric in PROBES)] for name, row in rows.items()])


def _hundred(row: Column, metric: str) -> str:
    """A share in per cent; nothing where this catalogue has none."""
    if metric not in row.metrics:
        return ""
    return cell(*(None if value is None else 100 * value for value in row.spread(metric)))


def _numbers(row: Column) -> list[str]:
    """The metrics without the intervals of one seed."""
    return [name for name in row.metrics.columns if not name.endswith((".low", ".high"))]


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
