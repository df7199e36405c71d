"""What is new, changed and withdrawn between two catalogues, by product_id; writes the counts as JSON."""

import argparse
import filecmp
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fashionvl import config
from fashionvl.catalogue.changes import changes
from fashionvl.catalogue.intake import Texts, read_texts
from fashionvl.catalogue.pictures import BrokenPicture, examine, locate
from fashionvl.catalogue.sources import find_source, open_source
from fashionvl.stages import run

NAMED = 20  # ids written out of each kind


def main(old: Path, new: Path, *, out: Path, params: Path = Path("params.yaml")) -> None:
    """Compare the catalogues in two folders and write how many products are new, changed and withdrawn.

    out  a JSON file: the counts, `before` and `now`, and the first ids of each kind under `named`
    """
    settings = config.load(params)
    (before, theirs), (now, ours) = _read(old, settings), _read(new, settings)
    same = same_pictures(theirs, ours, settings.catalogue.max_megapixels)
    found = changes(before.rows, now.rows, same)
    kinds = {"new": found.new, "changed": found.changed, "withdrawn": found.withdrawn}
    said = {
        **{kind: len(ids) for kind, ids in kinds.items()},
        "before": found.before,
        "now": found.now,
        "named": {kind: ids[:NAMED] for kind, ids in kinds.items()},
    }
    out.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = ", ".join(f"{len(ids)} {kind}" for kind, ids in kinds.items())
    print(f"news  {counts}; {found.now} products, {found.before} before", flush=True)


def _read(folder: Path, settings: config.Params) -> tuple[Texts, Path]:
    reading = open_source(find_source(folder), settings.catalogue.columns)
    return read_texts(reading.rows), reading.source.root


def same_pictures(old: Path, new: Path, max_megapixels: float) -> Callable[[str], bool]:
    """-> a function: True when a path shows the same under both folders, or nothing that can be opened under either."""

    @cache
    def same_file(path: str) -> bool:
        try:
            return filecmp.cmp(locate(old, path), locate(new, path), shallow=False)
        except BrokenPicture:
            return False

    def same(path: str) -> bool:
        container = path.rpartition("#")[0]
        if same_file(container or path):
            return True
        return _content(old, path) == _content(new, path) if container or not _is_file(new, path) else False

    def _content(root: Path, path: str) -> str:
        try:
            return examine(root, path, max_megapixels=max_megapixels).sha256
        except BrokenPicture as broken:
            return broken.rule

    return same


def _is_file(root: Path, path: str) -> bool:
    try:
        return locate(root, path).is_file()
    except BrokenPicture:
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path, help="a catalogue file or a folder that holds one")
    parser.add_argument("new", type=Path, help="what has become of it")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the table of parameters")
    run(lambda: main(**vars(parser.parse_args())))
