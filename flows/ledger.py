"""What MLflow is to be told of each run of a stage; kept on disk until it has been told.

One folder a run, `.work/mirror/<stage>[-<item>]-<mark>/`, where the mark is the name of the unfinished training's
folder, so that a training that was killed and goes on is the same run. It holds `entry.json`, and once the stage has
ended well a copy of what its output folder says.
"""

import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import IO, Any

import yaml

from flows import env

OUTPUTS = {
    "catalogue": "build/catalogue",
    "words": "build/words",
    "encoder": "build/encoder",
    "captioner": "build/captioner",
    "patches": "build/patches/{item}",
    "align": "build/alignment/{item}",
    "pretrain": "build/runs/{item}",
    "contrast": "build/runs/{item}",
    "evaluate": "build/evaluation/{item}",
    "finetune": "build/finetuned/{item}",
    "examine": "build/evaluation/{item}",
    "yardsticks": "build/metrics/yardsticks.json",
    "report": "build/report",
    "compare": "build/metrics/compare.json",
    "clock": "build/clock",
    "budget": "build/ablations/{item}",
    "ablation": "build/ablations/{item}",
    "ablation_tasks": "build/ablation_tasks/{item}",
    "ablations": "build/metrics/ablations.md",
}
PIPELINES = ("dvc.yaml", "ablations/dvc.yaml")
ALIVE = "alive"
KEPT = (
    "card.json",
    "curves.csv",
    "report.html",
    "compare.json",
    "yardsticks.json",
    "ablations.md",
    "history.jsonl",
    "confusion.png",
)
PICTURED = ("report.html",)  # of these: the pages of `catalogue` and `align`, which hold pictures of the user's


def folder() -> Path:
    """Where the entries lie."""
    return env.work() / "mirror"


def waiting() -> list[Path]:
    """The entries that MLflow has not been told of in full."""
    return sorted(path.parent for path in folder().glob("*/entry.json"))


def is_alive(place: Path) -> bool:
    """True while the stage of an entry runs, or its own mirror is still being waited for."""
    with (place / ALIVE).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def write(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


class Entry:
    """The entry of one run of a stage, while it runs."""

    def __init__(self, stage: str, item: str | None):
        self.stage, self.item = stage, item
        self.started = time.time()
        self.place: Path | None = None
        self.alive: IO[bytes] | None = None
        self.facts: dict[str, Any] = {}

    def open(self, run_folder: Path | None) -> Path:
        """Write the entry, or go on with that of a training which was killed -> its folder.

        run_folder  the folder of the unfinished training, whose history.jsonl is followed; None for other stages
        """
        name = f"{self.stage}-{self.item}" if self.item else self.stage
        mark = run_folder.name if run_folder else f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.place = folder() / f"{name}-{mark}"
        self.place.mkdir(parents=True, exist_ok=True)
        self.alive = (self.place / ALIVE).open("wb")
        fcntl.flock(self.alive, fcntl.LOCK_SH)  # until this process ends
        before = self.place / "entry.json"
        known = json.loads(before.read_text()) if before.exists() else {}
        label = f"{self.stage}@{self.item}" if self.item else self.stage
        self.facts = {
            "id": known.get("id", uuid.uuid4().hex),
            "stage": self.stage,
            "item": self.item,
            "name": os.environ.get("DVC_STAGE", label).rpartition(":")[2],  # less the file, where it is no root's
            "started": known.get("started", self.started),
            "history": str(run_folder / "history.jsonl") if run_folder else None,
            "params": params_of(self.stage, self.item),
            "tags": tags(),
            "code": None,
        }
        write(before, self.facts)
        return self.place

    def close(self, code: int) -> Path:
        """Note how the stage ended and keep what it said -> the entry's folder."""
        place = self.place or self.open(None)
        place.mkdir(parents=True, exist_ok=True)
        if code == 0:
            output = Path(OUTPUTS[self.stage].format(item=self.item)) if self.stage in OUTPUTS else place
            for file in [output] if output.is_file() else [output / name for name in kept()]:
                if file.exists() and output != place:
                    shutil.copy2(file, place / file.name)
        write(place / "entry.json", {**self.facts, "code": code, "ended": time.time()})
        return place


def kept() -> list[str]:
    """What of a stage's output folder MLflow is told; pages with the user's pictures where params.yaml lets them go.

    `tracking.pictures`: none | local, only where MLflow is this machine's file | all
    """
    values = yaml.safe_load(Path("params.yaml").read_text()) if Path("params.yaml").exists() else {}
    may = _value("tracking.pictures", values)
    allowed = may == "all" or (may == "local" and "MLFLOW_TRACKING_URI" not in os.environ)
    return [name for name in KEPT if allowed or name not in PICTURED]


def params_of(stage: str, item: str | None, root: Path | None = None) -> dict[str, str]:
    """The parameters that DVC's files name for a stage, flattened: {"systems.kaleido.model.width": "256", ...}."""
    root = root or Path()
    if not (root / "params.yaml").exists():
        return {}
    values = yaml.safe_load((root / "params.yaml").read_text())
    flat: dict[str, str] = {}
    for name in _named(stage, item, values, root):
        _flatten(name, _value(name, values), flat)
    return flat


def _named(stage: str, item: str | None, values: dict, root: Path) -> list[str]:
    """The names under `params` of the entry that runs this stage on this item."""
    for file in (root / path for path in PIPELINES if (root / path).exists()):
        for body in yaml.safe_load(file.read_text())["stages"].values():
            recipe = body.get("do", body)
            words = str(recipe.get("cmd", "")).split()
            runs = "flows.stage" in words and words[words.index("flows.stage") + 1] == stage
            if runs and item in (items := _items(body, values)):
                return [_filled(name, items[item], values) for name in recipe.get("params", [])]
    return []


def _filled(name: str, said: dict[str, str], values: dict) -> str:
    """A name with what stands for its ${...}: of the item, else a value of params.yaml."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: said.get(found[1]) or str(_value(found[1], values)), name)


def _items(body: dict, values: dict) -> dict[str | None, dict[str, str]]:
    """Every item of an entry of a DVC file, and what stands for `key` and `item` in it; None where it has none."""
    if "matrix" in body:
        axes = {axis: list(_value(of.strip("${}"), values)) for axis, of in body["matrix"].items()}
        found = (dict(zip(axes, map(str, those), strict=True)) for those in itertools.product(*axes.values()))
        joined = {"-".join(those.values()): those for those in found}
        return {key: {"key": key, **{f"item.{k}": v for k, v in those.items()}} for key, those in joined.items()}
    if "foreach" in body:
        items = _value(body["foreach"].strip("${}"), values)
        named = items if isinstance(items, dict) else {name: name for name in items}
        return {key: {"key": key, "item": str(item)} for key, item in named.items()}
    return {None: {}}


def _value(name: str, values: dict) -> Any:
    """What stands under a dotted name, an empty table where nothing does."""
    value: Any = values
    for part in name.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value


def _flatten(name: str, value: Any, flat: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, flat)
    else:
        flat[name] = json.dumps(value) if isinstance(value, list) else str(value)


def tags() -> dict[str, str]:
    """Where a run comes from: DVC's name of the stage, the commit, the parameters, the run of the flow."""
    found = {"git.commit": _git("rev-parse", "HEAD")}
    if found["git.commit"]:
        # dvc.lock changes while the pipeline runs; that is no change of code.
        found["git.dirty"] = str(bool(_git("status", "--porcelain", "-uno", "--", ".", ":!dvc.lock"))).lower()
    if Path("params.yaml").exists():
        found["params.md5"] = hashlib.md5(Path("params.yaml").read_bytes(), usedforsecurity=False).hexdigest()
    for tag, variable in (("dvc.stage", "DVC_STAGE"), ("prefect.flow_run_id", "FLOW_RUN_ID")):
        found[tag] = os.environ.get(variable, "")
    return {tag: value for tag, value in found.items() if value}


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
