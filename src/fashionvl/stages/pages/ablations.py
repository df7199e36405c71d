"""The part of the report on ablations: Table 4 as it came out here."""

from collections.abc import Mapping
from typing import Any

from fashionvl.catalogue.style import Markup, table
from fashionvl.stages.pages import published
from fashionvl.stages.pages.parts import NONE, absent, note

SUM = "sampled.SumR"
RECALLS = {f"sampled.{way}.R@1": f"{way.upper()} R@1" for way in ("itr", "tir")}
TASKS = {**published.RECOGNISED, "SumCLS": "SumCLS", **published.SAID, "SumCAP": "SumCAP"}

Found = Mapping[str, Mapping[str, Any]]


def ablations(found: Found | None) -> str:
    """Columns and steps of Table 4 from build/metrics/ablations.json; None where they were not run."""
    if not found:
        return absent("Table 4 was not run here (`make ablations`).")
    columns = {name: numbers for name, numbers in found.items() if SUM in numbers}
    steps = {name: numbers for name, numbers in found.items() if "agrees" in numbers}
    head = ("column", "steps", *RECALLS.values(), "SumR")
    rows = [
        (
            name,
            f"{numbers['steps']:,.0f}" if "steps" in numbers else NONE,
            *(_spread(numbers, key, 100) for key in RECALLS),
            _spread(numbers, SUM, 1),
        )
        for name, numbers in columns.items()
    ]
    parts = [
        note(
            "Every column is the same system with one thing changed: mean ± standard deviation over seeds, on the split"
            " that ablation.evaluate in params.yaml names (validation, where it was left as it is)."
        )
    ]
    parts.append(table(head, rows, right=range(1, 5)))
    parts.append(_steps(steps, "SumR"))
    parts.append(_tasks(columns))
    parts += [_steps(steps, name) for name in ("SumCLS", "SumCAP")]
    return "".join(parts)


def _tasks(columns: Found) -> str:
    """Recognition and captioning, with the paper's line below each of its columns."""
    head = "<h3>Categories (CR, SUB) and captions</h3>"
    if not any(metric in numbers for metric in TASKS for numbers in columns.values()):
        return head + absent("The tasks were not learned from these runs (`make ablations`), or not from all of them.")
    rows: list[tuple[object, ...]] = []
    pale = []
    for name, numbers in columns.items():
        hundredfold = published.RECOGNISED
        rows.append((name, *(_spread(numbers, key, 100 if key in hundredfold else 1) for key in TASKS)))
        if name in published.ABLATIONS:
            printed = {**published.ABLATIONS[name], **published.sums_of(name)}
            pale.append(len(rows))
            rows.append((f"{name}, as published", *(f"{printed[key]:.1f}" for key in TASKS)))
    said = "Accuracy and macro-F by text and picture together; captions all words at once, as the paper. A dash: not"
    return head + note(f"{said} measured.") + table(("column", *TASKS.values()), rows, right=range(1, 11), pale=pale)


def _steps(steps: Found, name: str) -> str:
    """What each step adds to one of the three sums; nothing where no step has it."""
    lines = [
        (step, f"{numbers[_key(name, 'paper')]:+.1f}", _error(numbers, name), _verdict(numbers, name))
        for step, numbers in steps.items()
        if name in numbers
    ]
    if not lines:
        return ""
    head = ("step", "as published", "here", "sign")
    return f"<h3>What each step adds to {name}</h3>{table(head, lines, right=(1, 2))}"


def _key(name: str, what: str) -> str:
    return what if name == "SumR" else f"{name}.{what}"


def _spread(numbers: Mapping[str, Any], key: str, times: float) -> object:
    if key not in numbers:
        return NONE
    spread = f"<small>± {times * numbers[f'{key}.sd']:.1f}</small>" if f"{key}.sd" in numbers else ""
    return Markup(f"{times * numbers[key]:.1f}{spread}")


def _error(numbers: Mapping[str, Any], name: str) -> Markup:
    error = f"<small>± {numbers[f'{name}.error']:.1f}</small>" if f"{name}.error" in numbers else ""
    return Markup(f"{numbers[name]:+.1f}{error}")


def _verdict(numbers: Mapping[str, Any], name: str) -> str:
    agrees = numbers[_key(name, "agrees")]
    said = "as the paper's" if agrees else "against the paper's" if numbers[name] else "no gain"
    return said if numbers.get(_key(name, "clear")) else f"{said}, not clear"
