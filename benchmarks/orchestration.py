"""What Prefect, DVC and MLflow cost: the sample's pipeline beside its bare stages, a training with and without mirror.

    python benchmarks/orchestration.py [--pairs 3] [--mirror-pairs 5] [--steps 400] [--training-steps N] [--params FILE]

`make run` in a checkout of this code, and `python -m fashionvl.stages.X` for the same stages in the same order and the
same judging at the end, in turn and each first in every other pair; what was made is removed before each, what MLflow
knows too, so that every run registers and judges. Then
the pre-training alone, as DVC runs it and bare, in turn. By default trainings are as long as params.yaml has them:
a pair is some twenty minutes on two cores. --training-steps makes every training that short, for a look in minutes,
where the overhead, which is so much a stage, is a larger share. The last line is one JSON object:

overhead    seconds of `make run` over those of the bare stages, less one: median over pairs, and its 95 % bounds
mirroring   seconds of the steps of a mirrored training over those of a bare one, less one; likewise
added       seconds that `make run` adds to one stage, on average
load        of the machine before and after: numbers mean little where others compute too
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
CODE = (
    "src",
    "flows",
    "ablations",
    "dvc.yaml",
    "data.dvc",
    "pyproject.toml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
MADE = ("build", "dvc.lock", ".dvc/cache", ".dvc/tmp")
TRAINED = "kaleido"
DRAWS = 10_000  # of the bootstrap
# Databases are made once in the life of a checkout.
FIRST = """
from flows import env, server, tracking
env.apply()
tracking.connect()
with server.running() as (address, wait):
    wait()
"""
STAGES = """
import json, networkx
from dvc.repo import Repo
with Repo(".") as repo:
    order = reversed(list(networkx.topological_sort(repo.index.graph)))
    print(json.dumps([stage.cmd for stage in order if stage.cmd and ":" not in stage.addressing]))
"""


# What the gate asks of what was trained, without registry.
SAVED = "build/saved"
SAVE = f"import fashionvl; fashionvl.load('build/runs/{TRAINED}').save_pretrained('{SAVED}')"
JUDGE = ("-m", "fashionvl.pretrained.judging", SAVED, "--out", "build/judged")


class Checkout:
    """A copy of this code with the sample in data/, to run things in."""

    def __init__(self, root: Path, params: dict[str, Any]):
        self.root = root
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        ours = ("DVC_", "MLFLOW_", "PREFECT_", "FLOW_RUN_ID")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment |= {"PATH": path, "PYTHONPATH": str(root / "src")}
        for name in CODE:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, root / name)
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        self.run("git", "init", "-q", ".")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "benchmark")
        self.python("-c", "from flows import data, env; env.apply(); data.ensure()")
        self.python("-c", FIRST)
        shutil.copy2(root / "mlflow.db", root / "mlflow.empty")
        commands = json.loads(self.python("-c", STAGES).splitlines()[-1])
        self.bare = [bare(command) for command in commands]

    def run(self, *command: str) -> str:
        """Run to the end -> what it said; ends the benchmark with that when it goes wrong."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def python(self, *arguments: str) -> str:
        return self.run(sys.executable, *arguments)

    def clean(self) -> None:
        """As before any stage has run."""
        for name in MADE:
            place = self.root / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        for place in (self.root / ".work").glob("*-*/"):
            shutil.rmtree(place)  # of trainings; none is unfinished
        shutil.copy2(self.root / "mlflow.empty", self.root / "mlflow.db")
        shutil.rmtree(self.root / ".work" / "flow", ignore_errors=True)  # what was settled
        self.python("-m", "dvc", "commit", "--quiet", "--force", "data.dvc")


def bare(command: str) -> list[str]:
    """The words of a stage's command as DVC has it, without what guards and mirrors it."""
    words = command.split()
    return ["-m", f"fashionvl.stages.{words[words.index('flows.stage') + 1]}", *words[words.index("flows.stage") + 2 :]]


def seconds_bare(here: Checkout) -> float:
    here.clean()
    began = time.perf_counter()
    for command in here.bare:
        here.python(*command)
    here.python("-c", SAVE)
    here.python(*JUDGE)
    return time.perf_counter() - began


def seconds_run(here: Checkout) -> float:
    here.clean()
    began = time.perf_counter()
    here.python("-m", "flows.run")
    spent = time.perf_counter() - began
    here.python("-m", "flows.tracking", "catch-up")  # before the next begins
    return spent


def step_seconds(here: Checkout, *, mirrored: bool) -> float:
    """The time of the steps of the pre-training, from the first to the last."""
    out = here.root / "build" / "runs" / TRAINED
    shutil.rmtree(out, ignore_errors=True)
    here.python("-m", *(["flows.stage", "pretrain"] if mirrored else ["fashionvl.stages.pretrain"]), TRAINED)
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return (lines[-1]["seconds"] - lines[0]["seconds"]) / (len(lines) - 1)


def median(ratios: list[float]) -> dict[str, Any]:
    """The median of what is above one, and its 95 % bounds by bootstrap over pairs (none where there is one pair)."""
    above = np.array(ratios) - 1
    drawn = np.random.default_rng(7).choice(above, (DRAWS, len(above)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    bounds = [round(float(low), 4), round(float(high), 4)] if len(above) > 1 else None
    return {"median": round(float(np.median(above)), 4), "bounds": bounds}


def pairs(what: str, count: int, first: Any, second: Any) -> tuple[list[float], list[float]]:
    """Both in turn, each first in every other pair -> what each gave."""
    found: tuple[list[float], list[float]] = ([], [])
    for pair in range(count):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            found[side].append((first, second)[side]())
        print(f"  {what} {pair + 1}: bare {found[0][-1]:.3f} s, ours {found[1][-1]:.3f} s", flush=True)
    return found


def shortened(value: Any, steps: int) -> Any:
    """Parameters with every training of so many steps."""
    if not isinstance(value, dict):
        return value
    made = {key: shortened(inner, steps) for key, inner in value.items()}
    if "least_steps" in made or "epochs" in made:
        made |= {"epochs": 0, "least_steps": steps}
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="of whole runs; 0 leaves them out")
    parser.add_argument("--mirror-pairs", type=int, default=5, help="of trainings; 0 leaves them out")
    parser.add_argument("--steps", type=int, default=400, help="of the training that is mirrored")
    parser.add_argument("--training-steps", type=int, help="of every training of the whole runs")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    chosen = parser.parse_args()
    params = yaml.safe_load(chosen.params.read_text())
    before, result = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory() as folder:
        here = Checkout(Path(folder), shortened(params, chosen.training_steps) if chosen.training_steps else params)
        if chosen.pairs:
            without, whole = pairs("run", chosen.pairs, lambda: seconds_bare(here), lambda: seconds_run(here))
            found = median([b / a for a, b in zip(without, whole, strict=True)])
            added = float(np.median(np.subtract(whole, without))) / len(here.bare)
            result = {"overhead": found["median"], "overhead_bounds": found["bounds"], "added": round(added, 2)}
            result |= {"bare_seconds": round(float(np.median(without)), 1), "stages": len(here.bare)}
        else:
            seconds_bare(here)  # what the training reads
        if chosen.mirror_pairs:
            params["systems"][TRAINED]["training"] |= {"epochs": 0, "least_steps": chosen.steps}
            (here.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
            ways = [lambda: step_seconds(here, mirrored=False), lambda: step_seconds(here, mirrored=True)]
            without, mirrored = pairs("step", chosen.mirror_pairs, *ways)
            found = median([b / a for a, b in zip(without, mirrored, strict=True)])
            result |= {"mirroring": found["median"], "mirroring_bounds": found["bounds"], "steps": chosen.steps}
    result["load"] = [round(before, 1), round(os.getloadavg()[0], 1)]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
