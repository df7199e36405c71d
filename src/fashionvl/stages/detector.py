"""Stage `detector`: a generated sample's pictures and the true boxes of their parts -> build/detector, `scratch`.

Catalogues come without boxes, so the detector learns from a sample that is generated for it alone, as large as
`detector.products` says; nothing of the user's catalogue goes into it. Its test split measures it. With the seed of
the default sample that sample is the beginning of this one, each product in the same split.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.sample import PATTERNS
from fashionvl.models.detector import Detector, load_detector
from fashionvl.models.scratch_detector import finished, scratch
from fashionvl.stages import machine, options, run, sample
from fashionvl.stages.album import album, read
from fashionvl.tasks import detection, precision
from fashionvl.tasks.detection import Objects

STORED = 1.25  # side of a stored picture over that of a seen one, so that crops lose little
WHOLE = config.Lock("none", 0.0)
AT_ONCE = 64  # pictures that are measured at a time


def main(
    item: str = config.SCRATCH,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),  # as every stage takes it; not read
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Learn to find the parts of the sample's garments, measure it, and put the detector on the shelf.

    item        the one there is
    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    if item != config.SCRATCH:
        raise config.ConfigError(f"the stage `detector` makes {config.SCRATCH!r} and no {item!r}")
    missing = precision.why_not()
    if missing:
        raise Problem(missing)
    machine.keep_freed_memory()
    settings = config.load(params)
    row = settings.detector
    mark = checkpoint.fingerprint(params=[settings.seed, row, settings.catalogue.max_megapixels], inputs=[])
    folder = checkpoint.work_folder(work, "detector", item, mark)
    print(f"run folder: {folder}", flush=True)
    catalogue, objects, classes = lesson(folder / "sample", row)
    torch.manual_seed(training.seed_of(settings.seed, 0))
    network = scratch(classes, **asdict(row.sizes))
    desk, accelerator = desk_of(catalogue, objects, settings, folder), machine.accelerator()
    training.train(
        network,
        draw=detection.drawing(desk, batch=row.training.batch, chance=training.chance_of(settings.seed)),
        losses=partial(detection.losses_of, most=row.cells),
        weights=dict.fromkeys(detection.LOSSES, 1.0),
        steps=row.training.steps(len(desk.album.pictures)),
        recipe=row.training,
        seed=settings.seed,
        work=folder,
        name="detector",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if not accelerator.is_main_process or stop_after is not None:
        return
    disable_progress_bar()  # of files that are written and read in no time
    out = build / "detector"
    finished(network).save_pretrained(out)
    checkpoint.write_json(out / "preprocessor_config.json", preparation(row.pixels))
    found, by_class = examine(load_detector(out).to(accelerator.device), catalogue, objects, settings)
    card = {"stage": "detector", "item": item, "detector": asdict(row), "counter": precision.COUNTER}
    card |= {"mAP50": by_class, "metrics": found}
    checkpoint.write_card(out, machine.record(out, folder, card))
    checkpoint.clear(folder)
    checkpoint.write_json(build / "metrics" / "detector.json", checkpoint.read_card(out)["metrics"])


def lesson(folder: Path, row: config.Detector) -> tuple[Catalogue, Objects, list[str]]:
    """The sample of a folder, made if it is not there; the true objects of its pictures; and the classes of them."""
    if not folder.exists():
        sample.main(folder, products=row.products, seed=row.sample_seed)
    catalogue = catalogue_of(folder)
    table = detection.named(parts_of(catalogue), PATTERNS)
    learned = table["picture"].isin(catalogue.pictures_in("train"))
    classes = detection.classes_of(table.loc[learned, "name"], least=row.least)
    if not classes:
        raise config.ConfigError(
            f"params.yaml: no class has the {row.least} training boxes that detector.least asks for; lower it, or"
            " raise detector.products"
        )
    return catalogue, detection.objects_of(table, classes, sizes_of(catalogue)), classes


def catalogue_of(folder: Path) -> Catalogue:
    """The catalogue that the stage `sample` left in a folder."""
    rows = pd.read_csv(folder / "catalogue.csv", dtype="str", keep_default_na=False)
    products = rows.drop_duplicates("product_id", ignore_index=True).drop(columns=["image_path", "view"])
    pictures = rows[["image_path", "view"]].rename(columns={"image_path": "path"})
    pictures["product"] = pd.Index(products["product_id"]).get_indexer(rows["product_id"])
    pictures["width"], pictures["height"] = sample.SIZE
    return Catalogue(products, pictures, folder)


def parts_of(catalogue: Catalogue) -> pd.DataFrame:
    """The truth beside a sample -> one row a word of a box: picture, noun, word, x0, y0, x1, y1, in its order."""
    products = catalogue.products
    pictures = catalogue.pictures.reset_index(names="picture")
    pictures["product_id"] = products["product_id"].to_numpy()[pictures["product"]]
    nouns = products["sub_category"].str.lower().str.split().str[-1]
    pictures["noun"] = nouns.to_numpy()[pictures["product"]]
    parts = pd.read_csv(catalogue.root / "parts.csv", keep_default_na=False)
    return parts.merge(pictures[["picture", "noun", "product_id", "view"]], on=["product_id", "view"], how="left")


def sizes_of(catalogue: Catalogue) -> Tensor:
    """-> (n, 2) int64   width and height of every picture"""
    return torch.from_numpy(catalogue.pictures[["width", "height"]].to_numpy(dtype=np.int64))


def desk_of(catalogue: Catalogue, objects: Objects, settings: config.Params, folder: Path) -> detection.Desk:
    """What questions of the training split are made from."""
    row = settings.detector
    height, width = row.pixels
    pixels = album(
        catalogue,
        catalogue.pictures_in("train"),
        WHOLE,
        size=(round(STORED * height), round(STORED * width)),
        max_megapixels=settings.catalogue.max_megapixels,
        file=folder / "train.npy",
    )
    return detection.Desk(pixels, objects, height, width, row.crop, row.flip)


def preparation(pixels: list[int]) -> dict[str, object]:
    """preprocessor_config.json of a detector that sees pictures of this height and width, as bytes over 255."""
    height, width = pixels
    size = {"height": height, "width": width}
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": False}
    return {"image_processor_type": "RTDetrImageProcessor", "do_resize": True, "size": size, "resample": 2, **scale}


def examine(
    detector: Detector, catalogue: Catalogue, objects: Objects, settings: config.Params
) -> tuple[dict[str, float], dict[str, float]]:
    """What the detector finds in the test split -> its figures; the average precision at IoU .50 of each class."""
    pictures = torch.from_numpy(catalogue.pictures_in("test"))
    found = [answer for some in seen_by(detector, catalogue, pictures, settings) for answer in some]
    rows, owner = objects.of(pictures)
    counts = torch.bincount(owner, minlength=len(pictures)).tolist()
    truth = list(zip(objects.boxes[rows].split(counts), objects.kinds[rows].split(counts), strict=True))
    figures = precision.average_precision(found, truth, sizes_of(catalogue)[pictures], detector.names)
    means = {f"test.{name}": round(value, 6) for name, value in figures.means.items()}
    numbers = {"test.pictures": len(pictures), "test.objects": len(rows), "test.classes": len(figures.classes)}
    return {**means, **numbers}, {name: round(value, 4) for name, value in figures.classes.items()}


def seen_by(
    detector: Detector, catalogue: Catalogue, pictures: Tensor, settings: config.Params
) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """What a detector finds in some pictures, as files have them -> by chunks: boxes, kinds, scores of each picture."""
    paths = catalogue.pictures["path"].to_numpy()
    device, (width, height) = next(detector.parameters()).device, sample.SIZE
    most = settings.catalogue.max_megapixels
    for some in pictures.split(AT_ONCE):
        pixels = read(catalogue.root, paths[some].tolist(), WHOLE, size=(height, width), max_megapixels=most)
        tensors = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device)
        answers = precision.surest(detector(tensors))
        yield list(zip(*(part.cpu() for part in answers), strict=True))


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("item", nargs="?", default=config.SCRATCH, help="the one there is")
    run(lambda: main(**vars(parser.parse_args())))
