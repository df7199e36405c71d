"""Stage `ablation COLUMN-SEED`: one run of one column of the paper's Table 4 -> build/ablations/COLUMN-SEED.

The row of the column, trained by this seed for the steps of build/ablations/COLUMN, then ranked. Only the training
depends on the seed: every run is asked the very same questions. The weights are kept for the tasks that are learned
from them. `comparison.COLUMN-SEED` is a run of the other study, in build/comparisons.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.models.single_stream import SingleStream
from fashionvl.stages import evaluate, machine, options, pretrain, run


def main(
    item: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Train and rank one run.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    column, seed = parts_of(item)
    study, _ = config.of_study(column)
    steps = checkpoint.read_card(folder_of(build, column))["metrics"]["steps"]
    row = config.with_steps(config.column(settings, column), steps)
    own = replace(settings, seed=seed)
    folder = pretrain.work_folder("ablation", item, row, own, build, work)
    print(f"run folder: {folder}", flush=True)
    catalogue = Catalogue.load(build / "catalogue", data)
    accelerator = machine.accelerator()
    model, sizes = pretrain.train_system(
        row,
        own,
        catalogue,
        build,
        folder=folder,
        name=f"ablation {item}",
        where=f"{study}.table.{column.removeprefix(f'{study}.')}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        out = folder_of(build, item)
        out.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        asked = replace(settings, evaluate=config.ranked_by(settings, study))
        found = judge(model, sizes["objectives"], row, asked, catalogue, build, item)
        card = {"stage": "ablation", "item": item, "column": column, "seed": seed, "system": asdict(row)}
        card |= {"model": sizes}
        card = machine.record(out, folder, {**card, "metrics": found})
        card |= {"ranking_seconds": round(time.monotonic() - began, 1)}
        checkpoint.save(out, model.state_dict(), card)
        checkpoint.clear(folder)


def judge(
    model: SingleStream,
    objectives: list[str],
    row: config.System,
    settings: config.Params,
    catalogue: Catalogue,
    build: Path,
    item: str,
) -> dict[str, float]:
    """The losses and recalls of a model, on lists that the seed of params.yaml draws; leaves its ranks beside them.

    One without a matching head has losses alone.
    """
    found, scorer = evaluate.single_stream(model, objectives, row, settings, catalogue, build, f"ablation {item}")
    if "itm" in objectives:
        found |= evaluate.rank(catalogue, settings, scorer, folder_of(build, item))
        print(f"ablation {item}  SumR {found['sampled.SumR']:.1f}", flush=True)
    return {name: round(value, 6) for name, value in found.items()}


def folder_of(build: Path, item: str, what: str = "s") -> Path:
    """Where a run or a column is kept: comparison.oscar-1 -> build/comparisons/oscar-1; `_tasks` for its tasks."""
    study, name = config.of_study(item)
    return build / f"{study}{what}" / name


def parts_of(item: str) -> tuple[str, int]:
    """The column and the seed of a run: B+I-II-3 -> B+I-II, 3; comparison.oscar-1 -> comparison.oscar, 1."""
    column, _, seed = item.rpartition("-")
    if not column or not seed.isdecimal():
        raise config.ConfigError(f"{item!r} is no run of the ablations; one is called COLUMN-SEED, such as full-1")
    return column, int(seed)


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument(
        "item", metavar="column-seed", help="a column under `ablation.table` in params.yaml, and a seed"
    )
    run(lambda: main(**vars(parser.parse_args())))
