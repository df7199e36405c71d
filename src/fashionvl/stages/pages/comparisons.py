"""The part of the report on the family: the systems of `make compare` side by side."""

from collections.abc import Mapping
from typing import Any

from fashionvl.catalogue.style import Markup, table
from fashionvl.stages.pages import published
from fashionvl.stages.pages.parts import NONE, absent, note, signed_ends

WAYS = ("itr", "tir")
GAINS = {f"{protocol}.{way}.R@1": f"{protocol} {way.upper()} R@1" for protocol in ("sampled", "full") for way in WAYS}
TUNED = {f"retrieval.{metric}": said for metric, said in GAINS.items()}
CLASSES = {"category.both.accuracy": "CR", "sub_category.both.accuracy": "SUB"}

Found = Mapping[str, Mapping[str, Any]]


def comparisons(found: Found | None) -> str:
    """The systems from build/metrics/comparisons.json, and what each has over the base; None where none were run."""
    if not found:
        return absent("The family was not compared here (`make compare`).")
    systems = {name: numbers for name, numbers in found.items() if "head.steps" in numbers}
    rows = [
        (
            name,
            f"{numbers['head.steps']:,.0f}",
            *(_hundred(numbers, key) for key in (*TUNED, *CLASSES)),
            _published(name),
        )
        for name, numbers in systems.items()
    ]
    head = ("system", "steps", *TUNED.values(), *CLASSES.values(), "SumR as published")
    said = note(
        "Pre-trained for the same time, then fine-tuned for each task: means over the seeds that have the number,"
        " in points of a hundred; what comparison.once and evaluate_once name is of the first seed alone."
    )
    gains = [(name, *(_gain(numbers, key) for key in GAINS)) for name, numbers in found.items() if name not in systems]
    parts = [said, table(head, rows, right=range(1, len(head)))]
    if gains:
        parts += ["<h3>Over the base, paired</h3>", table(("", *GAINS.values()), gains, right=range(1, 1 + len(GAINS)))]
    return "".join(parts)


def _hundred(numbers: Mapping[str, Any], key: str) -> str:
    return f"{100 * numbers[key]:.1f}" if key in numbers else NONE


def _gain(numbers: Mapping[str, Any], key: str) -> object:
    if key not in numbers:
        return NONE
    mean, low, high = numbers[key]
    return Markup(f"{mean:+.1f} <small>{signed_ends(low, high)}</small>")


def _published(name: str) -> str:
    said = published.ROWS.get(name)
    return NONE if said is None else f"{published.sum_of_recalls(said):.2f}"
