"""Stage `encoder`: pictures and texts of the training split -> build/encoder, the `scratch` patch encoder.

A few patches of a product's picture, one of every level, have to find its text among the others of the batch together
(InfoNCE against a bag of words). What is kept is the encoder alone; the rest served to teach it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from fashionvl import checkpoint, config, metrics, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.two_towers import TwoTowers
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.stages import machine, options, run
from fashionvl.stages.album import album, check
from fashionvl.tasks import contrast, retrieval
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words, rarity_of

STORED = 3  # side of a stored picture over that of a patch: level 3 loses nothing, finer levels a little
CALIBRATION = 256  # pictures


def main(
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Learn the encoder, calibrate it, measure it, and put it on the shelf.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    row = settings.encoder
    check(row.lock)
    folder = checkpoint.work_folder(work, "encoder", None, _mark(settings, build))
    print(f"run folder: {folder}", flush=True)
    catalogue, words = Catalogue.load(build / "catalogue", data), Words.load(build / "words")
    shop, desk = Shop.of(catalogue, "train"), desk_of(catalogue, "train", words, settings, folder)
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model = towers(row, words, desk.ids[shop.products])
    accelerator, chance = machine.accelerator(), training.chance_of(settings.seed)
    training.train(
        model,
        draw=contrast.drawing(desk, shop, batch=row.training.batch, chance=chance),
        losses=contrast.losses_of,
        weights={"nce": 1.0},
        steps=row.training.steps(len(shop.products)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name="encoder",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if not accelerator.is_main_process or stop_after is not None:
        return
    some = shop.first[shop.products[torch.randperm(len(shop.products), generator=chance(2))[:CALIBRATION]]]
    found = recalls(model, catalogue, desk_of(catalogue, "val", words, settings, folder), accelerator)
    encoder = model.pictures.encoder
    with accelerator.autocast():
        patches = contrast.clean_patches(desk.album, some, pixels=row.pixels)
        encoder.calibrate(patches.flatten(0, 1).to(accelerator.device))
    card = {"stage": "encoder", "architecture": "conv", "channels": row.channels, "pixels": row.pixels}
    machine.shelve(build / "encoder", folder, encoder, {**card, "encoder": asdict(row), "metrics": found})
    checkpoint.write_json(build / "metrics" / "encoder.json", checkpoint.read_card(build / "encoder")["metrics"])


def towers(row: config.Encoder, words: Words, texts: torch.Tensor) -> TwoTowers:
    """The towers that the encoder is learned in.

    texts (N, T) int64   the training texts
    """
    rarity = rarity_of(texts, vocabulary=words.vocabulary, never=words.special())
    return TwoTowers(channels=row.channels, levels=len(KALEIDO.levels), width=row.width, rarity=rarity)


def desk_of(catalogue: Catalogue, split: str, words: Words, settings: config.Params, folder: Path) -> contrast.Desk:
    """What questions about one split are made from; the pixels of its pictures are stored in `folder`."""
    row = settings.encoder
    side = STORED * row.pixels
    pixels = album(
        catalogue,
        catalogue.pictures_in(split),
        row.lock,
        size=(side, side),
        max_megapixels=settings.catalogue.max_megapixels,
        file=folder / f"{split}.npy",
    )
    return contrast.Desk(
        pixels,
        words.encode(catalogue.texts(settings.text.fields)).ids,
        words.pad,
        torch.tensor(KALEIDO.sides),
        row.pixels,
        row.pixels,
        row.augment.crop,
        row.augment.flip,
        row.augment.word_dropout,
    )


def recalls(model: TwoTowers, catalogue: Catalogue, desk: contrast.Desk, accelerator: Accelerator) -> dict[str, float]:
    """How well the towers find each other's products in the whole validation split; nothing where it is empty."""
    products = catalogue.in_split("val")
    if len(products) == 0:
        return {}
    with accelerator.autocast():
        pictures = contrast.embed_pyramids(model, desk.album, pixels=desk.height)
        texts = contrast.embed_texts(model, desk.ids[products])
    score = contrast.scorer(pictures, desk.album.pictures.numpy(), texts, products)
    ranks = retrieval.full_ranks(catalogue, "val", score, generator=np.random.default_rng(0))
    names = ranks.groupby("direction")["rank"]
    return {f"val.{direction}.R@1": metrics.recall(of.to_numpy(), 1) for direction, of in names}


def _mark(settings: config.Params, build: Path) -> str:
    tables = [build / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
    known: list[Any] = [
        settings.seed,
        asdict(settings.text),
        asdict(settings.encoder),
        settings.catalogue.max_megapixels,
    ]
    return checkpoint.fingerprint(params=known, inputs=[*tables, build / "words" / "tokenizer.json"])


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    run(lambda: main(**vars(parser.parse_args())))
