"""Stage `pretrain SYSTEM`: build/patches/<kind> + build/words -> build/runs/<system>."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator

from fashionvl import checkpoint, config, losses, puzzles, training
from fashionvl.alignment import Aligned
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models.bert import start_from
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import Layout, Regions
from fashionvl.patches.store import OF_PICTURES, Store
from fashionvl.stages import machine, options, run
from fashionvl.stages.vectors import store_of
from fashionvl.tasks import pretrain, spoil
from fashionvl.tasks.acquaint import acquaint
from fashionvl.tasks.pairs import Chance, Shop
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
    words = Words.load(build / "words")
    store = store_of(row, words, build)
    weights = objectives_of(row, where, store.layout)
    _check_model(row.model, where, store.layout)
    sizes = sizes_of(row, words, store, list(weights))
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model = SingleStream(**sizes, dropout=row.model.dropout, checkpointing=row.training.checkpointing)
    corpora = [
        Corpus(phase.training, folder / f"phase-{number}", f"{name}, phase {number}", Path(phase.build))
        for number, phase in enumerate(row.phases, start=1)
    ]
    corpora.append(Corpus(row.training, folder, name, build))
    for number, corpus in enumerate(corpora):
        if corpus.build != build:
            of, vectors = Catalogue.load(corpus.build / "catalogue", catalogue.root), _alike(row, words, store, corpus)
        else:
            of, vectors = catalogue, store
        if len(vectors) != len(of.pictures):
            raise Problem(
                f"{corpus.build}/patches/{row.patches} is of another catalogue; run `dvc repro patches@{row.patches}`"
            )
        texts = words.encode(of.texts(settings.text.fields))
        aligned = aligned_of(row, corpus.build, len(vectors))
        desk = spoil.Desk(words, texts, vectors, list(weights), row.matched_only, aligned)
        shop = Shop.of(of, "train")
        if number == 0 and not training.goes_on(corpus.folder):
            _begin(model, row, desk, shop, chance=training.chance_of(settings.seed), name=name)
        _teach(model, row, desk, shop, weights, corpus, settings.seed, accelerator, stop_after)
        if training.steps_done(corpus.folder) < corpus.recipe.steps(len(shop.products)):
            break  # it was told to stop
    return model, sizes


@dataclass(frozen=True)
class Corpus:
    """What one phase of a training goes through: its recipe, its work folder, its name, the build folder it reads."""

    recipe: config.Training
    folder: Path
    name: str
    build: Path


def _teach(
    model: SingleStream,
    row: config.System,
    desk: spoil.Desk,
    shop: Shop,
    weights: dict[str, float],
    corpus: Corpus,
    seed: int,
    accelerator: Accelerator,
    stop_after: int | None,
) -> None:
    """Train on one corpus, or go on with it, or load what it ended with."""
    corpus.folder.mkdir(parents=True, exist_ok=True)
    training.train(
        model,
        draw=spoil.drawing(
            desk,
            shop,
            batch=corpus.recipe.batch,
            same_kind=row.negatives["same_subcategory"],
            tags=row.negatives.get("tags", 0.0),
            chance=training.chance_of(seed),
        ),
        losses=pretrain.losses_of,
        weights=weights,
        balance=losses.adaptive if row.weighting == "adaptive" else None,
        steps=corpus.recipe.steps(len(shop.products)),
        recipe=corpus.recipe,
        seed=seed,
        work=corpus.folder,
        name=corpus.name,
        accelerator=accelerator,
        stop_after=stop_after,
    )


def _alike(row: config.System, words: Words, store: Store, corpus: Corpus) -> Store:
    """The vectors of an earlier corpus; a Problem where they are not made as those of this catalogue are."""
    other = store_of(row, words, corpus.build)
    differs = sorted(
        key
        for key in {*store.manifest, *other.manifest} - set(OF_PICTURES)
        if store.manifest.get(key) != other.manifest.get(key)
    )
    if "words" in differs:
        raise Problem(
            f"{other.folder} and {store.folder} have visual words of their own, so that a class of one is another class"
            " of the other: phases need regions of one detector, by the row of `patches` that has `by: detector`"
        )
    if differs:
        raise Problem(
            f"{other.folder} was not made as {store.folder} was ({', '.join(differs)} differ): give both the same patch"
            " encoder (copy build/encoder, and build/detector where there is one) and the same row of `patches`, and"
            " run the stage `patches` there again"
        )
    return other


def _begin(model: SingleStream, row: config.System, desk: spoil.Desk, shop: Shop, *, chance: Chance, name: str) -> None:
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


def objectives_of(row: config.System, where: str, layout: Layout) -> dict[str, float]:
    """The losses that are on, with their weights; an unknown one, or one the patches cannot play, is a ConfigError."""
    for key in ("objectives", "matched_only"):
        unknown = sorted(set(getattr(row, key)) - set(spoil.OBJECTIVES))
        if unknown:
            raise config.ConfigError(
                f"params.yaml: {where}.{key} names {unknown[0]!r}; there are {list(spoil.OBJECTIVES)}"
            )
    weights = {name: row.objectives[name] for name in spoil.OBJECTIVES if row.objectives.get(name)}
    if not weights:
        raise config.ConfigError(f"params.yaml: {where}.objectives switches every loss off")
    if row.weighting == "adaptive" and len(weights) == 1:
        raise config.ConfigError(
            f"params.yaml: {where}.weighting is adaptive, which weighs losses beside each other, and there is but one"
        )
    played = puzzles.OF_REGIONS if isinstance(layout, Regions) else layout.puzzles
    lacking = [name for name in weights if name not in ("mlm", "itm", *played)]
    if lacking:
        raise config.ConfigError(
            f"params.yaml: {where}.objectives names {lacking[0]!r}, which its patches {row.patches!r} cannot"
            f" play: {layout.called} play {list(played)}"
        )
    return weights


def _check_model(model: config.SingleStream, where: str, layout: Layout) -> None:
    """The slot of the whole picture, as it stands with its background, is of regions."""
    if isinstance(layout, Regions):
        return
    asked = "glance" if model.glance else "streams" if model.streams == 2 else None
    if asked is not None:
        raise config.ConfigError(
            f"params.yaml: {where}.model.{asked} needs the whole picture in the first slot, which regions have"
        )


def sizes_of(row: config.System, words: Words, store: Store, objectives: list[str]) -> dict[str, Any]:
    """What SingleStream is built from, apart from how it is trained."""
    model = row.model
    sizes = {"width": model.width, "layers": model.layers, "heads": model.heads, "inner": model.inner}
    layout = store.layout
    seen: dict[str, Any] = (
        {"regions": {"most": layout.most, "names": list(layout.names)}, "tags": row.tags}
        if isinstance(layout, Regions)
        else {"grids": list(layout.sides)}
    )
    return {
        "vocabulary": words.vocabulary,
        "dim": store.dim,
        **sizes,
        "objectives": objectives,
        **seen,
        "meeting": model.meeting,
        "places": model.places,
        "streams": model.streams,
        "glance": model.glance,
    }


def inputs_of(row: config.System, build: Path) -> list[Path]:
    """The files and folders that a training reads."""
    read = [build / "words" / "tokenizer.json"]
    for folder in (build, *(Path(phase.build) for phase in row.phases)):
        read += [] if row.alignment == "none" else [alignment_file(row, folder)]
        read += [folder / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
        read.append(folder / "patches" / row.patches)
    return read


def work_folder(stage: str, item: str, row: config.System, settings: config.Params, build: Path, work: Path) -> Path:
    """The folder of one unfinished training; another when the row, the seed, the inputs or the code are others."""
    known_by = [settings.seed, asdict(settings.text), asdict(row)]
    mark = checkpoint.fingerprint(params=known_by, inputs=inputs_of(row, build))
    return checkpoint.work_folder(work, stage, item, mark)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("system", help="a row under `systems` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
