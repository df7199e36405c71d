"""The part of the report on captions: what the models say, and how it is scored."""

from html import escape

import pandas as pd

from fashionvl.catalogue.style import table
from fashionvl.stages.pages import published
from fashionvl.stages.pages.parts import NONE, Metrics, absent, note

MODES = {"causal": "word by word", "mask_all": "all words at once, as the paper"}
NAMES = {"bleu4": "BLEU-4", "meteor": "METEOR", "rouge_l": "ROUGE-L", "cider": "CIDEr", "sumcap": "sum (SumCAP)"}
UNMEASURED = "not measured: Java missing"


def captioning(system: str, metrics: Metrics | None, captioner: Metrics | None, scorer: str) -> str:
    """All that was scored, beside the paper.

    metrics    of the fine-tuned system, "<mode>.<score>"; None where it was not fine-tuned for captions
    captioner  of Show, Attend and Tell, "val.<score>"; None where it was not trained
    scorer     how captions are scored
    """
    rows: list[tuple[object, ...]] = []
    if metrics is not None:
        rows += [_row(f"{system}, {called}", metrics, mode) for mode, called in MODES.items()]
    if captioner is not None:
        rows.append(_row("Show, Attend and Tell, which aligns words", captioner, "val"))
    ours = len(rows)
    cells = published.CAPTIONING[published.OURS] or {}
    total = sum(cells[key] for key in published.CAPTIONS)
    paper = [*(f"{cells[key]:.1f}" for key in published.CAPTIONS), f"{total:.1f}"]
    rows.append((f"as published: {published.OURS}, Fashion-Gen", *paper))
    parts = [] if metrics is not None else [absent(f"{system} has not been fine-tuned for captions.")]
    parts.append(table(("", *NAMES.values()), rows, right=range(1, 6), pale=range(ours, len(rows))))
    if any(UNMEASURED in str(row[0]) for row in rows[:ours]):
        parts.append(absent("Where captions were scored Java or its scorers were missing; nothing stands in for them."))
    parts.append(note(f"Scorer: {scorer}; every figure times 100. Show, Attend and Tell is scored on validation."))
    return "".join(parts)


def _row(label: str, metrics: Metrics, prefix: str) -> tuple[object, ...]:
    """A label and its five figures; where none was measured the label says so."""
    if f"{prefix}.bleu4" not in metrics:
        return f"{label} ({UNMEASURED})", *[NONE] * len(NAMES)
    return label, *(f"{metrics[f'{prefix}.{key}']:.1f}" for key in NAMES)


def overlap(said: str, reference: str) -> float:
    """The share of different words that two texts have in common: twice the common ones over those of both."""
    ours, theirs = set(said.lower().split()), set(reference.lower().split())
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))


def best_and_worst(captions: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Captions with the most and with the least overlap, one picture a product, every mode beside the other.

    -> two tables: product, picture, reference, one column a mode, overlap (of the first mode there is)
    """
    first = captions.drop_duplicates(["product", "mode"])
    modes = [mode for mode in MODES if mode in set(first["mode"])]
    keys = ["product", "picture", "reference"]
    wide = first.pivot(index=keys, columns="mode", values="said").reset_index()
    wide["overlap"] = [overlap(said, right) for said, right in zip(wide[modes[0]], wide["reference"], strict=True)]
    ranked = wide.sort_values(["overlap", "product"], ascending=[False, True], kind="stable")
    half = min(count, len(ranked) // 2)
    return ranked.head(half), ranked.tail(half)[::-1]


def told(row: dict) -> str:
    """What is written under a picture: what each mode says, and the text of the catalogue."""
    lines = [f"<b>{called}:</b> {escape(row[mode]) or '(nothing)'}" for mode, called in MODES.items() if mode in row]
    lines.append(f"<b>catalogue:</b> {escape(row['reference'])}")
    return f"{'<br>'.join(lines)}<br>overlap {row['overlap']:.0%}"
