"""Stage `pretrain SYSTEM`: build/patches/<kind> + build/words -> build/runs/<system>."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator

from fashionvl import checkpoint, config, training
from fashionvl.alignment import Aligned
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models.bert import start_from
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import Pyramid
from fashionvl.patches.store import Store
from fashionvl.stages import machine, options, run
from fashionvl.tasks import pretrain
from fashionvl.tasks.acquaint import acquaint
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Train one system and put it on the shelf with its history.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    row = config.row(settings.systems, system, "systems")
    folder = work_folder("pretrain", system, row, settings, build, work)
    print(f"run folder: {folder}", flush=True)
    catalogue = Catalogue.load(build / "catalogue", data)
    accelerator = machine.accelerator()
    model, sizes = train_system(
        row,
        settings,
        catalogue,
        build,
        folder=folder,
        name=f"pretrain {system}",
        where=f"systems.{system}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        card = {"stage": "pretrain", "item": system, "system": asdict(row), "model": sizes}
        machine.shelve(build / "runs" / system, folder, model, card)


def train_system(
    row: config.System,
    settings: config.Params,
    catalogue: Catalogue,
    build: Path,
    *,
    folder: Path,
    name: str,
    where: str,
    accelerator: Accelerator,
    stop_after: int | None = None,
) -> tuple[SingleStream, dict[str, Any]]:
    """Train what a row says, by the seed of the settings -> the model, and what it is built from.

    folder  of the unfinished training: gets its checkpoints and history.jsonl, and a training in it goes on
    name    what lines of progress are headed with
    where   the row stands in params.yaml, for a sentence about what is wrong with it
    """
    words, store = Words.load(build / "words"), Store.open(build / "patches" / row.patches)
    if len(store) != len(catalogue.pictures):
        raise Problem(f"build/patches/{row.patches} is of another catalogue; run `dvc repro patches@{row.patches}`")
    weights = objectives_of(row, where, store.pyramid)
    sizes = sizes_of(row, words, store, list(weights))
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model = SingleStream(**sizes, dropout=row.model.dropout, checkpointing=row.training.checkpointing)
    texts, aligned = words.encode(catalogue.texts(settings.text.fields)), aligned_of(row, build, len(store))
    desk = pretrain.Desk(words, texts, store, list(weights), row.matched_only, aligned)
    shop = Shop.of(catalogue, "train")
    if not training.goes_on(folder):
        _begin(model, row, desk, shop, chance=training.chance_of(settings.seed), name=name)
    training.train(
        model,
        draw=pretrain.drawing(
            desk,
            shop,
            batch=row.training.batch,
            same_kind=row.negatives["same_subcategory"],
            chance=training.chance_of(settings.seed),
        ),
        losses=pretrain.losses_of,
        weights=weights,
        steps=row.training.steps(len(shop.products)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name=name,
        accelerator=accelerator,
        stop_after=stop_after,
    )
    return model, sizes


def _begin(
    model: SingleStream, row: config.System, desk: pretrain.Desk, shop: Shop, *, chance: pretrain.Chance, name: str
) -> None:
    """Give a new model the weights that its row starts from."""
    if row.model.start == "contrast":
        found = acquaint(model, desk, shop, chance=chance)
        print(f"{name}  words and patches are acquainted: InfoNCE {found[0]:.2f} -> {found[-1]:.2f}", flush=True)
    elif row.model.start:
        start_from(model, row.model.start)


def aligned_of(row: config.System, build: Path, pictures: int) -> Aligned:
    """The words and patches that guide what a row hides; of none where it hides at random."""
    if row.alignment == "none":
        return Aligned.none(pictures)
    file = alignment_file(row, build)
    if not file.exists():
        raise Problem(f"{file} does not exist; run the stage `align` (`dvc repro align@{row.patches}`)")
    return Aligned.of_table(pd.read_parquet(file), pictures=pictures)


def alignment_file(row: config.System, build: Path) -> Path:
    """The table of the stage `align` that a row reads."""
    return build / "alignment" / row.patches / f"{row.alignment}.parquet"


def objectives_of(row: config.System, where: str, pyramid: Pyramid) -> dict[str, float]:
    """The losses that are on, with their weights; an unknown one, or one the grids do not play, is a ConfigError."""
    unknown = sorted(set(row.objectives) - set(pretrain.OBJECTIVES))
    if unknown:
        raise config.ConfigError(
            f"params.yaml: {where}.objectives names {unknown[0]!r}; there are {list(pretrain.OBJECTIVES)}"
        )
    weights = {name: row.objectives[name] for name in pretrain.OBJECTIVES if row.objectives.get(name)}
    if not weights:
        raise config.ConfigError(f"params.yaml: {where}.objectives switches every loss off")
    lacking = [name for name in weights if name not in ("mlm", "itm", *pyramid.puzzles)]
    if lacking:
        raise config.ConfigError(
            f"params.yaml: {where}.objectives names {lacking[0]!r}, which its patches {row.patches!r} cannot"
            f" play: the grids {list(pyramid.sides)} play {list(pyramid.puzzles)}"
        )
    return weights


def sizes_of(row: config.System, words: Words, store: Store, objectives: list[str]) -> dict[str, Any]:
    """What SingleStream is built from, apart from how it is trained."""
    model = row.model
    sizes = {"width": model.width, "layers": model.layers, "heads": model.heads, "inner": model.inner}
    return {
        "vocabulary": words.vocabulary,
        "dim": store.dim,
        **sizes,
        "objectives": objectives,
        "grids": list(store.pyramid.sides),
        "meeting": model.meeting,
    }


def inputs_of(row: config.System, build: Path) -> list[Path]:
    """The files and folders that a training reads."""
    aligned = [] if row.alignment == "none" else [alignment_file(row, build)]
    return [
        *aligned,
        build / "catalogue" / "products.parquet",
        build / "catalogue" / "pictures.parquet",
        build / "words" / "tokenizer.json",
        build / "patches" / row.patches,
    ]


def work_folder(stage: str, item: str, row: config.System, settings: config.Params, build: Path, work: Path) -> Path:
    """The folder of one unfinished training; another when the row, the seed, the inputs or the code are others."""
    known_by = [settings.seed, asdict(settings.text), asdict(row)]
    mark = checkpoint.fingerprint(params=known_by, inputs=inputs_of(row, build))
    return checkpoint.work_folder(work, stage, item, mark)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("system", help="a row under `systems` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
