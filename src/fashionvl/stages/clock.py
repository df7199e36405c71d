"""Stage `clock STUDY`: how many steps of the base row the minutes of a study are -> build/clock/STUDY.

Timed once: what is trained depends on this number, and no longer on how busy the machine is.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import machine, options, pretrain, run, turns
from fashionvl.stages.turns import steps_in


def main(
    study: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Write the steps of the base row, or nothing where params.yaml gives steps and no minutes."""
    machine.keep_freed_memory()
    settings = config.load(params)
    asked: config.Study = config.row({name: getattr(settings, name) for name in config.STUDIES}, study, "the studies")
    facts: dict[str, float] = {}
    if asked.minutes is not None:
        row = config.row(settings.systems, asked.base, "systems")
        (each,) = seconds_a_step({f"systems.{asked.base}": row}, settings, data, build, work).values()
        facts = {"seconds_a_step": round(each, 4), "steps": steps_in(60 * asked.minutes, each)}
        print(f"clock  {facts['steps']} steps of {asked.base} in {asked.minutes:g} min", flush=True)
    checkpoint.write_card(build / "clock" / study, {"stage": "clock", "item": study, "metrics": facts})


def seconds_a_step(
    rows: Mapping[str, config.System], settings: config.Params, data: Path, build: Path, work: Path
) -> dict[str, float]:
    """The median of some steps of each row's training; rows take turns, so that a busy machine slows all alike.

    rows  by where they stand in params.yaml
    """
    catalogue = Catalogue.load(build / "catalogue", data)
    timed = {
        name: config.with_steps(replace(row, phases=[], model=replace(row.model, start=None)), turns.STEPS)
        for name, row in rows.items()
    }
    folders = {name: pretrain.work_folder("clock", name, row, settings, build, work) for name, row in timed.items()}

    def teach(name: str, stop_after: int) -> None:
        pretrain.train_system(
            timed[name],
            settings,
            catalogue,
            build,
            folder=folders[name],
            name=f"clock {name}",
            where=name,
            accelerator=machine.accelerator(),
            stop_after=stop_after,
        )

    return turns.seconds_a_step(folders, teach)


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    parser.add_argument("study", help="ablation or comparison, as params.yaml has them")
    run(lambda: main(**vars(parser.parse_args())))
