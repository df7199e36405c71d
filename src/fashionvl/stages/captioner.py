"""Stage `captioner`: pictures and texts of the training split -> build/captioner (Show, Attend and Tell; AAG, 3.3).

The patch encoder's feature map is frozen and made once; what is learned is where to look and what to say. The captions
of the validation split and their scores lie beside the weights.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.captioner import Captioner
from fashionvl.stages import machine, options, run, scorers
from fashionvl.stages.album import check, read
from fashionvl.stages.encoders import load_encoder
from fashionvl.tasks import describe
from fashionvl.tasks.describe import Described, Lexicon, Maps
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Words

PICTURES_AT_ONCE = 64
REPORT_SECONDS = 5.0


def main(
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Learn to describe, describe the validation split, and put the captioner on the shelf.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    row = settings.captioner
    check(row.lock)
    folder = checkpoint.work_folder(work, "captioner", None, _mark(settings, build))
    print(f"run folder: {folder}", flush=True)
    catalogue, words = Catalogue.load(build / "catalogue", data), Words.load(build / "words")
    spoken = words.whole_words(catalogue.texts(settings.text.fields))
    shop = Shop.of(catalogue, "train")
    lexicon = Lexicon.of((spoken[product] for product in shop.products.tolist()), least=row.least)
    captions = lexicon.encode(spoken, longest=row.longest)
    maps = maps_of(catalogue, catalogue.pictures_in("train"), settings, build, folder / "train.npy")
    torch.manual_seed(training.seed_of(settings.seed, 0))
    side = math.isqrt(maps.cells.shape[1])
    if row.block < 1 or side % row.block:
        raise config.ConfigError(
            f"params.yaml: captioner.block is {row.block}, and must divide the {side} cells along a side of the map"
        )
    sizes = {"vocabulary": len(lexicon.words), "dim": maps.cells.shape[2], "side": side, "block": row.block}
    model = Captioner(**sizes, width=row.width, dropout=row.dropout)
    accelerator = machine.accelerator()
    training.train(
        model,
        draw=describe.drawing(maps, captions, shop, batch=row.training.batch, chance=training.chance_of(settings.seed)),
        losses=describe.losses_of,
        weights={"words": 1.0, "spread": row.spread, "shown": row.shown},
        steps=row.training.steps(len(shop.products)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name="captioner",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if not accelerator.is_main_process or stop_after is not None:
        return
    out = build / "captioner"
    held = maps_of(catalogue, catalogue.pictures_in("val"), settings, build, folder / "val.npy")
    with accelerator.autocast():
        metrics, table = examine(model, lexicon, held, captions, catalogue, spoken, row)
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "captions.parquet", index=False)
    card = {"stage": "captioner", "lexicon": lexicon.words, "sizes": sizes, "captioner": asdict(row)}
    machine.shelve(out, folder, model, {**card, "scorer": scorers.SCORER, "metrics": metrics})
    checkpoint.write_json(build / "metrics" / "captioner.json", checkpoint.read_card(out)["metrics"])


def examine(
    model: Captioner,
    lexicon: Lexicon,
    maps: Maps,
    captions: Tensor,
    catalogue: Catalogue,
    spoken: list[list[str]],
    row: config.Captioner,
) -> tuple[dict[str, float], pd.DataFrame]:
    """What the captioner makes of the first picture of every validation product -> its figures, and its captions."""
    products = torch.from_numpy(catalogue.in_split("val"))
    pictures = torch.from_numpy(catalogue.first_pictures())[products]
    parts = list(zip(pictures.split(PICTURES_AT_ONCE), products.split(PICTURES_AT_ONCE), strict=True))
    found = describe.examine(model, (describe.ask(maps, captions, *part) for part in parts))
    said = [
        " ".join(words)
        for some, _ in parts
        for words in describe.describe(
            model, lexicon, maps.of(some).to(model.bias.device), longest=row.longest, beam=row.beam, heat="attention"
        ).words
    ]
    reference = [" ".join(spoken[product]) for product in products.tolist()]
    scores = scorers.score(said, reference)
    if scores is None:
        print(f"captioner  {scorers.why_not()}", flush=True)
    metrics = {f"val.{name}": round(value, 6) for name, value in {**found, **(scores or {})}.items()}
    columns = {"product": products.numpy(), "picture": pictures.numpy(), "said": said, "reference": reference}
    return metrics, pd.DataFrame(columns)


def described(
    catalogue: Catalogue, pictures: NDArray[np.int64], settings: config.Params, build: Path
) -> Iterator[tuple[NDArray[np.int64], dict[str, Described]]]:
    """What the trained captioner says of pictures (the source `caption`), and is told of them (the source `teacher`).

    -> chunk by chunk: the pictures; by source, the words of each and where the captioner looked
    """
    heat = settings.alignment.heat
    if heat not in describe.HEATS:
        raise config.ConfigError(f"params.yaml: alignment.heat must be one of {list(describe.HEATS)}, not {heat!r}")
    weights, card = checkpoint.load(build / "captioner")
    row, lexicon = config.build(config.Captioner, card["captioner"], "captioner"), Lexicon(card["lexicon"])
    model = Captioner(**card["sizes"], width=row.width, dropout=row.dropout)
    model.load_state_dict(weights)
    accelerator = machine.accelerator()
    model.to(accelerator.device).eval()
    encoder = load_encoder(row.encoder, build / "encoder").to(accelerator.device)
    products = catalogue.pictures["product"].to_numpy()
    spoken = Words.load(build / "words").whole_words(catalogue.texts(settings.text.fields))
    for some in np.array_split(pictures, max(1, -(-len(pictures) // PICTURES_AT_ONCE))):
        texts = [spoken[product] for product in products[some]]
        with accelerator.autocast():
            maps = _encode(catalogue, some, encoder, row, settings).to(accelerator.device)
            found = {
                "caption": describe.describe(model, lexicon, maps, longest=row.longest, beam=row.beam, heat=heat),
                "teacher": describe.tell(model, lexicon, maps, texts, longest=row.longest, heat=heat),
            }
        yield some, found


def maps_of(
    catalogue: Catalogue, pictures: NDArray[np.int64], settings: config.Params, build: Path, file: Path
) -> Maps:
    """The feature maps of some pictures, from `file` if a run before this one wrote them there.

    pictures  their indices, rising
    """
    if not file.exists():
        _write(catalogue, pictures, settings, build, file)
    cells = np.load(file, mmap_mode="c")  # torch wants a writable array; nothing is written
    return Maps(torch.from_numpy(cells), torch.from_numpy(pictures))


def _write(catalogue: Catalogue, pictures: NDArray[np.int64], settings: config.Params, build: Path, file: Path) -> None:
    accelerator, part = machine.accelerator(), file.with_suffix(".part")
    encoder = load_encoder(settings.captioner.encoder, build / "encoder").to(accelerator.device)
    cells: NDArray[np.float16] | None = None
    said = time.monotonic()
    for at in range(0, len(pictures), PICTURES_AT_ONCE):
        with accelerator.autocast():
            some = _encode(catalogue, pictures[at : at + PICTURES_AT_ONCE], encoder, settings.captioner, settings)
        if cells is None:
            shape = (len(pictures), *some.shape[1:])
            cells = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        cells[at : at + len(some)] = some.half().numpy()
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            print(f"captioner  feature maps  {at + len(some)}/{len(pictures)}", flush=True)
    part.replace(file)


@torch.inference_mode()
def _encode(
    catalogue: Catalogue,
    pictures: NDArray[np.int64],
    encoder: nn.Module,
    row: config.Captioner,
    settings: config.Params,
) -> Tensor:
    """-> (n, L, D) float   row-major"""
    paths = catalogue.pictures["path"].to_numpy()[pictures].tolist()
    side = (row.pixels, row.pixels)
    pixels = read(catalogue.root, paths, row.lock, size=side, max_megapixels=settings.catalogue.max_megapixels)
    tiles = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return encoder.maps(tiles.to(next(encoder.parameters()).device)).flatten(1, 2).float().cpu()  # type: ignore[operator]


def _mark(settings: config.Params, build: Path) -> str:
    tables = [build / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
    known = [settings.seed, asdict(settings.text), asdict(settings.captioner), settings.catalogue.max_megapixels]
    inputs = [*tables, build / "words" / "tokenizer.json", build / "encoder" / "model.safetensors"]
    return checkpoint.fingerprint(params=known, inputs=inputs)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    run(lambda: main(**vars(parser.parse_args())))
