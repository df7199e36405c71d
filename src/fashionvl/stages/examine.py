"""Stage `examine SYSTEM-TASK`: build/finetuned/<system>-<task> -> build/evaluation/<system>-<task> and its metrics."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.single_stream import SingleStream
from fashionvl.stages import confusion, courses, evaluate, finetune, machine, options, run, scorers
from fashionvl.tasks import captioning as saying
from fashionvl.tasks import labels, marks, recognition

CAPTIONS_AT_ONCE = 256


def main(
    item: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Measure one system that was fine-tuned for one task."""
    began = time.monotonic()
    machine.keep_freed_memory()
    settings = config.load(params)
    system, task = finetune.parts_of(item)
    row = config.row(settings.systems, system, "systems")
    folder = build / "evaluation" / item
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lacking = checkpoint.read_card(build / "finetuned" / item).get("lacking")
    if lacking is not None:
        print(f"examine {item}  {lacking}: there is nothing to measure", flush=True)
        evaluate.publish({}, "examine", item, settings, folder, build, began)
        return
    catalogue = Catalogue.load(build / "catalogue", data)
    bench = courses.Bench.of(row, settings, catalogue, build, build / "finetuned" / item)
    found = EXAMS[task](bench, folder, f"examine {item}")
    evaluate.publish(found, "examine", item, settings, folder, build, began)


def retrieval(bench: courses.Bench, folder: Path, name: str) -> dict[str, float]:
    """Both protocols, both directions, on the lists that every system is asked."""
    model, accelerator = _model(bench)
    scorer = evaluate.pair_scorer(model, bench, accelerator, name)
    return evaluate.rank(bench.catalogue, bench.settings, scorer, folder)


def category(bench: courses.Bench, folder: Path, name: str, task: str = "category") -> dict[str, float]:
    """CR or SUB by each column; confidence is calibrated on the validation split."""
    model, accelerator = _model(bench)
    names, split, seed = bench.card["classes"], bench.settings.evaluate.ranking_on, bench.settings.seed
    answers = {task: torch.from_numpy(labels.answers(bench.catalogue, task, names))}
    desk = recognition.Desk(bench.words, bench.texts, bench.store, answers)
    asked = labels.rows_of(bench.catalogue, task, split)
    temperatures, scores = dict.fromkeys(recognition.COLUMNS, 1.0), {}
    known = bool((answers[task][torch.from_numpy(bench.catalogue.in_split("val"))] >= 0).any())
    held = labels.rows_of(bench.catalogue, task, "val") if known else None
    if held is None:
        print(f"{name}  no product of val is of a class that was learned: confidence is not calibrated", flush=True)
    say = lambda line: print(f"{name}  {line}", flush=True)  # noqa: E731
    with accelerator.autocast():
        for column in recognition.COLUMNS:
            if held is not None:
                of_held = recognition.predict(model, desk, held.picture, held.product, column, task=task, say=say)
                temperatures[column] = marks.temperature_of(held, of_held, names)
            scores[column] = recognition.predict(model, desk, asked.picture, asked.product, column, task=task, say=say)
    for label, rows in labels.never_learned(asked, names).items():
        print(f"{name}  {label!r} is not in the training split: its {rows} rows count as wrong", flush=True)
    lacking = labels.without_label(bench.catalogue, task, split)
    if lacking:
        print(f"{name}  {lacking} products of the split {split!r} have no {task} and are left out", flush=True)
    table = marks.table(asked, scores, names, temperatures)
    table.to_parquet(folder / "predictions.parquet", index=False)
    confusion.draw(table["true"].tolist(), table["said_both"].tolist(), title=task).save(folder / "confusion.png")
    chance = np.random.default_rng(training.seed_of(seed, 9))
    return marks.marks_of_scores(asked, scores, names, temperatures, generator=chance)


def captioning(bench: courses.Bench, folder: Path, name: str) -> dict[str, float]:
    """FC on the first picture of every product of the split, whole, in each mode that was learned."""
    model, accelerator = _model(bench)
    recipe, split = bench.settings.finetune.captioning, bench.settings.evaluate.ranking_on
    products = bench.catalogue.in_split(split)
    pictures = bench.catalogue.first_pictures()[products]
    texts = bench.catalogue.texts(bench.settings.text.fields)
    reference = [texts[product] for product in products]
    tables: list[pd.DataFrame] = []
    found: dict[str, float] = {}
    for mode in bench.card["recipe"]["modes"]:
        said: list[str] = []
        for at in range(0, len(pictures), CAPTIONS_AT_ONCE):
            seen = bench.store.pictures(pictures[at : at + CAPTIONS_AT_ONCE])
            with accelerator.autocast():
                said += saying.caption(model, bench.words, seen, mode=mode, beam=recipe.beam, longest=recipe.longest)
            print(f"{name}  {mode}  {len(said)}/{len(pictures)} captions", flush=True)
        scores = scorers.score(said, reference)
        if scores is None:
            print(f"{name}  {scorers.why_not()}", flush=True)
        found |= {f"{mode}.{what}": value for what, value in (scores or {}).items()}
        columns = {"product": products, "picture": pictures, "mode": mode, "said": said, "reference": reference}
        tables.append(pd.DataFrame(columns))
    pd.concat(tables, ignore_index=True).to_parquet(folder / "captions.parquet", index=False)
    return found


EXAMS: dict[str, Callable[[courses.Bench, Path, str], dict[str, float]]] = {
    "retrieval": retrieval,
    "category": category,
    "sub_category": partial(category, task="sub_category"),
    "captioning": captioning,
}


def _model(bench: courses.Bench) -> tuple[SingleStream, Accelerator]:
    accelerator = machine.accelerator()
    model = SingleStream(**bench.sizes, dropout=0.0)
    model.load_state_dict(bench.weights)
    return model.to(accelerator.device).eval(), accelerator


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument(
        "item", metavar="system-task", help="a row under `systems` in params.yaml, and one under `finetune`"
    )
    run(lambda: main(**vars(parser.parse_args())))
