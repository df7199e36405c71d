"""A tiny project with the real edge and stages that take no time: what DVC, Prefect and MLflow do to it is real."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flows import env, server

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
        print(f"pretrain  step {step}/{recipe['steps']}")
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

# What the flow asks of the feed, the registry and the gate, over files: `feed.txt` is brought into data/, a version is
# a line of versions.json, and while `spoiled` lies in the checkout nothing is promoted.
INGEST = """\
import hashlib, json, pathlib, subprocess, sys
from dataclasses import dataclass, field
@dataclass
class News:
    feed: bool = False
    fresh: bool = False
    new: int = 0
    changed: int = 0
    withdrawn: int = 0
    md5: str = ""
    refused: str | None = None
    drift: dict = field(default_factory=dict)
def probe(root):
    text = (root / "feed.txt").read_text() if (root / "feed.txt").exists() else ""
    return News(feed=bool(text), fresh=bool(text), drift={"drifted": "moved" in text})
def take(root):
    feed, here = root / "feed.txt", root / "data" / "catalogue.csv"
    if not feed.exists():
        return News()
    text = feed.read_text()
    md5 = hashlib.md5(text.encode()).hexdigest()
    if "broken" in text:
        return News(feed=True, md5=md5, refused="line 1 is broken")
    if here.exists() and here.read_text() == text:
        return News(feed=True, md5=md5)
    here.parent.mkdir(exist_ok=True)
    here.write_text(text)
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "data"], cwd=root, check=True)
    return News(feed=True, fresh=True, new=2, md5=md5, drift={
        "drifted": "moved" in text,
        "measures": {"colour": {"value": 0.25, "level": 0.1, "limit": 0.2, "exceeded": True}},
    })
"""

REGISTRY = """\
import hashlib, json, os, pathlib, time
from dataclasses import dataclass
@dataclass
class Version:
    name: str
    version: int
    model_uri: str
    fresh: bool = False
    settled: bool = False
def _file(root):
    return root / ".work" / "versions.json"
def _all(root):
    return json.loads(_file(root).read_text()) if _file(root).exists() else {"made": [], "champion": None}
def register(system, root):
    if (root / "no-registry").exists():
        raise ConnectionError("the registry is away; start it, then `make run`")
    known = _all(root)
    here = hashlib.md5((root / "build" / "runs" / system / "history.jsonl").read_bytes()).hexdigest()
    fresh = here not in known["made"]
    if fresh:
        known["made"].append(here)
        _file(root).write_text(json.dumps(known))
        if (root / "die-registering").exists():
            os.kill(os.getpid(), 9)
    return Version(system, known["made"].index(here) + 1, "x", fresh, here in known.get("judged", []))
def champion(system):
    known = _all(pathlib.Path.cwd())
    return Version(system, known["champion"], "x") if known["champion"] else None
def note(version, tags):
    known = _all(pathlib.Path.cwd())
    notes = {**known.get("notes", {}), str(version.version): tags}
    _file(pathlib.Path.cwd()).write_text(json.dumps({**known, "notes": notes}))
def promote(system, version):
    known = _all(pathlib.Path.cwd())
    judged = [*known.get("judged", []), known["made"][version.version - 1]]
    _file(pathlib.Path.cwd()).write_text(json.dumps({**known, "champion": version.version, "judged": judged}))
"""

GATE = """\
from dataclasses import dataclass
@dataclass
class Verdict:
    promote: bool
    reasons: list
    markdown: str
    table: list
def judge(system, challenger, champion, root):
    spoiled = (root / "spoiled").exists()
    reasons = ["R@1 fell by 12 points"] if spoiled else []
    return Verdict(not spoiled, reasons, "the gate looked", [{"metric": "R@1", "challenger": 0.5, "champion": 0.4}])
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

    def processes(self) -> dict[int, str]:
        """The commands of all processes that work in the checkout, by their id."""
        found = {}
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdigit() and (place / "cwd").resolve() == self.root:
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended while we looked
        return {number: command for number, command in found.items() if command}

    def history(self) -> list[Path]:
        return list(self.root.glob(".work/pretrain-*/*/history.jsonl"))


@pytest.fixture
def project(tmp_path) -> Project:
    """A committed checkout with the real flows/ and .dvc/config, and stages that only sleep and write."""
    return checkout(tmp_path / "checkout")


def checkout(root: Path) -> Project:
    made = Project(root)
    shutil.copytree(ROOT / "flows", made.root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "prefect.yaml"):
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
def shop(project) -> Project:
    """The checkout with a catalogue that DVC knows, and a feed, a registry and a gate that take no time."""
    return furnish(project)


def furnish(project: Project) -> Project:
    for name, code in {"ingest": INGEST, "registry": REGISTRY, "gate": GATE}.items():
        project.write(f"flows/{name}.py", code)
    project.write("params.yaml", project.read("params.yaml") + "run_contrast: []\nrun_clip: []\n")
    project.write("dvc.yaml", PIPELINE.replace("[src/fashionvl/stages/cat", "[data, src/fashionvl/stages/cat"))
    project.write("data/catalogue.csv", "product_id\n")
    project.ok(sys.executable, "-m", "dvc", "add", "-q", "data")
    project.commit()
    return project


@pytest.fixture(scope="session")
def prefect(tmp_path_factory) -> Iterator[str]:
    """The address of a Prefect server for all tests that do not start one of their own."""
    home, port = tmp_path_factory.mktemp("prefect"), server.free_port(4500)
    settings = {**env.DEFAULTS, **server.PRIVATE, "PREFECT_HOME": str(home)}
    process = server.start(server.prefect(port), home / "server.log", settings)
    address = f"http://{server.HOST}:{port}/api"
    try:
        server.until_it_answers(address, process, home / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait()


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
