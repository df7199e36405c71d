"""Stage `patches KIND`: pictures -> build/patches/KIND, the vectors of all grids in fp16 shards (KPG, section 3.2).

A kind with regions has their vectors, places and classes instead, and a sheet that shows some (regions_sheet.py).

Finished shards wait in .work until all are there, so that a killed stage goes on at the shard where it stopped, and
ends with the same bytes.
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.product import text_of
from fashionvl.models.named_encoders import SaliencyNet, load_saliency, weights_checksum
from fashionvl.patches import store
from fashionvl.stages import options, regions_sheet, run, visual_words
from fashionvl.stages.encoders import load_encoder
from fashionvl.stages.encoding import shards_of
from fashionvl.stages.proposals import detector_of
from fashionvl.stages.workshop import FOREGROUNDS, Workshop, mask_path, workshop

REPORT_SECONDS = 5.0
SOURCES = ("caption", "teacher")  # tables of the stage `align`
PAIRS = ("picture", "word", "level", "patch")  # what is read of them
PLACE_BYTES = 5 * 4  # of a region


def main(
    kind: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Encode every picture of the catalogue that is not encoded yet, then put the store in its place."""
    began = time.monotonic()
    settings = config.load(params)
    row = config.row(settings.patches, kind, "patches")
    _check_row(row, f"patches.{kind}")
    by_itself = row.regions is not None and row.regions.features == "detector"
    encoder = None if by_itself else load_encoder(row.encoder, build / "encoder", pixels=row.pixels)
    saliency = load_saliency(row.saliency) if row.saliency else None
    detector = detector_of(row.regions.detector, build / "detector") if row.regions and row.regions.detector else None
    made_with = _made_with(kind, row, encoder, saliency, detector)
    shop = workshop(data, row, settings.catalogue.max_megapixels, encoder, saliency, detector)
    made_with["precision"] = str(shop.dtype).removeprefix("torch.")
    catalogue = Catalogue.load(build / "catalogue", data)
    paths = catalogue.pictures["path"].tolist()
    if row.foreground == "masks":
        _check_masks(paths, data)
    folder = checkpoint.work_folder(work, "patches", kind, _mark(made_with, shop, settings, build))
    segments = row.regions.classes if row.regions else None
    classes = len(detector.names) if detector else segments or 0
    encode(f"patches {kind}", paths, shop, folder, dim=made_with["dim"], classes=classes)
    if segments:
        made_with |= _name_segments(folder, segments, catalogue, settings)
    finished = folder / "store"
    metrics = _complete(folder, paths, made_with)
    if row.regions:
        regions_sheet.draw(finished, catalogue, settings).save(finished / regions_sheet.NAME)
        _align_nothing(build / "alignment" / kind)
    seconds = round(time.monotonic() - began, 1)
    checkpoint.write_card(finished, {"stage": "patches", "item": kind, "metrics": metrics, "seconds": seconds})
    _move(finished, build / "patches" / kind)
    fallbacks = f"{metrics['fallback_share'] * len(paths):.0f} without a foreground"
    print(f"patches  {len(paths)} pictures, {fallbacks}, in {build / 'patches' / kind}", flush=True)
    checkpoint.clear(folder)


def _align_nothing(folder: Path) -> None:
    """Leave the tables that the stage `align` makes of a kind with grids, empty: words do not point at regions."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        pd.DataFrame(columns=PAIRS, dtype="int64").to_parquet(folder / f"{source}.parquet", index=False)


def _made_with(
    kind: str, row: config.Patches, encoder: Any, saliency: SaliencyNet | None, detector: Any
) -> dict[str, Any]:
    """What the manifest says of how a store is made."""
    made: dict[str, Any] = {"kind": kind, "dim": (encoder or detector).dim, "pixels": row.pixels}
    encodes: Any = {"name": row.encoder, "weights": weights_checksum(encoder)} if encoder else None
    if row.regions is None:
        made["grids"] = row.grids
    else:
        detects = {"name": row.regions.detector, "weights": weights_checksum(detector)} if detector else None
        classes = {"classes": detector.names} if detector else {}  # those of segments are learned from them
        made |= {"regions": row.regions.most, **classes}
        made["proposed"] = {"by": row.regions.by, "detector": detects, "features": row.regions.features}
        encodes = encodes or detects
    locks = {"name": row.foreground, "margin": row.margin}
    if saliency:
        locks |= {"network": row.saliency, "weights": weights_checksum(saliency)}
    return {**made, "encoder": encodes, "foreground": locks}


def _mark(made_with: dict[str, Any], shop: Workshop, settings: config.Params, build: Path) -> str:
    """The fingerprint of all that a store is made of."""
    inputs = [build / "catalogue" / "pictures.parquet"]
    params = [made_with, shop.row, shop.max_megapixels]
    if shop.row.foreground == "masks":
        inputs.append(shop.root / "masks")
    if shop.row.regions:  # visual words are learned from one split, and some products of another are drawn
        inputs.append(build / "catalogue" / "products.parquet")
        params += [settings.seed, settings.text.fields]
    return checkpoint.fingerprint(params=params, inputs=inputs)


def encode(name: str, paths: list[str], shop: Workshop, folder: Path, *, dim: int, classes: int = 0) -> None:
    """Encode the shards that `folder` lacks; one is finished when its record (checksum and boxes) is written.

    name     what progress lines are headed with
    classes  of regions
    """
    finished, rows = folder / "store", shop.row.shard
    finished.mkdir(exist_ok=True)
    numbers = [n for n in range(-(-len(paths) // rows)) if not _is_finished(folder, n)]
    left = sum(len(paths[n * rows : (n + 1) * rows]) for n in numbers)
    _check_room(folder, left * shop.slots * (dim * 2 + (PLACE_BYTES + classes * 2 if shop.row.regions else 0)))
    progress = _Progress(name, len(paths), left, shop.slots)
    for number, made in shards_of(paths, numbers, shop, tick=progress.tick):
        path = store.write_shard(finished, number, made.vectors)
        record: dict[str, Any] = {"file": path.name, "rows": len(made.vectors), "sha256": store.checksum(path)}
        for what, rows_of_it in (("places", made.places), ("classes", made.classes)):
            if rows_of_it is not None:
                record[what] = _stated(store.write_shard(finished, number, rows_of_it, what))
        boxes = [dataclasses.asdict(each) for each in made.found]
        checkpoint.write_json(_record(folder, number), {**record, "boxes": boxes})


def _name_segments(folder: Path, count: int, catalogue: Catalogue, settings: config.Params) -> dict[str, Any]:
    """Learn visual words from the training split, write which one each region is -> what the manifest says of them."""
    finished, files = folder / "store", sorted((folder / "records").glob("*.json"))
    records = [json.loads(file.read_text()) for file in files]
    some = visual_words.drawn(catalogue.pictures_in("train"), settings.seed)
    words = visual_words.learn(finished, records, some, count, settings.seed)
    for number, (file, record) in enumerate(zip(files, records, strict=True)):
        classes = visual_words.said(finished, record, words)
        record["classes"] = _stated(store.write_shard(finished, number, classes, "classes"))
        checkpoint.write_json(file, record)
    np.save(finished / visual_words.FILE, words)
    products = catalogue.products.iloc[catalogue.pictures["product"].to_numpy()[some]].to_dict("records")
    texts = [text_of(product, settings.text.fields) for product in products]
    names = visual_words.names(finished, records, some, texts, words)
    return {"classes": names, "words": _stated(finished / visual_words.FILE)}


def _stated(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": store.checksum(path)}


class _Progress:
    """Says how far the stage is, every few seconds."""

    def __init__(self, name: str, pictures: int, left: int, vectors: int):
        self.name, self.pictures, self.left, self.vectors = name, pictures, left, vectors
        self.began = self.said = time.monotonic()
        self.done = 0

    def tick(self, more: int) -> None:
        self.done += more
        now = time.monotonic()
        if now - self.said < REPORT_SECONDS and self.done < self.left:
            return
        self.said = now
        rate = self.done / (now - self.began)
        so_far, seconds = self.pictures - self.left + self.done, (self.left - self.done) / rate
        speed = f"{rate * self.vectors:.0f} vectors/s"
        print(f"{self.name}  picture {so_far}/{self.pictures}  {speed}  {seconds:.0f} s left", flush=True)


def _record(folder: Path, number: int) -> Path:
    return folder / "records" / f"{number:05d}.json"


def _is_finished(folder: Path, number: int) -> bool:
    return _record(folder, number).exists() and (folder / "store" / store.shard_name(number)).exists()


def _check_row(row: config.Patches, where: str) -> None:
    if row.foreground not in FOREGROUNDS:
        raise config.ConfigError(f"params.yaml: {where}.foreground must be one of {list(FOREGROUNDS)}")
    if (row.foreground == "saliency") != bool(row.saliency):
        raise config.ConfigError(
            f"params.yaml: {where}.saliency names the network of foreground: saliency, and only then"
        )
    if min(row.shard, row.pixels) < 1:
        raise config.ConfigError(f"params.yaml: {where}.shard and {where}.pixels must be at least 1")


def _check_masks(paths: list[str], data: Path) -> None:
    missing = [mask_path(path) for path in paths if not (data / mask_path(path)).is_file()]
    if missing:
        raise Problem(f"{len(missing)} of {len(paths)} pictures have no mask, {data / missing[0]} is the first missing")


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Problem(f"{folder} has {free / 1e9:.1f} GB free and the patch vectors need {needed / 1e9:.1f} GB")


def _complete(folder: Path, paths: list[str], made_with: dict[str, Any]) -> dict[str, float]:
    """Write the boxes and the manifest of a store whose shards are all there -> what its card tells of it."""
    records = [json.loads(file.read_text()) for file in sorted((folder / "records").glob("*.json"))]
    finished = folder / "store"
    boxes = pd.DataFrame([box for record in records for box in record.pop("boxes")])
    boxes = boxes.astype({"mask_share": "float64", "contrast": "float64"})
    boxes.insert(0, "path", paths)
    boxes.to_parquet(finished / store.BOXES)
    fallbacks = int(boxes["fallback"].sum())
    manifest = {
        "version": store.VERSION,
        **made_with,
        "pictures": len(paths),
        "fallbacks": fallbacks,
        "boxes": _stated(finished / store.BOXES),
        "shards": records,
    }
    checkpoint.write_json(finished / store.MANIFEST, manifest)
    return {
        "pictures": len(paths),
        "fallback_share": fallbacks / len(paths),
        "box_share": float(boxes["box_share"].mean()),
        **({} if boxes["contrast"].isna().all() else {"contrast": float(boxes["contrast"].mean())}),
    }


def _move(folder: Path, out: Path) -> None:
    """Put a complete folder in place of another, by a rename even where the two lie on different disks."""
    if out.exists():
        shutil.rmtree(out)
    part = out.with_name(out.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, part)
    part.rename(out)


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    parser.add_argument("kind", metavar="KIND", help="a row of `patches` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
