"""Stage `catalogue`: data/ -> build/catalogue, every row checked, repaired or set aside with its reason."""

import csv
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.intake import Intake, Texts, add_pictures, read_texts
from fashionvl.catalogue.likeness import MOST_BITS
from fashionvl.catalogue.page import write_page
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.rules import Rejection
from fashionvl.catalogue.schema import check_tables
from fashionvl.catalogue.sources import Reading, find_source, open_source
from fashionvl.catalogue.splits import check_shares
from fashionvl.catalogue.survey import survey
from fashionvl.patches.foreground import from_border
from fashionvl.stages import options, run
from fashionvl.stages.resources import cores, refuse_if_too_large

LONGEST_VALUE = 500  # characters of an original value in rejected.csv
FOREGROUNDS = 200  # pictures whose foreground is looked for, for the report
SPOKEN = ("product_id", "title", "description", "category", "sub_category", "group_id")  # what text.fields may name


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Bring the catalogue in: two tables, the rows set aside, the data report."""
    settings = config.load(params)
    check_settings(settings)
    reading, texts = open_texts(data, settings.catalogue)
    refuse_if_too_large(texts, reading.source.root, settings, build)
    intake = open_pictures(reading, texts, settings.catalogue)
    folder = build / "catalogue"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").unlink(missing_ok=True)
    write_rejected(folder / "rejected.csv", intake.rejected)
    refuse_if_too_broken(intake, settings.catalogue, where=f"; the reasons are in {folder / 'rejected.csv'}")

    check_tables(intake.products, intake.pictures)
    intake.products.to_parquet(folder / "products.parquet", index=False)
    intake.pictures.to_parquet(folder / "pictures.parquet", index=False)
    catalogue = Catalogue(intake.products, intake.pictures, data)
    facts = survey(
        intake, catalogue.texts(settings.text.fields), near_duplicate_bits=settings.catalogue.near_duplicate_bits
    )
    source = {"kind": reading.source.kind, "files": [file.name for file in reading.source.files]}
    facts |= {"source": source | {"columns": reading.columns, "ignored_columns": reading.ignored}}
    facts |= foreground_quality(catalogue, settings.catalogue.max_megapixels)
    checkpoint.write_json(folder / "report.json", facts)
    write_page(folder / "report.html", facts, catalogue, intake.rejected, settings.catalogue.max_megapixels)
    numbers = {name: value for name, value in facts.items() if isinstance(value, (int, float))}
    checkpoint.write_json(build / "metrics" / "catalogue.json", numbers)
    checkpoint.write_card(folder, {"stage": "catalogue", "item": None, "metrics": numbers, "source": source})
    for remark in facts["remarks"]:
        print(f"catalogue  {remark}")
    print(f"catalogue  {summary(intake)}; {folder / 'report.html'} shows it", flush=True)


def check_settings(settings: config.Params) -> None:
    """Raises Problem or ConfigError for what would only be noticed after the pictures are read."""
    check_shares(settings.catalogue.split)
    if not 0 <= settings.catalogue.near_duplicate_bits <= MOST_BITS:
        raise config.ConfigError(f"params.yaml: catalogue.near_duplicate_bits must be 0 to {MOST_BITS}")
    for name in settings.text.fields:
        if name not in SPOKEN and not name.startswith("attributes."):
            raise config.ConfigError(
                f"params.yaml: text.fields names {name!r}, which is none of {', '.join(SPOKEN)} or attributes.NAME"
            )


def foreground_quality(catalogue: Catalogue, max_megapixels: float) -> dict[str, float]:
    """How well the border rule finds the object on a few pictures, spread over the catalogue.

    -> how many were looked at, the share where an object was found, its mean share of the picture and contrast (CIE76)
    """
    paths = catalogue.pictures["path"].tolist()
    chosen = paths[:: -(-len(paths) // FOREGROUNDS)]
    boxes = [from_border(open_rgb(catalogue.root, path, max_megapixels=max_megapixels), margin=0) for path in chosen]
    found = [box for box in boxes if not box.fallback]
    return {
        "foreground_looked_at": len(boxes),
        "foreground_found_share": round(len(found) / len(boxes), 4),
        "foreground_box_share": round(sum(box.box_share for box in found) / max(len(found), 1), 4),
        "foreground_contrast": round(sum(box.contrast or 0.0 for box in found) / max(len(found), 1), 2),
    }


def open_texts(path: Path, settings: config.Catalogue) -> tuple[Reading, Texts]:
    """Find the catalogue, read its rows and check their texts, with progress."""
    reading = open_source(find_source(path), settings.columns)
    if reading.ignored:
        print(f"catalogue  columns that are not read: {', '.join(reading.ignored)}", flush=True)
    say = every_few_seconds()
    texts = read_texts(reading.rows, lambda done: say(f"catalogue  {done} rows read"))
    if texts.count == 0:
        raise Problem(f"{path} holds a catalogue without a single row")
    return reading, texts


def open_pictures(reading: Reading, texts: Texts, settings: config.Catalogue) -> Intake:
    """Open every picture on all cores, with progress."""
    say, start = every_few_seconds(), 0.0

    def progress(done: int, of: int) -> None:
        nonlocal start
        start = start or time.monotonic()  # not before the first: starting the processes takes a while
        left = (time.monotonic() - start) / done * (of - done)
        say(f"catalogue  {done}/{of} pictures  {left:.0f} s left")

    return add_pictures(
        texts,
        reading.source.root,
        shares=settings.split,
        max_megapixels=settings.max_megapixels,
        workers=cores(),
        progress=progress,
    )


def refuse_if_too_broken(intake: Intake, settings: config.Catalogue, where: str = "") -> None:
    """Raises Problem if a larger share of the rows is set aside than `set_aside_limit`, or all of them."""
    share, limit = intake.share_set_aside, settings.set_aside_limit
    if share > limit or not len(intake.pictures):
        common = Counter(one.rule for one in intake.rejected).most_common(1)[0][0]
        raise Problem(
            f"{len(intake.rejected)} of {intake.count} rows ({share:.1%}) cannot be used, most often because of "
            f"`{common}`; catalogue.set_aside_limit in params.yaml allows {limit:.1%}{where}"
        )


def summary(intake: Intake) -> str:
    """One line: what came of the rows."""
    return (
        f"{intake.count} rows: {len(intake.pictures)} accepted, {len(intake.rejected)} set aside; "
        f"{len(intake.products)} products"
    )


def write_rejected(path: Path, rejected: list[Rejection]) -> None:
    """The rows set aside as CSV, in the order of the source; written even when nothing was."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Rejection)])
        for one in rejected:
            writer.writerow((asdict(one) | {"value": one.value[:LONGEST_VALUE]}).values())


def every_few_seconds(seconds: float = 4) -> Callable[[str], None]:
    """A printer that says at most one line in so many seconds."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            print(line, flush=True)

    return say


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
