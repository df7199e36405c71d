"""Stage `clip SYSTEM`: training pictures and texts -> build/runs/<system>, a row of CLIP's family with its words.

CLIP, FLIP, FLIP-Attn and Cluster Masking (CVPR 2024) differ in what of the pictures is hidden in training
(tasks/hiding.py), and in nothing else.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
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
from fashionvl.models import clip_files
from fashionvl.models.clip import Clip, ConvStem
from fashionvl.models.pre_norm import Sizes
from fashionvl.stages import contrast, machine, options, run
from fashionvl.stages.album import check, pixels_of
from fashionvl.stages.contrast import desk_of, eyes
from fashionvl.tasks import clip
from fashionvl.tasks.apart import joined
from fashionvl.tasks.contrast import Dual
from fashionvl.tasks.hiding import Hiding, find_threshold
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words, rarity_of

SEARCHED = 2048  # pictures that a threshold is searched over
WORDS = "words"  # the folder of a run that holds its tokenizer


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Train one row and put it on the shelf with its history and its words.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    row = config.row(settings.clip, system, "clip")
    folder = work_folder("clip", system, row, settings, build, work)
    print(f"run folder: {folder}", flush=True)
    catalogue, accelerator = Catalogue.load(build / "catalogue", data), machine.accelerator()
    model, facts = teach(
        row,
        settings,
        catalogue,
        build,
        folder=folder,
        name=f"clip {system}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        out = build / "runs" / system
        clip_files.save_words(source_of(row, settings, build), out / WORDS)
        machine.shelve(out, folder, model, {"stage": "clip", "item": system, **facts})


def teach(
    row: config.Clip,
    settings: config.Params,
    catalogue: Catalogue,
    build: Path,
    *,
    folder: Path,
    name: str,
    accelerator: Accelerator,
    stop_after: int | None = None,
) -> tuple[Clip, dict[str, Any]]:
    """Train the model of a row in its work folder; `name` heads what is said of its progress.

    -> the model, and what its card must say for `load` to make it again, and how it hid
    """
    check(row.lock)
    hiding = config.build(Hiding, row.hiding, f"{name}: hiding")
    shop = Shop.of(catalogue, "train")
    torch.manual_seed(training.seed_of(settings.seed, 0))
    model, ids, pad, silent = _begin(row, settings, catalogue, shop, build)
    if row.at_once is not None and isinstance(model.pictures.stem, ConvStem):
        raise config.ConfigError(
            f"params.yaml: {name} cannot embed {row.at_once} rows at a time: the norms of its convolutional stem are"
            " those of a whole batch; make at_once null, or take towers without channels"
        )
    shop = replace(shop, group=joined(shop.group, ids, without=silent))
    steps = row.training.steps(len(shop.products))
    seen = desk_of(catalogue, ids, pad, model.pixels, row, settings, folder)
    desk = clip.Desk(seen, model.texts.end, model.pictures.patches, steps)
    draw = clip.drawing(desk, shop, batch=row.training.batch, chance=training.chance_of(settings.seed))
    model.to(accelerator.device)
    count = -(-SEARCHED // min(row.training.batch, len(shop.products)))
    first = (draw(step, 0, 1).to(accelerator.device) for step in range(count))
    hiding = _with_threshold(hiding, model, first, folder, name)
    training.train(
        model,
        draw=draw,
        losses=partial(clip.losses_of, hiding=hiding, at_once=row.at_once),
        weights=clip.WEIGHTS,
        steps=steps,
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name=name,
        accelerator=accelerator,
        stop_after=stop_after,
    )
    return model, {"system": asdict(row), "model": model.sizes, "hiding": asdict(hiding)}


def source_of(row: config.Clip, settings: config.Params, build: Path) -> str:
    """Where the tokenizer of a row comes from: its checkpoint, or the stage `words`."""
    return config.row(settings.towers, row.towers, "towers").start or str(build / "words")


def _begin(
    row: config.Clip, settings: config.Params, catalogue: Catalogue, shop: Shop, build: Path
) -> tuple[Clip, Tensor, int, list[int]]:
    """-> the model before training; the text of every product (N, T) int64; padding; pieces that say nothing"""
    towers, texts = config.row(settings.towers, row.towers, "towers"), catalogue.texts(settings.text.fields)
    if towers.start is not None:
        model = clip_files.load(towers.start)
        ids = clip_files.encode(towers.start, texts, model)
        end = model.texts.end
        return model, ids, end, [end]  # what is behind the end is never looked at
    words = Words.load(build / "words")
    ids = words.encode(texts).ids
    rarity = rarity_of(ids[shop.products], vocabulary=words.vocabulary, never=words.special())
    assert towers.sizes is not None
    about = {"vocabulary": words.vocabulary, "slots": words.slots, "end": words.id_of("[SEP]")}
    return made({**asdict(towers.sizes), **about}, rarity=rarity), ids, words.pad, words.special()


def made(sizes: dict[str, Any], *, rarity: Tensor | None = None) -> Clip:
    """A model with new weights.

    sizes   as `Clip.sizes` has them
    rarity  (V,) float   for a model with means; None where its weights come later
    """
    asked = dict(sizes)
    if asked.pop("means"):
        asked["rarity"] = torch.zeros(sizes["vocabulary"]) if rarity is None else rarity
    towers = {name: Sizes(**sizes[name]) for name in ("picture", "text")}
    return Clip(**asked | towers | {"pixels": tuple(sizes["pixels"])})


def load(folder: Path) -> tuple[Clip, config.Clip]:
    """-> the trained model of a run folder, in eval mode, and the row it was trained by."""
    weights, card = checkpoint.load(folder)
    model = made(card["model"])
    model.load_state_dict(weights)
    return model.eval(), config.build(config.Clip, card["system"], "system")


def dual(model: Clip, row: config.Clip, words: str, settings: config.Params, accelerator: Accelerator) -> Dual:
    """How a model is used that lies on its device; `words` is the folder or name of the tokenizer it learned with."""
    return used(model, words, partial(pixels_of, lock=row.lock, size=model.pixels), settings, accelerator)


def used(
    model: Clip,
    words: str,
    pixels_of: Callable[[Image], NDArray[np.uint8]],
    settings: config.Params,
    accelerator: Accelerator,
) -> Dual:
    """`dual` for pictures that are brought to size in another way: opened -> (H, W, 3) uint8."""
    cut = clip_files.cutter(words, model)

    def say(texts: Sequence[str]) -> Tensor:
        with accelerator.autocast():
            return clip.embed_texts(model, cut(texts))

    see, look = eyes(lambda pixels: clip.embed_pictures(model, pixels), pixels_of, settings, accelerator)
    return Dual(see, say, look)


def _with_threshold(hiding: Hiding, model: Clip, questions: Iterator[clip.Question], folder: Path, name: str) -> Hiding:
    """With the threshold for pixels as training will see them; it stays in the work folder for what goes on there."""
    if hiding.by != "pixels" or hiding.threshold is not None:
        return hiding
    file = folder / "threshold.json"
    if not file.exists():
        found = find_threshold(model, ((each.pictures, each.luck) for each in questions), hiding)
        print(f"{name}  patches above {found.threshold:.3f} hide {100 * found.ratio:.1f} %", flush=True)
        checkpoint.write_json(file, asdict(found))
    return replace(hiding, threshold=json.loads(file.read_text(encoding="utf-8"))["threshold"])


def work_folder(stage: str, item: str, row: config.Clip, settings: config.Params, build: Path, work: Path) -> Path:
    """The folder of unfinished work that is of this row, seed and catalogue alone."""
    towers = config.row(settings.towers, row.towers, "towers")
    files = (Path(towers.start),) if towers.start and Path(towers.start).is_dir() else ()
    return contrast.work_folder(stage, item, row, settings, build, work, more=(asdict(towers),), files=files)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("system", help="a row under `clip` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
