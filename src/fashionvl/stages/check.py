"""Dry run of `catalogue` on any folder or file: what would be accepted, repaired and set aside, and what the whole run
would take. Writes nothing; ends with exit code 2 where the catalogue or the machine would not do."""

import argparse
from collections import defaultdict
from pathlib import Path

from fashionvl import config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.intake import Intake
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.rules import Rejection
from fashionvl.catalogue.survey import survey
from fashionvl.stages import run
from fashionvl.stages.catalogue import check_settings, open_pictures, open_texts, refuse_if_too_broken, summary
from fashionvl.stages.resources import estimate, shortage

EXAMPLES = 3  # rows shown for every reason
LONGEST = 60  # characters of an example's value


def main(path: Path, *, params: Path = Path("params.yaml"), build: Path = Path("build")) -> None:
    """Say what would become of every row of the catalogue at `path`; Problem if it or the machine would not do."""
    settings = config.load(params)
    check_settings(settings)
    reading, texts = open_texts(path, settings.catalogue)
    print(f"{reading.source.kind}: {', '.join(f'{ours} from {theirs}' for ours, theirs in reading.columns.items())}")
    intake = open_pictures(reading, texts, settings.catalogue)
    print("\n".join(_lines(intake)))
    catalogue = Catalogue(intake.products, intake.pictures, reading.source.root)
    words = catalogue.texts(settings.text.fields)
    for remark in survey(intake, words, near_duplicate_bits=settings.catalogue.near_duplicate_bits)["remarks"]:
        print(remark)
    found = estimate(texts, reading.source.root, settings)
    print(found.sentence(), flush=True)
    refuse_if_too_broken(intake, settings.catalogue)
    missing = shortage(found, build)
    if missing:
        raise Problem(f"this machine cannot hold the whole run: {missing}")


def _lines(intake: Intake) -> list[str]:
    """Counts by rule and the first examples of every reason."""
    lines = [summary(intake)]
    lines += [f"  repaired   {count:>7}  {rule}" for rule, count in sorted(intake.repaired.items())]
    reasons: dict[str, list[Rejection]] = defaultdict(list)
    for one in intake.rejected:
        reasons[one.rule].append(one)
    for rule, rows in sorted(reasons.items()):
        lines.append(f"  set aside  {len(rows):>7}  {rule}")
        lines += [
            f"             row {one.row}, product {one.product_id or '(none)'}: {one.reason}: {one.value[:LONGEST]!r}"
            for one in rows[:EXAMPLES]
        ]
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="a catalogue file or a folder that holds one")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the table of parameters")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where the run would write")
    run(lambda: main(**vars(parser.parse_args())))
