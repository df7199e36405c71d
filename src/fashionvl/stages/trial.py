"""Stage `trial ROW-SEED`: one dual encoder taught by one seed for the steps of build/trials/pace, ranked and probed.

Only the training depends on the seed: every trial is asked the very same questions. R@1 is looked at a few times on the
way, to say how long a row needs for it. -> build/trials/ROW-SEED
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.stages import duals, evaluate, machine, options, probe, run
from fashionvl.stages.ablation import parts_of
from fashionvl.tasks import retrieval


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
    looks, steps = folder / "looks.jsonl", row.training.least_steps
    for stop in stops(steps, settings.trials.looks, training.steps_done(folder), stop_after):
        model, facts = family.teach(
            row,
            own,
            catalogue,
            build,
            folder=folder,
            name=f"trial {item}",
            accelerator=accelerator,
            stop_after=stop,
        )
        dual = family.dual(model, row, family.source_of(row, settings, build), settings, accelerator)
        scorer = duals.scorer(dual, catalogue, settings.evaluate.ranking_on, settings)
        if accelerator.is_main_process:
            note(looks, {"step": stop, **first_hits(catalogue, settings, scorer)})
    if accelerator.is_main_process and stop_after is None:
        out, began = build / "trials" / item, time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        found = {**evaluate.rank(catalogue, settings, scorer, out), **probe.probed(dual, catalogue, settings)}
        found = {name: round(value, 6) for name, value in found.items()}
        card = {"stage": "trial", "item": item, "row": name, "seed": seed, **facts, "metrics": found}
        card = machine.record(out, folder, card)
        learning_curve(out, looks, row, catalogue, facts).to_csv(out / "looks.csv", index=False, lineterminator="\n")
        checkpoint.write_card(out, {**card, "ranking_seconds": round(time.monotonic() - began, 1)})
        checkpoint.clear(folder)
        print(f"trial {item}  SumR {found['sampled.SumR']:.1f}", flush=True)


def stops(steps: int, looks: int, done: int, stop_after: int | None) -> list[int]:
    """The steps after which R@1 is looked at: what is still to come, and the end, or where it was told to leave.

    A kill may have come between the checkpoint of a step and the look at it: that one is taken again.
    """
    last = max(done, min(steps, stop_after or steps))
    return [*(at for at in (steps * look // looks for look in range(1, looks)) if done <= at < last), last]


def first_hits(catalogue: Catalogue, settings: config.Params, scorer: evaluate.PairScorer) -> dict[str, float]:
    """R@1 of both directions on the sampled lists."""
    lists = evaluate.lists_of(catalogue, settings)
    pairs = retrieval.pairs_needed(lists)
    score = retrieval.looked_up(*pairs, scorer(*pairs), len(catalogue.products))
    hit = retrieval.sampled_ranks(lists, score) <= 1
    return {way: float(hit[lists.direction == way].mean()) for way in retrieval.DIRECTIONS}


def note(file: Path, look: dict[str, float]) -> None:
    """Add a look; one at the same step, of a run that was killed after it, is replaced."""
    before = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    kept = [each for each in before if each["step"] < look["step"]]
    file.write_text("".join(json.dumps(each) + "\n" for each in [*kept, look]))


def learning_curve(out: Path, looks: Path, row: Any, catalogue: Catalogue, facts: dict[str, Any]) -> pd.DataFrame:
    """One row a look: step, seconds of training, pictures and patches that were shown till then, R@1 of both ways.

    A row without patches has shown none.
    """
    found = pd.DataFrame([json.loads(line) for line in looks.read_text().splitlines()])
    history = pd.DataFrame([json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()])
    batch = min(row.training.batch, int((catalogue.products["split"] == "train").sum()))
    patches = 0
    if "model" in facts:
        height, width = (side // facts["model"]["patch"] for side in facts["model"]["pixels"])
        patches = height * width
    shown = (1 - history.get("hidden", pd.Series(0.0, history.index))).cumsum() * batch * patches
    at = found["step"] - 1
    found.insert(1, "seconds", history["seconds"].to_numpy()[at].round(1))
    found.insert(2, "pictures", found["step"] * batch)
    found.insert(3, "patches", shown.to_numpy()[at].round().astype(int))
    return found


def paced(name: str, build: Path) -> int:
    """The steps of a row."""
    steps: int = checkpoint.read_card(build / "trials" / "pace")["metrics"][name]
    return steps


if __name__ == "__main__":
    parser = options(__doc__, trains=True)
    parser.add_argument("item", metavar="row-seed", help="a row of `trials` in params.yaml, and a seed")
    run(lambda: main(**vars(parser.parse_args())))
