"""How long a step of several trainings takes: they are timed in turns, so that a busy machine slows all alike."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median

from fashionvl import checkpoint, training

ROUNDS, WARM, TIMED = 3, 3, 10  # steps of one round: WARM + TIMED
STEPS = ROUNDS * (WARM + TIMED)  # of each training in all
FIGURES = 2  # of a number of steps


def seconds_a_step(folders: Mapping[str, Path], teach: Callable[[str, int], object]) -> dict[str, float]:
    """The median of some steps of each training.

    folders  by name: where each works; cleared in the end
    teach    (name, stop_after): goes on with one, of STEPS steps, until so many are done
    """
    spent: dict[str, list[float]] = {name: [] for name in folders}
    for folder in folders.values():
        (folder / training.CHECKPOINT).unlink(missing_ok=True)  # of a timing that was killed
    for number in range(ROUNDS):
        for name, folder in folders.items():
            teach(name, (number + 1) * (WARM + TIMED))
            lines = (folder / "history.jsonl").read_text().splitlines()[-TIMED - 1 :]
            spent[name] += [after - before for before, after in pairwise(json.loads(line)["seconds"] for line in lines)]
    for folder in folders.values():
        checkpoint.clear(folder)
    return {name: median(seconds) for name, seconds in spent.items()}


def steps_in(seconds: float, each: float) -> int:
    """How many steps of `each` seconds fit, in round figures: steps_in(120, 0.31) is 390."""
    return max(1, int(float(f"{seconds / each:.{FIGURES}g}")))
