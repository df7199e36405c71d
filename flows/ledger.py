"""What MLflow is to be told of each run of a stage; kept on disk until it has been told.

One folder a run, `.work/mirror/<stage>[-<item>]-<mark>/`, where the mark is the name of the unfinished training's
folder, so that a training that was killed and goes on is the same run. It holds `entry.json`, and once the stage has
ended well a copy of what its output folder says.
"""

import fcntl
import hashlib
import json
import os
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
    "patches": "build/patches/{item}",
    "pretrain": "build/runs/{item}",
    "contrast": "build/runs/{item}",
    "evaluate": "build/evaluation/{item}",
    "compare": "build/metrics",
}
ALIVE = "alive"
KEPT = ("card.json", "curves.csv", "report.html", "compare.json", "history.jsonl")


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
        self.facts = {
            "id": known.get("id", uuid.uuid4().hex),
            "stage": self.stage,
            "item": self.item,
            "name": os.environ.get("DVC_STAGE", f"{self.stage}@{self.item}" if self.item else self.stage),
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
            for file in (output / name for name in KEPT):
                if file.exists() and output != place:
                    shutil.copy2(file, place / file.name)
        write(place / "entry.json", {**self.facts, "code": code, "ended": time.time()})
        return place


def params_of(stage: str, item: str | None, root: Path | None = None) -> dict[str, str]:
    """The parameters that dvc.yaml names for a stage, flattened: {"systems.kaleido.model.width": "256", ...}."""
    root = root or Path()
    if not (root / "dvc.yaml").exists() or not (root / "params.yaml").exists():
        return {}
    values = yaml.safe_load((root / "params.yaml").read_text())
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    recipe = next((body.get("do", body) for body in stages.values() if _is(body, stage, item, values)), {})
    flat: dict[str, str] = {}
    for key in recipe.get("params", []):
        name = key.replace("${item}", item or "").replace("${key}", item or "")
        value: Any = values
        for part in name.split("."):
            value = value.get(part, {}) if isinstance(value, dict) else {}
        _flatten(name, value, flat)
    return flat


def _is(body: dict, stage: str, item: str | None, values: dict) -> bool:
    """True when this entry of dvc.yaml runs this stage on this item."""
    words = str(body.get("do", body).get("cmd", "")).split()
    items = values.get(str(body.get("foreach", "")).strip("${}"), [])
    return "flows.stage" in words and words[words.index("flows.stage") + 1] == stage and (item is None or item in items)


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
