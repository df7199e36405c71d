"""How far a catalogue has moved from an older state: its categories, words, colours, and what the encoder sees.

Each distance stands beside what two random parts of the older state differ by (`level`) and what params.yaml allows
(`limit`); it is exceeded where it is above both. Writes JSON.
"""

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fashionvl import checkpoint, config
from fashionvl.catalogue import drift
from fashionvl.catalogue.intake import read_texts
from fashionvl.catalogue.pictures import BrokenPicture, open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.product import text_of
from fashionvl.catalogue.sources import find_source, open_source
from fashionvl.stages import run
from fashionvl.stages.album import pixels_of
from fashionvl.stages.encoders import load_encoder

BATCH = 128  # pictures
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Side:
    """One of the two catalogues: a row a product, and some of its pictures.

    groups   (n,) int64   the group of each product
    shown    (k,) int64   the products whose pictures were looked at
    colours  (k, C) float
    pixels   (k, S, S, 3) uint8, or None where there is no encoder
    """

    rows: pd.DataFrame
    groups: NDArray[np.int64]
    shown: NDArray[np.int64]
    colours: NDArray[np.float64]
    pixels: Pixels | None


def main(old: Path, new: Path, *, out: Path, params: Path = Path("params.yaml"), build: Path = Path("build")) -> None:
    """Measure how far the catalogue `new` is from `old`, and write it to `out`."""
    settings = config.load(params)
    place = build / "encoder"
    encoder = load_encoder("scratch", place) if (place / "card.json").exists() else None
    missing = "" if encoder else f"there is no encoder in {place} yet, so what it sees is not compared"
    side = checkpoint.read_card(place)["pixels"] if encoder else None
    before, now = _side(old, settings, side), _side(new, settings, side)
    if not len(now.shown):
        raise Problem(f"{new} holds no product with a picture that can be read")
    measures = {}
    if len(before.shown):
        measures = _of_texts(before, now, settings) | _of_pictures(before, now, encoder, settings)
    else:
        missing = f"{old} holds no product with a picture that can be read, so nothing is compared"
    exceeded = [name for name, said in measures.items() if said["exceeded"]]
    found = {
        "drifted": bool(exceeded),
        "exceeded": exceeded,
        "measures": measures,
        "not_measured": missing,
        "products": {"before": len(before.rows), "now": len(now.rows)},
        "pictures": {"before": len(before.shown), "now": len(now.shown)},
    }
    checkpoint.write_json(out, found)
    print(f"drift  {sentence(found)}", flush=True)


def sentence(found: dict) -> str:
    """What was measured, for people."""
    parts = [
        f"{name} {said['value']:.3f}{' (!)' if said['exceeded'] else ''}" for name, said in found["measures"].items()
    ]
    verdict = f"beyond what is allowed: {', '.join(found['exceeded'])}" if found["drifted"] else "all as allowed"
    said = [f"{', '.join(parts)}: {verdict}"] if parts else []
    return "; ".join([*said, *([found["not_measured"]] if found["not_measured"] else [])])


def _side(folder: Path, settings: config.Params, side: int | None) -> Side:
    reading = open_source(find_source(folder), settings.catalogue.columns)
    rows = read_texts(reading.rows).rows.drop_duplicates("product_id", ignore_index=True)
    groups = np.unique(rows["group_id"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    shown: list[int] = []
    colours, pixels = [], []
    for at in _drawn(rows, settings.seed):
        if len(shown) == settings.drift.pictures:
            break
        try:
            path = rows["image_path"][at]
            picture = open_rgb(reading.source.root, path, max_megapixels=settings.catalogue.max_megapixels)
        except BrokenPicture:  # the stage `catalogue` sets it aside and says why
            continue
        shown.append(at)
        colours.append(drift.colours_of(picture))
        if side:
            pixels.append(pixels_of(picture, settings.encoder.lock, (side, side)))
    seen = np.stack(pixels) if pixels else None
    return Side(rows, groups, np.array(shown, dtype=np.int64), np.array(colours), seen)


def _drawn(rows: pd.DataFrame, seed: int) -> list[int]:
    """Products in an order drawn by their ids, so that two states of a catalogue draw the same ones first."""
    marks = [hashlib.sha256(f"{seed}:{product}".encode()).digest() for product in rows["product_id"]]
    return sorted(range(len(rows)), key=marks.__getitem__)


def _of_texts(before: Side, now: Side, settings: config.Params) -> dict[str, dict]:
    found = {}
    held: dict[str, Callable[[pd.DataFrame], list[list[str]]]] = {
        "category": lambda rows: [[name] for name in rows["category"]],
        "sub_category": lambda rows: [
            [f"{a} / {b}"] for a, b in zip(rows["category"], rows["sub_category"], strict=True)
        ],
        "words": lambda rows: [drift.words_of(text_of(row, settings.text.fields)) for row in rows.to_dict("records")],
    }
    measured = {
        "category": ("category", drift.total_variation),
        "sub_category": ("sub_category", drift.total_variation),
        "words": ("words", drift.jensen_shannon),
        "unknown": ("words", drift.unknown_share),
    }
    counted = {name: drift.bags(of(before.rows), of(now.rows)) for name, of in held.items()}
    for name, (of, distance) in measured.items():
        old, new = counted[of]
        parted = partial(_parted, old, distance)
        found[name] = _judged(
            name, distance(old.counts(), new.counts()), parted, before.groups, len(now.rows), settings
        )
    return found


def _parted(old: drift.Bags, distance: Callable[[NDArray, NDArray], float], chosen: NDArray[np.bool_]) -> float:
    """The distance between the chosen products (True) and the rest."""
    return distance(old.counts(~chosen), old.counts(chosen))


def _of_pictures(before: Side, now: Side, encoder: torch.nn.Module | None, settings: config.Params) -> dict[str, dict]:
    groups = before.groups[before.shown]

    def colours(a: NDArray, b: NDArray) -> float:
        return drift.total_variation(a.sum(axis=0), b.sum(axis=0))

    def judged(name: str, old: NDArray, new: NDArray, distance: Callable[[NDArray, NDArray], float]) -> dict:
        return _judged(
            name, distance(old, new), lambda chosen: distance(old[~chosen], old[chosen]), groups, len(new), settings
        )

    found = {"colours": judged("colours", before.colours, now.colours, colours)}
    if encoder is not None and before.pixels is not None and now.pixels is not None:
        old, new = _vectors(encoder, before.pixels), _vectors(encoder, now.pixels)
        found["encoder"] = judged("encoder", old, new, drift.energy)
    return found


@torch.no_grad()
def _vectors(encoder: torch.nn.Module, pixels: Pixels) -> NDArray[np.float64]:
    """pixels (k, S, S, 3) uint8 -> (k, D) float"""
    tiles = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return torch.cat([encoder(part).float() for part in tiles.split(BATCH)]).double().numpy()


def _judged(
    name: str,
    value: float,
    between: Callable[[NDArray[np.bool_]], float],
    units: NDArray[np.int64],
    size: int,
    settings: config.Params,
) -> dict:
    """A distance beside its level and its limit; that of parts as large as the newer state, at most half."""
    asked = settings.drift
    level = drift.level(
        between,
        units,
        min(size / len(units), 0.5),
        partings=asked.partings,
        quantile=asked.level,
        generator=np.random.default_rng(settings.seed),
    )
    limit = asked.limits[name]
    exceeded = bool(value > level and value > limit)
    return {"value": round(value, 5), "level": round(level, 5), "limit": limit, "exceeded": exceeded}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="a catalogue file or a folder that holds one")
    parser.add_argument("new", type=Path, help="what has become of it")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the table of parameters")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where an earlier run left its encoder")
    run(lambda: main(**vars(parser.parse_args())))
