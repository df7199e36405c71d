"""Stage `budget COLUMN`: build/clock -> build/ablations/COLUMN, how many steps each seed of the column is trained for.

`comparison.COLUMN` is one of the other study, in build/comparisons.

As many as fit into the same time as those of the base row: the two are timed in turns, and only their ratio is used.
"""

from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.stages import ablation, clock, machine, options, pretrain, run

FINENESS = 20  # the ratio is taken in twentieths, so that columns of like cost have the same steps


def main(
    column: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Write the steps of one column and what they were reckoned from."""
    machine.keep_freed_memory()
    settings = config.load(params)
    study, _ = config.of_study(column)
    row, asked = config.column(settings, column), getattr(settings, study)
    facts: dict[str, float]
    if asked.steps is not None:
        facts = {"steps": asked.steps}
    else:
        base = checkpoint.read_card(build / "clock" / study)["metrics"]["steps"]
        cost = relative_cost(column, row, settings, data, build, work)
        facts = {"steps": max(1, round(base / cost)), "relative_cost": cost}
    # The fingerprint tells DVC, which sees no further than this card, that the trainings are to be done again.
    mark = checkpoint.fingerprint(params=[settings.text, row], inputs=pretrain.inputs_of(row, build))
    card = {"stage": "budget", "item": column, "inputs": mark, "metrics": facts}
    checkpoint.write_card(ablation.folder_of(build, column), card)
    print(f"budget {column}  {facts['steps']} steps a run", flush=True)


def relative_cost(
    column: str, row: config.System, settings: config.Params, data: Path, build: Path, work: Path
) -> float:
    """How long a step of the column takes, a step of the base row being 1."""
    study, name = config.of_study(column)
    base = getattr(settings, study).base
    of_base_row = config.row(settings.systems, base, "systems")
    if row == of_base_row:
        return 1.0
    rows = {f"systems.{base}": of_base_row, f"{study}.table.{name}": row}
    of_base, of_column = clock.seconds_a_step(rows, settings, data, build, work).values()
    return max(1, round(FINENESS * of_column / of_base)) / FINENESS


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    parser.add_argument("column", help="a row under `ablation.table` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
