"""The part of the report on trainings: every loss of each as a small curve."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from fashionvl.stages.pages.parts import absent, note

POINTS = 90  # of a curve
WIDE, HIGH = 160, 60
MORE_STYLE = """
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .8rem 1rem }
.curves svg { display: block; width: 100%; height: 60px; background: var(--tile); border-radius: 4px;
  margin-bottom: .3rem }
.curves polyline { fill: none; stroke: var(--p0); stroke-width: 1.5; vector-effect: non-scaling-stroke;
  stroke-linejoin: round }
"""


@dataclass(frozen=True)
class Training:
    """One training that is over.

    curves   step and one column a loss, as its curves.csv has them
    seconds  that it took
    """

    curves: pd.DataFrame
    steps: int
    seconds: float


def trainings(found: Mapping[str, Training]) -> str:
    """Small multiples: trainings of one loss side by side, then a row of curves for each of several."""
    if not found:
        return absent("Nothing has been trained.")
    lead = note("The losses while training, from the first step to the last; every curve has a scale of its own.")
    columns = {name: losses_of(each) for name, each in found.items()}
    single = [
        _curve(found[name].curves[of[0]].to_numpy(), f"{name}:", of[0]) for name, of in columns.items() if len(of) == 1
    ]
    rows = [f'<div class="curves">{"".join(single)}</div>'] if single else []
    for name, of in columns.items():
        if len(of) > 1:
            figures = "".join(_curve(found[name].curves[column].to_numpy(), column) for column in of)
            rows.append(f'<h3>{escape(name)}</h3><div class="curves">{figures}</div>')
    return lead + "".join(rows)


def losses_of(training: Training) -> list[str]:
    """The curves worth drawing: the sum of one loss is that loss."""
    columns = [column for column in training.curves.columns if column != "step"]
    return columns[1:] if len(columns) == 2 else columns


def _curve(values: np.ndarray, name: str, loss: str = "") -> str:
    """One loss as a line over the steps, with its first and last value in words."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return ""
    parts = np.array([part.mean() for part in np.array_split(kept, min(POINTS, len(kept)))])
    low, high = float(parts.min()), float(parts.max())
    x = np.linspace(2, WIDE - 2, len(parts))
    y = HIGH - 5 - (parts - low) / ((high - low) or 1) * (HIGH - 10)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    said = f"{loss} {kept[0]:.3g} → {kept[-1]:.3g}".strip()
    return (
        f'<figure><svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(name)}: {said}"><polyline points="{line}"/></svg>'
        f"<figcaption><b>{escape(name)}</b> {said}</figcaption></figure>"
    )


def took(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
