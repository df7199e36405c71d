"""Stage `compare`: build/evaluation/* -> build/metrics/compare.json, every two systems on the very same lists."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config, metrics, training
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import options, run
from fashionvl.stages.evaluate import can_rank

KEYS = ["protocol", "direction", "draw", "product", "picture", "group"]


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Paired differences of recall with 95 % intervals: first system minus second, in points of a hundred."""
    settings = config.load(params)
    finetuned = [f"{system}-retrieval" for system in settings.run if "retrieval" in settings.run_tasks]
    pretrained = [system for system in settings.run if can_rank(settings.systems[system])]
    systems = [*pretrained, *finetuned, *settings.run_contrast, *settings.run_clip]
    tables = {system: ranks_of(build / "evaluation" / system) for system in systems}
    found = {}
    for one, other in combinations(systems, 2):
        found[f"{one} - {other}"] = paired(tables[one], tables[other], settings.seed, f"{one} and {other}")
    checkpoint.write_json(build / "metrics" / "compare.json", found)
    for name, differences in found.items():
        for key, (mean, low, high) in differences.items():
            print(f"compare  {name:24s} {key:16s} {mean:+6.1f}  [{low:+.1f}, {high:+.1f}]", flush=True)


def ranks_of(folder: Path) -> pd.DataFrame:
    """The ranks that the stage `evaluate` left; a Problem when it has not finished."""
    checkpoint.read_card(folder)
    return pd.read_parquet(folder / "ranks.parquet")


def paired(one: pd.DataFrame, other: pd.DataFrame, seed: int, names: str) -> dict[str, list[float]]:
    """-> by protocol, direction and rank: the difference of recall and the ends of its interval, times 100."""
    both = one.merge(other, on=KEYS, suffixes=("_one", "_other"))
    if not len(both) == len(one) == len(other):
        raise Problem(f"{names} were not evaluated on the same lists; run `dvc repro` so that both are measured again")
    found = {}
    for (protocol, direction), rows in both.groupby(["protocol", "direction"], sort=False):
        for at in metrics.RANKS:
            gain = (rows["rank_one"] <= at).astype(float) - (rows["rank_other"] <= at).astype(float)
            of_query = gain.groupby([rows["group"], rows["product"]]).mean()
            generator = np.random.default_rng(training.seed_of(seed, 8, at))
            groups = of_query.index.get_level_values("group").to_numpy()
            low, high = metrics.interval(of_query.to_numpy(), groups, generator=generator)
            found[f"{protocol}.{direction}.R@{at}"] = [round(100 * x, 3) for x in (float(gain.mean()), low, high)]
    return found


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
