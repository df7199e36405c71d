"""What is known of a run from the files of the checkout: parameters, commit, the versions of data and inputs."""

import hashlib
import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

PIPELINES = ("dvc.yaml", "ablations/dvc.yaml", "trials/dvc.yaml", "compare/dvc.yaml")
SETTINGS = {
    "checkpoints": ("last", "none"),  # whether the weights of finished trainings go to MLflow
    "pictures": (
        "none",
        "local",
        "all",
    ),  # pages with the user's pictures; local: where MLflow is a file of this machine
}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the other one takes a second for dvc.lock


class FactError(Exception):
    """A file of the checkout does not say what must be known; the message says what to write there."""


def read(path: Path) -> Any:
    """What a YAML file of the checkout says."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


def settings(root: Path | None = None) -> dict[str, str]:
    """`tracking` of params.yaml: what MLflow may be told, by what it is about (SETTINGS); {} where there is no file.

    Raises FactError where it does not say.
    """
    path = (root or Path()) / "params.yaml"
    if not path.exists():
        return {}
    said = _value("tracking", read(path) or {})
    for name, known in SETTINGS.items():
        if not isinstance(said, dict) or said.get(name) not in known:
            raise FactError(f"{path} must say what becomes of tracking.{name}: one of {', '.join(known)}")
    return {name: said[name] for name in SETTINGS}


def params_of(stage: str, item: str | None, root: Path | None = None) -> dict[str, str]:
    """The parameters that DVC's files name for a stage, flattened: {"systems.kaleido.model.width": "256", ...}."""
    root = root or Path()
    if not (root / "params.yaml").exists():
        return {}
    values = read(root / "params.yaml")
    flat: dict[str, str] = {}
    for name in _named(stage, item, values, root):
        _flatten(name, _value(name, values), flat)
    return flat


def _named(stage: str, item: str | None, values: dict, root: Path) -> list[str]:
    """The names under `params` of the entry that runs this stage on this item."""
    for file in (root / path for path in PIPELINES if (root / path).exists()):
        for body in read(file)["stages"].values():
            recipe = body.get("do", body)
            words = str(recipe.get("cmd", "")).split()
            called = words[words.index("flows.stage") + 1 :] if "flows.stage" in words else []
            if called[:1] != [stage]:
                continue
            for said in _items(body, values):
                if [_filled(word, said, values) for word in called[1:2]] == ([item] if item else []):
                    return [_filled(name, said, values) for name in recipe.get("params", [])]
    return []


def _filled(name: str, said: dict[str, str], values: dict) -> str:
    """A name with what stands for its ${...}: of the item, else a value of params.yaml."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: said.get(found[1]) or str(_value(found[1], values)), name)


def _items(body: dict, values: dict) -> list[dict[str, str]]:
    """What stands for `key` and `item` in every item of an entry of a DVC file; nothing in one that has no items."""
    if "matrix" in body:
        axes = {axis: list(_value(of.strip("${}"), values)) for axis, of in body["matrix"].items()}
        found = (dict(zip(axes, map(str, those), strict=True)) for those in itertools.product(*axes.values()))
        return [{"key": "-".join(those.values()), **{f"item.{k}": v for k, v in those.items()}} for those in found]
    if "foreach" in body:
        items = _value(body["foreach"].strip("${}"), values)
        named = items if isinstance(items, dict) else {name: name for name in items}
        return [{"key": key, "item": str(item)} for key, item in named.items()]
    return [{}]


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


def data_md5(root: Path | None = None) -> str:
    """DVC's md5 of data/, empty where data.dvc is not there."""
    path = (root or Path()) / "data.dvc"
    return read(path)["outs"][0]["md5"] if path.exists() else ""


def inputs(lock: dict[str, Any], stage: str) -> dict[str, str]:
    """What DVC's lock says a stage was made from: path -> md5, of those dependencies that have one."""
    known = lock.get("stages", {}).get(stage, {})
    return {dep["path"]: dep["md5"] for dep in known.get("deps", []) if "md5" in dep}


def checkout() -> dict[str, str]:
    """Where a run comes from: the commit, the parameters, the data, the run of the flow, the experiment; as tags."""
    found = {"git.commit": _git("rev-parse", "HEAD")}
    if found["git.commit"]:
        # dvc.lock changes while the pipeline runs; that is no change of code.
        found["git.dirty"] = str(bool(_git("status", "--porcelain", "-uno", "--", ".", ":!dvc.lock"))).lower()
    if Path("params.yaml").exists():
        found["params.md5"] = hashlib.md5(Path("params.yaml").read_bytes(), usedforsecurity=False).hexdigest()
    found["data.md5"] = data_md5()
    found["prefect.flow_run_id"] = os.environ.get("FLOW_RUN_ID", "")
    found["dvc.experiment"] = os.environ.get("DVC_EXP_NAME", "")
    return {tag: value for tag, value in found.items() if value}


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
