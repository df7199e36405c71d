"""Stage `trial ROW-SEED`: one dual encoder taught by one seed for the steps of build/trials/pace, ranked and probed.

Only the training depends on the seed: every trial is asked the very same questions. -> build/trials/ROW-SEED
"""

import time
from dataclasses import replace
from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import duals, evaluate, machine, options, probe, run
from fashionvl.stages.ablation import parts_of


def main(
    item: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
    stop_after: int | None = None,
) -> None:
    """Teach and examine one dual encoder; its weights are not kept.

    stop_after  leave after this many steps, with a checkpoint from which the next call goes on
    """
    machine.keep_freed_memory()
    settings = config.load(params)
    name, seed = parts_of(item)
    family, own = duals.family(name, settings), replace(settings, seed=seed)
    row = config.with_steps(config.dual(settings, name), paced(name, build))
    folder = family.work_folder("trial", item, row, own, build, work)
    print(f"run folder: {folder}", flush=True)
    catalogue, accelerator = Catalogue.load(build / "catalogue", data), machine.accelerator()
    model, facts = family.teach(
        row,
        own,
        catalogue,
        build,
        folder=folder,
        name=f"trial {item}",
        accelerator=accelerator,
        stop_after=stop_after,
    )
    if accelerator.is_main_process and stop_after is None:
        out, began = build / "trials" / item, time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        dual = family.dual(model, row, family.source_of(row, settings, build), settings, accelerator)
        scorer = duals.scorer(dual, catalogue, settings.evaluate.ranking_on, settings)
        found = {**evaluate.rank(catalogue, settings, scorer, out), **probe.probed(dual, catalogue, settings)}
        found = {name: round(value, 6) for name, value in found.items()}
        card = {"stage": "trial", "item": item, "row": name, "seed": seed, **facts, "metrics": found}
        card = machine.record(out, folder, card)
        checkpoint.write_card(out, {**card, "ranking_seconds": round(time.monotonic() - began, 1)})
        checkpoint.clear(folder)
        print(f"trial {item}  SumR {found['sampled.SumR']:.1f}", flush=True)


def paced(name: str, build: Path) -> int:
    """The steps of a row."""
    steps: int = checkpoint.read_card(build / "trials" / "pace")["metrics"][name]
    return steps


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("item", metavar="row-seed", help="a row of `trials` in params.yaml, and a seed")
    run(lambda: main(**vars(parser.parse_args())))
