"""The curves of a training as one picture, drawn when it has ended."""

import json
from pathlib import Path

APART = ("step", "seconds")
COLUMNS = 3
POINTS = 2000  # a curve; more are not seen


def draw(history: Path, picture: Path) -> Path:
    """Draw every number of a history over the steps, one small field each -> the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with history.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    lines = lines[:: max(1, len(lines) // POINTS)]
    names = list(dict.fromkeys(name for line in lines for name in line if name not in APART))
    rows = max(1, -(-len(names) // COLUMNS))
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, 1):
        known = [(line["step"], line[name]) for line in lines if name in line]
        field = figure.add_subplot(rows, COLUMNS, place)
        field.plot(*zip(*known, strict=True), linewidth=0.8)
        field.set_title(name, fontsize=9)
        field.tick_params(labelsize=7)
        field.grid(alpha=0.3)
    figure.savefig(picture, dpi=80)
    return picture
