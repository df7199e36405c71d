"""Stage `patches KIND`: pictures -> build/patches/KIND, the vectors of all grids in fp16 shards (KPG, section 3.2).

Finished shards wait in .work until all are there, so that a killed stage goes on at the shard where it stopped, and
ends with the same bytes.
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import load_saliency, weights_checksum
from fashionvl.patches import store
from fashionvl.stages import options, run
from fashionvl.stages.encoders import load_encoder
from fashionvl.stages.workshop import FOREGROUNDS, Workshop, mask_path, shards_of, workshop

REPORT_SECONDS = 5.0


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
    encoder = load_encoder(row.encoder, build / "encoder", pixels=row.pixels)
    saliency = load_saliency(row.saliency) if row.saliency else None
    made_with = {
        "kind": kind,
        "dim": encoder.dim,
        "pixels": row.pixels,
        "grids": row.grids,
        "encoder": {"name": row.encoder, "weights": weights_checksum(encoder)},
        "foreground": {"name": row.foreground, "margin": row.margin}
        | ({"network": row.saliency, "weights": weights_checksum(saliency)} if saliency else {}),
    }
    shop = workshop(data, row, settings.catalogue.max_megapixels, encoder, saliency)
    made_with["precision"] = str(shop.dtype).removeprefix("torch.")
    inputs = [build / "catalogue" / "pictures.parquet", *([data / "masks"] if row.foreground == "masks" else [])]
    mark = checkpoint.fingerprint(params=[made_with, row, shop.max_megapixels], inputs=inputs)
    paths = Catalogue.load(build / "catalogue", data).pictures["path"].tolist()
    if row.foreground == "masks":
        _check_masks(paths, data)
    folder = checkpoint.work_folder(work, "patches", kind, mark)
    encode(f"patches {kind}", paths, shop, folder, dim=encoder.dim)
    _publish(folder, build / "patches" / kind, paths, made_with, began)
    checkpoint.clear(folder)


def encode(name: str, paths: list[str], shop: Workshop, folder: Path, *, dim: int) -> None:
    """Encode the shards that `folder` lacks; one is finished when its record (checksum and boxes) is written.

    name  what progress lines are headed with
    """
    finished, rows = folder / "store", shop.row.shard
    finished.mkdir(exist_ok=True)
    numbers = [n for n in range(-(-len(paths) // rows)) if not _is_finished(folder, n)]
    left = sum(len(paths[n * rows : (n + 1) * rows]) for n in numbers)
    _check_room(folder, left * shop.pyramid.vectors * dim * 2)
    progress = _Progress(name, len(paths), left, shop.pyramid.vectors)
    for number, vectors, found in shards_of(paths, numbers, shop, tick=progress.tick):
        path = store.write_shard(finished, number, vectors)
        record = {"file": path.name, "rows": len(vectors), "sha256": store.checksum(path)}
        boxes = [dataclasses.asdict(each) for each in found]
        checkpoint.write_json(_record(folder, number), {**record, "boxes": boxes})


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


def _publish(folder: Path, out: Path, paths: list[str], made_with: dict[str, Any], began: float) -> None:
    """Complete the store in the work folder and move it to its place in one step; then the card."""
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
        "boxes": {"file": store.BOXES, "sha256": store.checksum(finished / store.BOXES)},
        "shards": records,
    }
    checkpoint.write_json(finished / store.MANIFEST, manifest)
    metrics = {
        "pictures": len(paths),
        "fallback_share": fallbacks / len(paths),
        "box_share": float(boxes["box_share"].mean()),
        **({} if boxes["contrast"].isna().all() else {"contrast": float(boxes["contrast"].mean())}),
    }
    seconds = round(time.monotonic() - began, 1)
    checkpoint.write_card(
        finished, {"stage": "patches", "item": made_with["kind"], "metrics": metrics, "seconds": seconds}
    )
    _move(finished, out)
    print(f"patches  {len(paths)} pictures, {fallbacks} without a foreground, in {out}", flush=True)


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
