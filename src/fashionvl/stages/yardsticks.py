"""Stage `yardsticks`: build/catalogue + data/ -> build/yardsticks and build/metrics/yardsticks.json.

What a recogniser has to beat, measured on the rows that it is measured on.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.stages import options, run
from fashionvl.stages.album import read
from fashionvl.tasks import yardsticks
from fashionvl.tasks.labels import TASKS, Rows, classes, is_asked, never_learned, rows_of, without_label
from fashionvl.tasks.marks import marks

COLUMNS = ("product", "picture", "group", "true", *(f"said_{name}" for name in yardsticks.YARDSTICKS))
WHOLE = config.Lock(foreground="none", margin=0.0)


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Measure the yardsticks of both tasks; a task that no training product has a label of is not measured."""
    began = time.monotonic()
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    folder, split = build / "yardsticks", settings.evaluate.ranking_on
    folder.mkdir(parents=True, exist_ok=True)
    asked = [task for task in TASKS if is_asked(catalogue, task)]
    small = _small_pictures(catalogue, ("train", split), settings.catalogue.max_megapixels) if asked else None
    found: dict[str, float] = {}
    for task in TASKS:
        if task in asked:
            assert small is not None
            said, of_task = measure(catalogue, task, small, settings)
            found |= {f"{task}.{name}": round(value, 6) for name, value in of_task.items()}
        else:
            said = pd.DataFrame({name: pd.Series(dtype="int64" if name in COLUMNS[:3] else "str") for name in COLUMNS})
            print(f"yardsticks  no training product has a {task}: it is not measured", flush=True)
        said.to_parquet(folder / f"predictions_{task}.parquet", index=False)
    checkpoint.write_json(build / "metrics" / "yardsticks.json", found)
    card = {"stage": "yardsticks", "item": None, "split": split, "seed": settings.seed, "text": settings.text.fields}
    checkpoint.write_card(folder, {**card, "metrics": found})
    for name in (name for name in found if name.endswith("accuracy")):
        ends = f"[{100 * found[name + '.low']:.1f}, {100 * found[name + '.high']:.1f}]"
        print(f"yardsticks  {name:32s} {100 * found[name]:5.1f} %  {ends}")
    print(f"yardsticks  {time.monotonic() - began:.0f} s", flush=True)


def measure(
    catalogue: Catalogue, task: str, small: NDArray[np.uint8], settings: config.Params
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Train and measure all yardsticks of one task.

    small  (pictures of the catalogue, 16, 12, 3) uint8
    -> a row a picture with what each said, and the marks by yardstick
    """
    split, names = settings.evaluate.ranking_on, classes(catalogue, task)
    train, rows = rows_of(catalogue, task, "train"), rows_of(catalogue, task, split)
    _tell_of_labels(catalogue, task, split, rows, names)
    texts = catalogue.texts(settings.text.fields)
    once = np.unique(train.product, return_index=True)[1]  # a product's text is learned once, however many its views
    said = {
        "majority": yardsticks.majority(train.true[once], len(rows)),
        "tfidf": yardsticks.tfidf(
            [texts[product] for product in train.product[once]],
            train.true[once],
            [texts[product] for product in rows.product],
        ),
        "pixels": yardsticks.pixels(small[train.picture], train.true, small[rows.picture]),
    }
    found = {}
    for name in yardsticks.YARDSTICKS:
        generator = np.random.default_rng(training.seed_of(settings.seed, 9))
        for mark, value in marks(rows, said[name], names, generator=generator).items():
            found[f"{name}.{mark}"] = value
    columns = {"product": rows.product, "picture": rows.picture, "group": rows.group, "true": rows.true}
    return pd.DataFrame({**columns, **{f"said_{name}": said[name] for name in yardsticks.YARDSTICKS}}), found


def _tell_of_labels(catalogue: Catalogue, task: str, split: str, rows: Rows, names: list[str]) -> None:
    lacking, unlearned = without_label(catalogue, task, split), never_learned(rows, names)
    if lacking:
        print(f"yardsticks  {task}: {lacking} products of {split} have no label and are left out", flush=True)
    for name, count in unlearned.items():
        print(f"yardsticks  {task}: {name!r} is not in training; its {count} rows count as wrong", flush=True)


def _small_pictures(catalogue: Catalogue, splits: tuple[str, ...], max_megapixels: float) -> NDArray[np.uint8]:
    """-> (pictures of the catalogue, 16, 12, 3) uint8, zero where the picture is of none of the splits"""
    small = np.zeros((len(catalogue.pictures), *yardsticks.SIZE, 3), dtype=np.uint8)
    pictures = np.concatenate([catalogue.pictures_in(split) for split in splits])
    paths = catalogue.pictures["path"].to_numpy()[pictures].tolist()
    small[pictures] = read(catalogue.root, paths, WHOLE, size=yardsticks.SIZE, max_megapixels=max_megapixels)
    return small


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
