"""Stage `clock`: how many steps of the base row the minutes of the ablations are -> build/clock.

Timed once: what is trained depends on this number, and no longer on how busy the machine is.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import machine, options, pretrain, run

ROUNDS, WARM, TIMED = 3, 3, 10  # steps of one round: WARM + TIMED
FIGURES = 2  # of the number of steps


def main(
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Write the steps of the base row, or nothing where params.yaml gives steps and no minutes."""
    machine.keep_freed_memory()
    settings = config.load(params)
    asked = settings.ablation
    facts: dict[str, float] = {}
    if asked.minutes is not None:
        row = config.row(settings.systems, asked.base, "systems")
        (each,) = seconds_a_step({f"systems.{asked.base}": row}, settings, data, build, work).values()
        facts = {"seconds_a_step": round(each, 4), "steps": steps_in(60 * asked.minutes, each)}
        print(f"clock  {facts['steps']} steps of {asked.base} in {asked.minutes:g} min", flush=True)
    checkpoint.write_card(build / "clock", {"stage": "clock", "metrics": facts})


def seconds_a_step(
    rows: Mapping[str, config.System], settings: config.Params, data: Path, build: Path, work: Path
) -> dict[str, float]:
    """The median of some steps of each row's training; rows take turns, so that a busy machine slows all alike.

    rows  by where they stand in params.yaml
    """
    catalogue = Catalogue.load(build / "catalogue", data)
    spent: dict[str, list[float]] = {name: [] for name in rows}
    folders = {}
    for number in range(ROUNDS):
        for name, row in rows.items():
            row = config.with_steps(replace(row, model=replace(row.model, start=None)), ROUNDS * (WARM + TIMED))
            folders[name] = pretrain.work_folder("clock", name, row, settings, build, work)
            if number == 0:
                checkpoint.clear(folders[name])  # of a timing that was killed
                folders[name].mkdir(parents=True)
            pretrain.train_system(
                row,
                settings,
                catalogue,
                build,
                folder=folders[name],
                name=f"clock {name}",
                where=name,
                accelerator=machine.accelerator(),
                stop_after=(number + 1) * (WARM + TIMED),
            )
            lines = (folders[name] / "history.jsonl").read_text().splitlines()[-TIMED - 1 :]
            spent[name] += [after - before for before, after in pairwise(json.loads(line)["seconds"] for line in lines)]
    for folder in folders.values():
        checkpoint.clear(folder)
    return {name: median(seconds) for name, seconds in spent.items()}


def steps_in(seconds: float, each: float) -> int:
    """How many steps of `each` seconds fit, in round figures: steps_in(120, 0.31) is 390."""
    return max(1, int(float(f"{seconds / each:.{FIGURES}g}")))


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    run(lambda: main(**vars(parser.parse_args())))
