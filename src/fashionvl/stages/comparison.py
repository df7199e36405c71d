"""Stage `comparison`: build/comparisons and build/comparison_tasks -> build/metrics/comparisons.json and .md.

The systems of `comparison.columns` side by side: pre-trained for the same time, ranked by the head as it came out
where a system has one, then fine-tuned and ranked again, and taught categories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config
from fashionvl.stages import compare, options, run
from fashionvl.stages.ablation_table import cell, gained_over, markdown
from fashionvl.stages.ablations import found_at_tasks, metrics_of, ranks_of
from fashionvl.stages.pages import published

WAYS = {"itr": "p -> t", "tir": "t -> p"}
HEAD = {f"head.sampled.{way}.R@1": f"R@1 {said}" for way, said in WAYS.items()}
RECALLS = {
    of: {f"retrieval.{of}.{way}.R@{at}": f"R@{at} {said}" for way, said in WAYS.items() for at in (1, 5, 10)}
    for of in ("sampled", "full")
}
CLASSES = {
    f"{task}.{column}.accuracy": f"{said} {column}"
    for task, said in (("category", "CR"), ("sub_category", "SUB"))
    for column in ("both", "image")
}
SUM = "retrieval.sampled.SumR"


@dataclass(frozen=True)
class Rival:
    """All runs of one system.

    metrics  one row a seed, one column a number; those of the pre-trained head begin with `head.`
    ranks    of the fine-tuned runs, each seed with draws of its own; None where retrieval is not learned
    """

    metrics: pd.DataFrame
    ranks: pd.DataFrame | None

    def spread(self, metric: str, times: float = 100.0) -> str:
        """The mean of a metric and its standard deviation over the seeds that have it; nothing where none has."""
        values = self.metrics.get(metric, pd.Series(dtype=float)).dropna()
        if values.empty:
            return ""
        return cell(times * float(values.mean()), times * float(values.std()) if len(values) > 1 else None)


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Gather every run that params.yaml lists; a missing one is a Problem."""
    settings = config.load(params)
    asked = settings.comparison
    rivals = {name: rival(name, settings, build) for name in asked.columns}
    gains = {name: gained(rivals, name, asked.base, settings.seed) for name in rivals if name != asked.base}
    numbers = {name: means(found) for name, found in rivals.items()}
    against = {f"{name} - {asked.base}": gain for name, gain in gains.items() if gain}
    checkpoint.write_json(build / "metrics" / "comparisons.json", {**numbers, **against})
    ranked = config.ranked_by(settings, "comparison")
    heading = (
        f"Split {ranked.ranking_on}, sampled-{ranked.candidates + 1}, seeds {asked.seeds}, mean ± standard deviation"
        f" over seeds; of {', '.join(once(settings)) or 'no task'} the first seed alone."
    )
    parts = [heading, trained(rivals), *(recalls(rivals, protocol) for protocol in RECALLS)]
    parts += [differences(gains, asked.base), classes(rivals), order(rivals)]
    text = "\n\n".join(filter(None, parts))
    (build / "metrics" / "comparisons.md").write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def once(settings: config.Params) -> list[str]:
    """What is asked of the first seed alone: tasks, and where lists are enough for the others the full gallery."""
    asked = settings.comparison
    first, others = config.examined_by(settings, "comparison", asked.seeds[0]), config.ranked_by(settings, "comparison")
    more = first.full_gallery_pairs > others.full_gallery_pairs
    return [*asked.once, *(["the full gallery"] if more else [])]


def rival(name: str, settings: config.Params, build: Path) -> Rival:
    """The cards and ranks of one system, of every seed."""
    rows, tasks = [], []
    for seed in settings.comparison.seeds:
        run_name, asked = f"{name}-{seed}", config.asked_of_tasks(settings, "comparison", seed)
        taught = metrics_of(build / "comparisons" / run_name)
        tasks.append(build / "comparison_tasks" / run_name)
        learned = found_at_tasks(tasks[-1], f"comparison.{run_name}", asked)
        rows.append({f"head.{key}": value for key, value in taught.items()} | learned)
    ranked = "retrieval" in settings.comparison.tasks
    return Rival(pd.DataFrame(rows), ranks_of(each / "retrieval" for each in tasks) if ranked else None)


def gained(rivals: Mapping[str, Rival], name: str, base: str, seed: int) -> dict[str, list[float]]:
    """What a system has over the base when both are fine-tuned, in points of a hundred, all seeds together."""
    one, other = rivals[name].ranks, rivals[base].ranks if base in rivals else None
    if one is None or other is None:
        return {}
    return compare.paired(one, other, seed, f"{name} and {base}")


def means(found: Rival) -> dict[str, float]:
    """Every number of a system, the mean over its seeds."""
    names = [name for name in map(str, found.metrics.columns) if not name.endswith((".low", ".high"))]
    values = {name: float(found.metrics[name].mean()) for name in names}
    return {name: round(value, 6) for name, value in values.items() if not np.isnan(value)}


def trained(rivals: Mapping[str, Rival]) -> str:
    """How long each was pre-trained, and how well its head ranks without being fine-tuned."""
    lines = [["system", "steps", "min", *(f"pre-trained head, {said}" for said in HEAD.values())]]
    for name, found in rivals.items():
        steps, seconds = (found.metrics[f"head.{what}"].mean() for what in ("steps", "training_seconds"))
        heads = [found.spread(metric) or "no matching head" for metric in HEAD]
        lines.append([name, f"{steps:.0f}", f"{seconds / 60:.1f}", *heads])
    return markdown(lines)


def recalls(rivals: Mapping[str, Rival], protocol: str) -> str:
    """One line a system, fine-tuned for retrieval; nothing where no run has this protocol."""
    cells = RECALLS[protocol]
    if not any(metric in found.metrics for found in rivals.values() for metric in cells):
        return ""
    lines = [[f"{protocol}, fine-tuned", *cells.values(), "SumR"]]
    for name, found in rivals.items():
        total = found.spread(f"retrieval.{protocol}.SumR", 1.0)
        lines.append([name, *(found.spread(metric) for metric in cells), total])
    return markdown(lines)


def differences(gains: Mapping[str, Mapping[str, list[float]]], base: str) -> str:
    """What each has over the base, paired over all seeds, with 95 % intervals."""
    names = {f"{protocol}.{way}.R@1": f"{protocol} R@1 {said}" for protocol in RECALLS for way, said in WAYS.items()}
    return gained_over(gains, base, names, of="system") if any(gains.values()) else ""


def classes(rivals: Mapping[str, Rival]) -> str:
    """Accuracy at categories and sub-categories; nothing where none was taught."""
    if not any(metric in found.metrics for found in rivals.values() for metric in CLASSES):
        return ""
    lines = [["system", *CLASSES.values()]]
    return markdown(lines + [[name, *(found.spread(metric) for metric in CLASSES)] for name, found in rivals.items()])


def order(rivals: Mapping[str, Rival]) -> str:
    """The systems by SumR of the fine-tuned runs, beside the paper's order."""
    sums = {name: found.metrics[SUM].mean() for name, found in rivals.items() if SUM in found.metrics}
    if not sums:
        return ""
    ours = " > ".join(sorted(sums, key=lambda name: -sums[name]))
    printed = {name: published.sum_of_recalls(said) for name, said in published.ROWS.items() if name in sums}
    theirs = " > ".join(sorted(printed, key=lambda name: -printed[name]))
    return f"By SumR (sampled, fine-tuned): {ours}. As published: {theirs}."


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
