"""Stage `pace`: how many steps of each row of the trials the same minutes are -> build/trials/pace.

Rows take turns while they are timed, so that a busy machine slows all alike. What is trained depends on these numbers
and no longer on the machine.
"""

import json
from itertools import pairwise
from pathlib import Path
from statistics import median

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.stages import duals, machine, options, run
from fashionvl.stages.clock import ROUNDS, TIMED, WARM, steps_in


def main(
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Write the steps of every row."""
    machine.keep_freed_memory()
    settings = config.load(params)
    asked = settings.trials
    steps: dict[str, int] = {}
    if asked.minutes is None:
        assert asked.steps is not None
        steps = dict.fromkeys(asked.rows, asked.steps)
    else:
        for name, each in seconds_a_step(asked.rows, settings, data, build, work).items():
            steps[name] = steps_in(60 * asked.minutes, each)
    for name, count in steps.items():
        print(f"pace  {name}  {count} steps", flush=True)
    checkpoint.write_card(build / "trials" / "pace", {"stage": "pace", "metrics": steps})


def seconds_a_step(rows: list[str], settings: config.Params, data: Path, build: Path, work: Path) -> dict[str, float]:
    """The median of some steps of each row."""
    catalogue, spent = Catalogue.load(build / "catalogue", data), {name: list[float]() for name in rows}
    folders: dict[str, Path] = {}
    for number in range(ROUNDS):
        for name in rows:
            family = duals.family(name, settings)
            row = config.with_steps(config.dual(settings, name), ROUNDS * (WARM + TIMED))
            folder = folders[name] = family.work_folder("pace", name, row, settings, build, work)
            if number == 0:
                (folder / training.CHECKPOINT).unlink(missing_ok=True)  # of a timing that was killed
            family.teach(
                row,
                settings,
                catalogue,
                build,
                folder=folder,
                name=f"pace {name}",
                accelerator=machine.accelerator(),
                stop_after=(number + 1) * (WARM + TIMED),
            )
            lines = (folder / "history.jsonl").read_text().splitlines()[-TIMED - 1 :]
            spent[name] += [after - before for before, after in pairwise(json.loads(line)["seconds"] for line in lines)]
    for folder in folders.values():
        checkpoint.clear(folder)
    return {name: median(seconds) for name, seconds in spent.items()}


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    run(lambda: main(**vars(parser.parse_args())))
