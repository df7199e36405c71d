"""What the report reads: everything that the other stages measured, None or left out where a stage has not run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.style import address
from fashionvl.stages.pages import opening
from fashionvl.stages.pages.parts import Metrics, Row, rows_of
from fashionvl.stages.pages.recognition import TASKS
from fashionvl.stages.pages.trainings import Training

MATRIX, SHEET, WIDE_SHEET = 900, 860, 1140  # pixels across
SHEETS = 2  # of an alignment
FINE_TUNED = ("retrieval", "category", "sub_category", "captioning")


@dataclass(frozen=True)
class Evidence:
    """All that was measured.

    facts        of the catalogue            retrieved    metrics of retrieval by the name of the system
    recognised   by task, as predictions and matrices (data addresses)
    metrics      by the name of the file: captioner, compare, yardsticks, alignment, ablations; those that exist
    captioned    metrics of captioning       captions     what was said
    ranks        of the system that the headline speaks of
    sheets       by kind of patches: data addresses and names of drawings
    probed       by dual encoder: what it knows without being asked for it
    hidden       by row of CLIP's family: the data address of a drawing
    regions      by kind of patches with regions: the data address of a drawing
    """

    system: str
    rows: list[Row]
    facts: Metrics
    retrieved: dict[str, Metrics]
    recognised: dict[str, Metrics]
    predictions: dict[str, pd.DataFrame]
    matrices: dict[str, str]
    metrics: dict[str, Any]
    captioned: Metrics | None
    captions: pd.DataFrame | None
    ranks: pd.DataFrame | None
    sheets: dict[str, list[tuple[str, str]]]
    probed: dict[str, Metrics]
    hidden: dict[str, str]
    regions: dict[str, str]
    trained: dict[str, Training]


def gather(settings: config.Params, build: Path) -> Evidence:
    """Read everything; the systems are those that params.yaml runs, the first of them is the one with tasks."""
    numbers = build / "metrics"
    facts = read_json(numbers / "catalogue.json")
    if facts is None:
        raise Problem(f"{numbers / 'catalogue.json'} is missing; run the stage `catalogue`")
    rows, system = (
        rows_of(list(settings.run), settings.run_contrast, settings.run_clip),
        next(iter(settings.run), "no system"),
    )
    measured = present({row.name: read_json(numbers / f"{row.name}.json") for row in rows})
    retrieved = {name: found for name, found in measured.items() if "sampled.SumR" in found}
    of = {task: f"{system}-{task}" for task in FINE_TUNED}
    head = opening.best_row(rows, retrieved)
    names = ("captioner", "compare", "yardsticks", "alignment", "ablations", "comparisons")
    metrics = present({name: read_json(numbers / f"{name}.json") for name in names})
    examined = build / "evaluation"
    duals = [*settings.run_contrast, *settings.run_clip]
    drawn = {name: build / "probes" / name / "hidden.png" for name in settings.run_clip}
    boxed = {kind: build / "patches" / kind / "regions.png" for kind in settings.run_regions}
    pictures = {task: examined / of[task] / "confusion.png" for task in TASKS}
    return Evidence(
        system=system,
        rows=rows,
        facts=facts,
        retrieved=retrieved,
        recognised=present({task: read_json(numbers / f"{of[task]}.json") for task in TASKS}),
        predictions=present({task: frame(examined / of[task] / "predictions.parquet") for task in TASKS}),
        matrices={task: shrunk(path, MATRIX) for task, path in pictures.items() if path.exists()},
        metrics=metrics,
        captioned=read_json(numbers / f"{of['captioning']}.json"),
        captions=frame(examined / of["captioning"] / "captions.parquet"),
        ranks=None if head is None else frame(examined / head.name / "ranks.parquet"),
        sheets={kind: sheets_of(build / "alignment" / kind / "pictures") for kind in metrics.get("alignment", ())},
        probed=present({name: read_json(numbers / f"{name}-probe.json") for name in duals}),
        hidden={name: shrunk(path, SHEET) for name, path in drawn.items() if path.exists()},
        regions={kind: shrunk(path, WIDE_SHEET) for kind, path in boxed.items() if path.exists()},
        trained=dict(trainings_of(settings, build)),
    )


def present(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in found.items() if value is not None}


def read_json(path: Path) -> Any:
    """The content of a file of JSON; None where there is none, or nothing in it."""
    return (json.loads(path.read_text(encoding="utf-8")) or None) if path.exists() else None


def frame(path: Path) -> pd.DataFrame | None:
    """A table; None where there is none."""
    return pd.read_parquet(path) if path.exists() else None


def sheets_of(folder: Path) -> list[tuple[str, str]]:
    """The first drawings of an alignment: data address, name of the file."""
    return [(shrunk(path, SHEET), path.name) for path in sorted(folder.glob("*.png"))[:SHEETS]]


def shrunk(path: Path, across: int) -> str:
    """A drawing, at most so many pixels across, as a data address."""
    with Image.open(path) as image:
        drawn = image.convert("RGB")
    drawn.thumbnail((across, drawn.height), Image.Resampling.LANCZOS)
    return address(drawn, quality=80)


def folders_of(settings: config.Params) -> list[str]:
    """Where trainings leave what they learned, in the order in which they run."""
    systems = [f"runs/{name}" for name in (*settings.run_contrast, *settings.run_clip, *settings.run)]
    tuned = [f"finetuned/{name}-{task}" for name in settings.run for task in FINE_TUNED]
    return ["encoder", "captioner", *systems, *tuned]


def trainings_of(settings: config.Params, build: Path) -> Iterator[tuple[str, Training]]:
    """Every training that is over, by name."""
    for folder in folders_of(settings):
        history = build / folder / "history.jsonl"
        if not history.exists() or not history.stat().st_size:
            continue
        last = json.loads(history.read_text(encoding="utf-8").splitlines()[-1])
        curves = pd.read_csv(build / folder / "curves.csv")
        yield Path(folder).name, Training(curves, last["step"], last["seconds"])
