"""A tiny project with the real edge and stages that take no time: what DVC, Prefect and MLflow do to it is real."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

PARAMS = """\
run: {kaleido: kaleido}
run_tasks: []
systems: {kaleido: {steps: 20, pause: 0.02}}
seed: 7
tracking: {checkpoints: last, pictures: local}
"""

PIPELINE = """\
stages:
  catalogue:
    cmd: exec python -m flows.stage catalogue
    deps: [src/fashionvl/stages/catalogue.py]
    params: [seed]
    outs: [build/catalogue]
  pretrain:
    foreach: ${run}
    do:
      cmd: exec python -m flows.stage pretrain ${key}
      deps: [build/catalogue, src/fashionvl/stages/pretrain.py]
      params: ["systems.${key}", seed]
      outs: ["build/runs/${key}"]
  compare:
    cmd: exec python -m flows.stage compare
    deps: [build/runs, src/fashionvl/stages/compare.py]
    outs: [build/compared]
"""

CATALOGUE = """\
import pathlib
if pathlib.Path("broken").exists():
    raise SystemExit("the catalogue is broken")
out = pathlib.Path("build/catalogue")
out.mkdir(parents=True)
(out / "card.json").write_text('{"metrics": {"products": 3}}')
print("catalogue  3 products")
"""

PRETRAIN = """\
import json, pathlib, shutil, sys, time, yaml
name = sys.argv[1]
recipe = yaml.safe_load(open("params.yaml"))["systems"][name]
work = pathlib.Path(f".work/pretrain-{name}/{recipe['steps']:04d}")
work.mkdir(parents=True, exist_ok=True)
print(f"run folder: {work}")
history = work / "history.jsonl"
lines = history.read_text().splitlines(keepends=True) if history.exists() else []
start = len(lines) // 10 * 10  # a checkpoint every ten steps
history.write_text("".join(lines[:start]))
print(f"pretrain  from step {start}")
with history.open("a") as file:
    for step in range(start + 1, recipe["steps"] + 1):
        time.sleep(recipe["pause"])
        print(json.dumps({"step": step, "seconds": step / 10, "loss": 1 / step, "mlm": 2.0}), file=file, flush=True)
        print(f"pretrain  step {step}")
out = pathlib.Path(f"build/runs/{name}")
out.mkdir(parents=True, exist_ok=True)
shutil.copy(history, out / "history.jsonl")
(out / "curves.csv").write_text("step,loss\\n1,1\\n")
(out / "code.txt").write_text("the code of this checkout")
(out / "model.safetensors").write_bytes(b"weights")
(out / "card.json").write_text(json.dumps({"metrics": {"loss": 0.1, "i2t.R@1": 0.5}}))
shutil.rmtree(work)
"""

COMPARE = """\
import pathlib
pathlib.Path("build/compared").write_text(pathlib.Path("build/runs/kaleido/code.txt").read_text())
"""

CHECK = """\
import pathlib, sys
path = pathlib.Path(sys.argv[1])
table = path if path.is_file() else path / "catalogue.csv"
if not table.exists():
    raise SystemExit(f"{path} holds no catalogue")
"""

SAMPLE = """\
import pathlib, sys
out = pathlib.Path(sys.argv[1])
(out / "images").mkdir(parents=True)
(out / "catalogue.csv").write_text("product_id,image_path\\n1,images/1.jpg\\n")
changed = pathlib.Path("sample.txt")
(out / "images" / "1.jpg").write_text(changed.read_text() if changed.exists() else "1")
"""

STAGES = {"catalogue": CATALOGUE, "pretrain": PRETRAIN, "compare": COMPARE, "check": CHECK, "sample": SAMPLE}


SHOW = """\
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
def files(run_id, path=None):
    for file in client.list_artifacts(run_id, path):
        yield from files(run_id, file.path) if file.is_dir else [file.path]
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
        steps = {}
        for name in run.data.metrics:
            steps[name] = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        sets = [one.dataset for one in run.inputs.dataset_inputs]
        found.append({"id": run.info.run_id, "name": run.info.run_name, "status": run.info.status, "steps": steps,
                      "params": run.data.params, "tags": run.data.tags, "metrics": run.data.metrics,
                      "inputs": {one.name: [one.source_type, one.digest] for one in sets},
                      "files": sorted(files(run.info.run_id))})
print(json.dumps(found))
"""


class Project:
    """A checkout: runs commands in it as a user would, with this environment's python first on the path."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("DVC_", "MLFLOW_", "PREFECT_"))
            },
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t",
        }
        for name in ("PYTHONPATH", "SHELL"):  # without a SHELL, as under cron, DVC takes /bin/sh
            self.environment.pop(name, None)

    def run(self, *command: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ok(self, *command: str, **environment: str) -> str:
        answer = self.run(*command, **environment)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def commit(self) -> None:
        self.ok("git", "add", "-A")
        self.ok("git", "commit", "-q", "-m", "x")

    def history(self) -> list[Path]:
        return list(self.root.glob(".work/pretrain-*/*/history.jsonl"))


@pytest.fixture
def project(tmp_path) -> Project:
    """A committed checkout with the real flows/ and .dvc/config, and stages that only sleep and write."""
    made = Project(tmp_path / "checkout")
    shutil.copytree(ROOT / "flows", made.root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        made.write(name, (ROOT / name).read_text())
    for name, code in STAGES.items():
        made.write(f"src/fashionvl/stages/{name}.py", code)
    made.write("src/fashionvl/__init__.py", "")
    made.write("params.yaml", PARAMS)
    made.write("dvc.yaml", PIPELINE)
    made.ok("git", "init", "-q", ".")
    made.commit()
    return made


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for something to become true, or fail saying what did not."""

    def wait(what: str, holds: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            time.sleep(0.05)

    return wait


class Told(NamedTuple):
    """One dict a run, oldest first."""

    stages: list[dict]
    pipelines: list[dict]


@pytest.fixture
def told(project):
    """What MLflow knows, once the mirror has told it all; environment: where MLflow is, if not in the project."""

    def ask(**environment: str) -> Told:
        project.ok(sys.executable, "-m", "flows.tracking", "catch-up", **environment)
        store = environment.get("MLFLOW_TRACKING_URI", f"sqlite:///{project.root / 'mlflow.db'}")
        answer = project.run(sys.executable, "-c", SHOW, store, MLFLOW_DISABLE_TELEMETRY="true", **environment)
        assert answer.returncode == 0, answer.stderr
        found = Told([], [])
        for run in json.loads(answer.stdout.splitlines()[-1]):
            (found.pipelines if run["name"].startswith(("dvc ", "flow ")) else found.stages).append(run)
        return found

    return ask
