"""Stage `pace`: how many steps of each row of the trials the same minutes are -> build/trials/pace.

Rows take turns while they are timed, so that a busy machine slows all alike. What is trained depends on these numbers
and no longer on the machine.
"""

from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import duals, machine, options, run, turns
from fashionvl.stages.turns import steps_in


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
    catalogue = Catalogue.load(build / "catalogue", data)
    timed = {name: config.with_steps(config.dual(settings, name), turns.STEPS) for name in rows}
    families = {name: duals.family(name, settings) for name in rows}
    folders = {
        name: families[name].work_folder("pace", name, row, settings, build, work) for name, row in timed.items()
    }

    def teach(name: str, stop_after: int) -> None:
        families[name].teach(
            timed[name],
            settings,
            catalogue,
            build,
            folder=folders[name],
            name=f"pace {name}",
            accelerator=machine.accelerator(),
            stop_after=stop_after,
        )

    return turns.seconds_a_step(folders, teach)


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    run(lambda: main(**vars(parser.parse_args())))
