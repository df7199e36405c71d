"""Stage `ablation_tasks COLUMN-SEED`: build/ablations/COLUMN-SEED -> build/ablation_tasks/COLUMN-SEED.

The tasks of `ablation.tasks` (CR, SUB and FC of Table 4), each learned from the weights of one run and examined. Only
the training depends on the seed: every run is asked the very same questions. The weights of the tasks are not kept.
`comparison.COLUMN-SEED` is a run of the other study, from build/comparisons to build/comparison_tasks.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import ablation, courses, examine, finetune, machine, options, run

STAGE = "ablation_tasks"
TAUGHT = "taught"  # the weights, until they are examined


def main(
    item: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Teach and examine one run; a task that an earlier call has finished, from the same inputs, stays as it is.

    stop_after  leave after this many steps of the first task that is not finished, to go on later
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    column, seed = ablation.parts_of(item)
    row = config.column(settings, column)
    study, _ = config.of_study(column)
    evaluate, recipes = config.examined_by(settings, study, seed), config.taught_by(settings, study)
    asked = replace(settings, evaluate=evaluate, finetune=recipes)
    catalogue = Catalogue.load(build / "catalogue", data)
    start = ablation.folder_of(build, item)
    bench = courses.Bench.of(row, replace(asked, seed=seed), catalogue, build, start)
    out = ablation.folder_of(build, item, "_tasks")
    places = {}
    for task in taught_here(config.tasks_of(settings, study, seed), bench, item):
        mark = mark_of(task, bench, asked)
        places[task] = out / task
        if mark_in(out / task) == mark:
            continue
        places[task] = checkpoint.work_folder(work, STAGE, item, mark)
        if mark_in(places[task]) != mark:
            learn(task, bench, asked, places[task], work, item=item, mark=mark, stop_after=stop_after)
            if stop_after is not None:
                return
    if machine.accelerator().is_main_process:
        card = {"stage": STAGE, "item": item, "column": column, "seed": seed, "split": asked.evaluate.ranking_on}
        gather(out, places, {**card, **config.asked_of_tasks(settings, study, seed)})
        shutil.rmtree(work / f"{STAGE}-{item}", ignore_errors=True)


def taught_here(tasks: list[str], bench: courses.Bench, item: str) -> list[str]:
    """The tasks that this catalogue has answers for and that the system can learn; says which are left out and why."""
    reasons = {task: courses.why_not(bench.catalogue, bench.row, task, bench.settings) for task in tasks}
    for reason in filter(None, reasons.values()):
        print(f"{STAGE} {item}  {reason}: it is left out", flush=True)
    return [task for task in tasks if reasons[task] is None]


def mark_of(task: str, bench: courses.Bench, asked: config.Params) -> str:
    """The fingerprint of all that a task's numbers depend on."""
    recipe, seeds = config.recipe(asked, task), [bench.settings.seed, asked.seed]
    known_by = [task, seeds, asdict(asked.text), asdict(bench.row), asdict(recipe), asdict(asked.evaluate)]
    return checkpoint.fingerprint(params=known_by, inputs=bench.inputs())


def mark_in(place: Path) -> str | None:
    """The fingerprint of the finished task in a folder, None where there is none."""
    return checkpoint.read_card(place)["mark"] if (place / "card.json").exists() else None


def learn(
    task: str,
    bench: courses.Bench,
    asked: config.Params,
    place: Path,
    work: Path,
    *,
    item: str,
    mark: str,
    stop_after: int | None,
) -> None:
    """Teach one task by the settings of the bench, and examine it by `asked` -> what was found, in `place`."""
    accelerator = machine.accelerator()
    taught, name = place / TAUGHT, f"{item}-{task}"
    if not (taught / "card.json").exists():
        facts = {"stage": STAGE, "item": name}
        finetune.teach(task, bench, taught, work, facts=facts, accelerator=accelerator, stop_after=stop_after)
    if accelerator.is_main_process and stop_after is None:
        weights, card = checkpoint.load(taught)
        desk = replace(bench, settings=asked, start=taught, weights=weights, card=card)
        found = examine.EXAMS[task](desk, place, f"{STAGE} {name}")
        metrics = {key: round(value, 6) for key, value in found.items()}
        checkpoint.write_card(
            place, {"stage": STAGE, "item": name, "mark": mark, "steps": card["steps"], "metrics": metrics}
        )


def gather(out: Path, places: Mapping[str, Path], card: Mapping[str, Any]) -> None:
    """Bring the finished tasks together in `out`, a folder each, with one card of all their numbers.

    places  where each task was finished
    """
    out.mkdir(parents=True, exist_ok=True)
    steps: dict[str, int] = {}
    metrics: dict[str, float] = {}
    for task, place in places.items():
        found = checkpoint.read_card(place)
        steps[task] = found["steps"]
        metrics |= {f"{task}.{name}": value for name, value in found["metrics"].items()}
        if place != out / task:
            part = out / f"{task}.part"
            for folder in (part, out / task):
                shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(place, part, ignore=shutil.ignore_patterns(TAUGHT))
            part.rename(out / task)
    checkpoint.write_card(out, {**card, "steps": steps, "metrics": metrics})
    ends = ("both.accuracy", "mask_all.sumcap", "sampled.itr.R@1", "sampled.tir.R@1")
    shown = {name: value for name, value in metrics.items() if name.endswith(ends)}
    print(f"{STAGE} {out.name}  " + "  ".join(f"{name} {value:.3f}" for name, value in shown.items()), flush=True)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument(
        "item", metavar="column-seed", help="a column under `ablation.table` in params.yaml, and a seed"
    )
    run(lambda: main(**vars(parser.parse_args())))
