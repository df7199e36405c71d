"""What one run leaves for the next in `.work/flow/`, so that a run which was killed anywhere is finished by the next.

`settled.json` names the dvc.lock whose models the registry has been told of.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from flows import env, graph, ledger


def folder() -> Path:
    """Where the notes lie, one folder for all runs; made if it is not there."""
    place = env.work() / "flow"
    place.mkdir(parents=True, exist_ok=True)
    return place


def to_register(root: Path = env.ROOT) -> list[str]:
    """The rows of `run`, which become versions."""
    return list(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))["run"])


def is_settled(systems: list[str], root: Path = env.ROOT) -> bool:
    """True when a run ended well with this very dvc.lock, for these systems, in this very registry."""
    return set(systems) <= set(_settled(root))


def settle(systems: list[str], root: Path = env.ROOT) -> None:
    """Note that what dvc.lock names was registered and judged."""
    known = sorted({*_settled(root), *systems})
    ledger.write(folder() / "settled.json", {**_facts(root), "systems": known})


def _settled(root: Path) -> list[str]:
    """The systems that are; none when dvc.lock or the registry is another one now, or the registry was deleted."""
    file = folder() / "settled.json"
    said = json.loads(file.read_text()) if file.exists() else {}
    there = env.told_store() or (env.project() / "mlflow.db").exists()
    return said["systems"] if there and said.items() >= _facts(root).items() else []


def _facts(root: Path) -> dict[str, Any]:
    return {"lock": graph.mark(root), "registry": env.store_mark()}
