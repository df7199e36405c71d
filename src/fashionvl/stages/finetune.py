"""Stage `finetune SYSTEM-TASK`: build/runs/<system> -> build/finetuned/<system>-<task> (Kaleido-BERT, section 4)."""

from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.stages import courses, machine, options, run


def main(
    item: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Train one system for one task, from its pre-trained weights, and put it on the shelf.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    system, task = parts_of(item)
    row = config.row(settings.systems, system, "systems")
    catalogue, out = Catalogue.load(build / "catalogue", data), build / "finetuned" / item
    facts = {"stage": "finetune", "item": item, "system": system}
    reason = courses.why_not(catalogue, row, task, settings)
    if reason is not None:
        print(f"finetune {item}  {reason}: it is not learned", flush=True)
        shelve_nothing(out, {**facts, "task": task, "lacking": reason})
        return
    accelerator = machine.accelerator()
    teach(
        task,
        courses.Bench.of(row, settings, catalogue, build, build / "runs" / system),
        out,
        work,
        facts=facts,
        accelerator=accelerator,
        stop_after=stop_after,
    )


def teach(
    task: str,
    bench: courses.Bench,
    out: Path,
    work: Path,
    *,
    facts: dict[str, str],
    accelerator: Accelerator,
    stop_after: int | None = None,
) -> None:
    """Train for one task from the weights that a bench starts from, and shelve the result in `out`; `facts` open its
    card."""
    settings, recipe = bench.settings, config.recipe(bench.settings, task)
    known_by = [settings.seed, asdict(settings.text), asdict(bench.row), asdict(recipe)]
    mark = checkpoint.fingerprint(params=known_by, inputs=bench.inputs())
    folder = checkpoint.work_folder(work, facts["stage"], facts["item"], mark)
    print(f"run folder: {folder}", flush=True)
    course = courses.COURSES[task](bench, recipe)
    if not training.goes_on(folder):
        course.begin()
    training.train(
        course.model,
        draw=course.draw,
        losses=course.losses,
        weights=course.weights,
        steps=recipe.training.steps(course.taught),
        recipe=recipe.training,
        seed=settings.seed,
        work=folder,
        name=f"{facts['stage']} {facts['item']}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        more = course.finish(accelerator)
        card = {**facts, "task": task, "patches": bench.row.patches, "recipe": asdict(recipe), "model": course.sizes}
        machine.shelve(out, folder, course.model, {**card, **course.facts, **more})


def shelve_nothing(out: Path, card: dict[str, str]) -> None:
    """Leave the files of a training that there was nothing for, without weights and without a step."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "history.jsonl").write_text("")
    (out / "curves.csv").write_text("step,loss\n")
    checkpoint.save(out, {}, {**card, "metrics": {}})


def parts_of(item: str) -> tuple[str, str]:
    """The system and the task of an item: kaleido-sub_category -> kaleido, sub_category."""
    system, _, task = item.rpartition("-")
    if task not in courses.COURSES or not system:
        raise config.ConfigError(f"{item!r} is no SYSTEM-TASK; a task is one of {list(courses.COURSES)}")
    return system, task


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument(
        "item", metavar="system-task", help="a row under `systems` in params.yaml, and one under `finetune`"
    )
    run(lambda: main(**vars(parser.parse_args())))
