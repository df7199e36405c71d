"""Stage `contrast SYSTEM`: training pictures and texts -> build/runs/<system>, a dual encoder (InfoNCE)."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.two_towers import TwoTowers
from fashionvl.stages import machine, options, run
from fashionvl.stages.album import album, check, read
from fashionvl.tasks import contrast
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words, rarity_of

STORED = 1.25  # side of a stored picture over that of a seen one, so that crops lose little


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Train one dual encoder and put it on the shelf with its history.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    row = config.row(settings.contrast, system, "contrast")
    _check(row, system)
    folder = checkpoint.work_folder(work, "contrast", system, _mark(settings, row, build))
    print(f"run folder: {folder}", flush=True)
    catalogue, words = Catalogue.load(build / "catalogue", data), Words.load(build / "words")
    shop, desk = Shop.of(catalogue, "train"), _desk(catalogue, words, settings, row, folder)
    rarity = rarity_of(desk.ids[shop.products], vocabulary=words.vocabulary, never=words.special())
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model = TwoTowers(channels=row.channels, levels=1, width=row.width, rarity=rarity)
    accelerator = machine.accelerator()
    training.train(
        model,
        draw=contrast.drawing(desk, shop, batch=row.training.batch, chance=training.chance_of(settings.seed)),
        losses=contrast.losses_of,
        weights={"nce": 1.0},
        steps=row.training.steps(len(shop.products)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name=f"contrast {system}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        card = {"stage": "contrast", "item": system, "system": asdict(row), "vocabulary": words.vocabulary}
        machine.shelve(build / "runs" / system, folder, model, card)


def load(folder: Path) -> tuple[TwoTowers, config.Contrast]:
    """-> the trained model of a run folder, in eval mode, and the row it was trained by."""
    weights, card = checkpoint.load(folder)
    row = config.build(config.Contrast, card["system"], "system")
    rarity = torch.zeros(card["vocabulary"])  # comes with the weights
    model = TwoTowers(channels=row.channels, levels=1, width=row.width, rarity=rarity)
    model.load_state_dict(weights)
    return model.eval(), row


def scorer(
    folder: Path, catalogue: Catalogue, split: str, words: Words, settings: config.Params
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How a trained dual encoder scores pairs of one split.

    -> score(pictures (n,), products (n,)) -> (n,) float   cosines; indices of the catalogue
    """
    model, row = load(folder)
    accelerator = machine.accelerator()
    model.to(accelerator.device)
    pictures, products = catalogue.pictures_in(split), catalogue.in_split(split)
    paths = catalogue.pictures["path"].to_numpy()[pictures].tolist()
    height, width = row.pixels
    pixels = read(
        catalogue.root, paths, row.lock, size=(height, width), max_megapixels=settings.catalogue.max_megapixels
    )
    ids = words.encode(catalogue.texts(settings.text.fields)).ids[products]
    with accelerator.autocast():
        seen, said = contrast.embed_pictures(model, pixels), contrast.embed_texts(model, ids)
    return contrast.scorer(seen, pictures, said, products)


def _desk(
    catalogue: Catalogue, words: Words, settings: config.Params, row: config.Contrast, folder: Path
) -> contrast.Desk:
    height, width = row.pixels
    pixels = album(
        catalogue,
        catalogue.pictures_in("train"),
        row.lock,
        size=(round(STORED * height), round(STORED * width)),
        max_megapixels=settings.catalogue.max_megapixels,
        file=folder / "train.npy",
    )
    return contrast.Desk(
        pixels,
        words.encode(catalogue.texts(settings.text.fields)).ids,
        words.pad,
        torch.ones(1, dtype=torch.int64),
        height,
        width,
        row.augment.crop,
        row.augment.flip,
        row.augment.word_dropout,
    )


def _check(row: config.Contrast, system: str) -> None:
    check(row.lock)
    if len(row.pixels) != 2:
        raise config.ConfigError(f"params.yaml: contrast.{system}.pixels must be [height, width], not {row.pixels}")


def _mark(settings: config.Params, row: config.Contrast, build: Path) -> str:
    tables = [build / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
    known = [settings.seed, asdict(settings.text), asdict(row), settings.catalogue.max_megapixels]
    return checkpoint.fingerprint(params=known, inputs=[*tables, build / "words" / "tokenizer.json"])


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("system", help="a row under `contrast` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
