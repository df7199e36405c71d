"""Stage `sample`: a seed and a number of products -> a generated catalogue with the truth about its pictures.

OUT/catalogue.csv   one row a picture, in the columns that the stage `catalogue` reads
OUT/images/         JPEG files in folders of at most a thousand
OUT/parts.csv       product_id, view, word, x0, y0, x1, y1: where in the picture each word points, in pixels; a word has
                    several rows where several parts bear it, such as two sleeves
"""

import argparse
import csv
import io
import itertools
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from fashionvl import stages
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.sample import Item, items, pictures_of
from fashionvl.catalogue.sample.scene import HEIGHT, WIDTH

COLUMNS = (
    "product_id", "image_path", "title", "description", "category", "sub_category",
    "attributes", "split", "group_id", "view",
)  # fmt: skip
SIZE = (WIDTH, HEIGHT)  # of every picture
PARTS = ("product_id", "view", "word", "x0", "y0", "x1", "y1")
_CHUNK = 25  # products a task
_WAVE = 40  # tasks a process between two pauses


def main(out: Path, *, products: int = 600, seed: int = 7, processes: int | None = None) -> None:
    """Write a generated catalogue into a new folder; the folder appears only when it is complete.

    The bytes depend on `products` and `seed` alone, not on the number of processes.
    Raises Problem where the folder is not empty or the numbers make no sense.
    """
    out = out.resolve()
    if products < 1:
        raise Problem(f"--products must be at least 1, not {products}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Problem(f"{out} is not empty; the sample is written into a new folder, so that nothing is lost")
    partial = _fresh(out.with_name(out.name + ".partial"))
    began = last = time.monotonic()
    done = pictures = 0
    with (
        (partial / "catalogue.csv").open("w", encoding="utf-8", newline="") as catalogue,
        (partial / "parts.csv").open("w", encoding="utf-8", newline="") as parts,
    ):
        catalogue.write(_csv([COLUMNS]))
        parts.write(_csv([PARTS]))
        for rows, truth, count, size in _run(partial, seed, products, processes or os.cpu_count() or 1):
            catalogue.write(rows)
            parts.write(truth)
            done, pictures = done + size, pictures + count
            if time.monotonic() - last > 4:
                last = time.monotonic()
                left = (last - began) * (products - done) / done
                print(f"sample  {done:,} of {products:,} products  {left:.0f} s left", flush=True)
    if out.exists():
        out.rmdir()
    partial.rename(out)
    print(f"sample  {products:,} products, {pictures:,} pictures in {out}", flush=True)


def _fresh(partial: Path) -> Path:
    """An empty folder for an unfinished sample; what an interrupted run left there goes."""
    if partial.exists():
        if not (partial / "catalogue.csv").exists() and any(partial.iterdir()):
            raise Problem(f"{partial} is in the way and does not look like an interrupted sample; move it away")
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def _run(folder: Path, seed: int, products: int, processes: int) -> Iterator[tuple[str, str, int, int]]:
    """The results of `_write` in order; never more than a wave of tasks is under way, so that memory stays flat."""
    tasks = ((str(folder), seed, start, min(start + _CHUNK, products)) for start in range(0, products, _CHUNK))
    if processes == 1 or products <= _CHUNK:
        yield from map(_write, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(min(processes, -(-products // _CHUNK))) as pool:
        while wave := list(itertools.islice(tasks, _WAVE * processes)):
            yield from pool.imap(_write, wave)


def _write(task: tuple[str, int, int, int]) -> tuple[str, str, int, int]:
    """Write the pictures of a range of products -> the lines of both tables, how many pictures, how many products."""
    folder, seed, start, stop = Path(task[0]), *task[1:]
    rows: list[tuple[object, ...]] = []
    truth: list[tuple[object, ...]] = []
    for item in items(seed, start, stop):
        for view, file, words in pictures_of(item):
            path = folder / item.path(view)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file)
            rows.append(_row(item, view))
            truth += [(item.id, view, word, *box) for word, box in words]
    return _csv(rows), _csv(truth), len(rows), stop - start


def _row(item: Item, view: str) -> tuple[object, ...]:
    attributes = json.dumps(item.attributes, ensure_ascii=False, sort_keys=True)
    return (
        item.id, item.path(view), item.title, item.description, item.category, item.sub_category,
        attributes, item.split, item.group, view,
    )  # fmt: skip


def _csv(rows: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


def _arguments() -> None:
    parser = argparse.ArgumentParser(prog="python -m fashionvl.stages.sample", description=main.__doc__)
    parser.add_argument("out", type=Path, help="a new or empty folder")
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, help="all cores where not given; changes nothing but the time")
    given = parser.parse_args()
    main(given.out, products=given.products, seed=given.seed, processes=given.processes)


if __name__ == "__main__":
    stages.run(_arguments)
