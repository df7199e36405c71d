"""Stage `contrast SYSTEM`: training pictures and texts -> build/runs/<system>, a dual encoder (InfoNCE)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.two_towers import TwoTowers
from fashionvl.stages import machine, options, run
from fashionvl.stages.album import album, check, opened, pixels_of
from fashionvl.tasks import contrast
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words, rarity_of

STORED = 1.25  # side of a stored picture over that of a seen one, so that crops lose little
AT_ONCE = 512  # pictures in memory while a catalogue is embedded


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
    folder = work_folder("contrast", system, row, settings, build, work)
    print(f"run folder: {folder}", flush=True)
    catalogue, accelerator = Catalogue.load(build / "catalogue", data), machine.accelerator()
    model, facts = teach(
        row,
        settings,
        catalogue,
        build,
        folder=folder,
        name=f"contrast {system}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        machine.shelve(build / "runs" / system, folder, model, {"stage": "contrast", "item": system, **facts})


def teach(
    row: config.Contrast,
    settings: config.Params,
    catalogue: Catalogue,
    build: Path,
    *,
    folder: Path,
    name: str,
    accelerator: Accelerator,
    stop_after: int | None = None,
) -> tuple[TwoTowers, dict[str, Any]]:
    """Train the model of a row in its work folder; `name` heads what is said of its progress.

    -> the model, and what its card must say for `load` to make it again
    """
    check(row.lock)
    if len(row.pixels) != 2:
        raise config.ConfigError(f"params.yaml: the pixels of {name} must be [height, width], not {row.pixels}")
    words, shop = Words.load(build / "words"), Shop.of(catalogue, "train")
    ids = words.encode(catalogue.texts(settings.text.fields)).ids
    height, width = row.pixels
    desk = desk_of(catalogue, ids, words.pad, (height, width), row, settings, folder)
    rarity = rarity_of(ids[shop.products], vocabulary=words.vocabulary, never=words.special())
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model = TwoTowers(channels=row.channels, levels=1, width=row.width, rarity=rarity)
    training.train(
        model,
        draw=contrast.drawing(desk, shop, batch=row.training.batch, chance=training.chance_of(settings.seed)),
        losses=contrast.losses_of,
        weights={"nce": 1.0},
        steps=row.training.steps(len(shop.products)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name=name,
        accelerator=accelerator,
        stop_after=stop_after,
    )
    return model, {"system": asdict(row), "vocabulary": words.vocabulary}


def source_of(row: config.Contrast, settings: config.Params, build: Path) -> str:
    """Where the tokenizer of a row is."""
    return str(build / "words")


def load(folder: Path) -> tuple[TwoTowers, config.Contrast]:
    """-> the trained model of a run folder, in eval mode, and the row it was trained by."""
    weights, card = checkpoint.load(folder)
    row = config.build(config.Contrast, card["system"], "system")
    rarity = torch.zeros(card["vocabulary"])  # comes with the weights
    model = TwoTowers(channels=row.channels, levels=1, width=row.width, rarity=rarity)
    model.load_state_dict(weights)
    return model.eval(), row


def dual(
    model: TwoTowers, row: config.Contrast, words: str, settings: config.Params, accelerator: Accelerator
) -> contrast.Dual:
    """How a model is used that lies on its device; `words` is the folder of the tokenizer it learned with."""
    cut, (height, width) = Words.load(Path(words)), row.pixels

    def say(texts: Sequence[str]) -> Tensor:
        with accelerator.autocast():
            return contrast.embed_texts(model, cut.encode(texts).ids)

    def embed(pixels: Tensor) -> Tensor:
        return contrast.embed_pictures(model, pixels)

    see, look = eyes(embed, partial(pixels_of, lock=row.lock, size=(height, width)), settings, accelerator)
    return contrast.Dual(see, say, look)


def eyes(
    embed: Callable[[Tensor], Tensor],
    pixels_of: Callable[[Image], NDArray[np.uint8]],
    settings: config.Params,
    accelerator: Accelerator,
) -> tuple[Callable[[Path, Sequence[str]], Tensor], Callable[[Sequence[Image]], Tensor]]:
    """How files, and opened pictures, are seen by what embeds pixels, (n, H, W, 3) uint8 -> (n, C).

    pixels_of  an opened picture -> (H, W, 3) uint8
    -> see, look   as a Dual has them
    """

    def embedded(pixels: NDArray[np.uint8]) -> Tensor:
        with accelerator.autocast():
            return embed(torch.from_numpy(pixels))

    def see(root: Path, paths: Sequence[str]) -> Tensor:
        most = settings.catalogue.max_megapixels
        parts = (paths[at : at + AT_ONCE] for at in range(0, len(paths), AT_ONCE))
        return torch.cat([embedded(opened(root, some, pixels_of, max_megapixels=most)) for some in parts])

    def look(pictures: Sequence[Image]) -> Tensor:
        return embedded(np.stack([pixels_of(picture) for picture in pictures]))

    return see, look


def desk_of(
    catalogue: Catalogue,
    ids: Tensor,
    pad: int,
    size: tuple[int, int],
    row: config.Contrast | config.Clip,
    settings: config.Params,
    folder: Path,
) -> contrast.Desk:
    """What questions of whole pictures are made from.

    ids   (N, T) int64   the text of every product of the catalogue
    size  height, width of a picture as it is seen
    """
    height, width = size
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
        ids,
        pad,
        torch.ones(1, dtype=torch.int64),
        height,
        width,
        row.augment.crop,
        row.augment.flip,
        row.augment.word_dropout,
    )


def work_folder(
    stage: str,
    item: str,
    row: config.Contrast | config.Clip,
    settings: config.Params,
    build: Path,
    work: Path,
    *,
    more: tuple[Any, ...] = (),
    files: tuple[Path, ...] = (),
) -> Path:
    """The folder of unfinished work that is of this row, seed and catalogue alone.

    more, files  parameters and inputs that it depends on beside them
    """
    known = [settings.seed, asdict(settings.text), asdict(row), settings.catalogue.max_megapixels, *more]
    mark = checkpoint.fingerprint(params=known, inputs=[*inputs_of(build), *files])
    return checkpoint.work_folder(work, stage, item, mark)


def inputs_of(build: Path) -> list[Path]:
    """The files that a dual encoder learns from, beside the pictures."""
    tables = [build / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
    return [*tables, build / "words" / "tokenizer.json"]


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("system", help="a row under `contrast` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
