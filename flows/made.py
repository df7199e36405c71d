"""What a trained system is made of, as DVC knows it: the same content has the same name, whenever it is asked for."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows import env, facts

SHOWN = re.compile(r"^sampled\..*R@1$|^full\..*R@1$|^(image|both)\.accuracy$|\.cider$")
TEMPERATURE = ".temperature"  # of all that is measured, what changes how a system answers

SETTLED = ("build/patches", "build/alignment", "build/metrics")  # what a system has of these are settings, or nothing


class LineageError(Exception):
    """What a system is made of is not there or not up to date; the message says what to do."""


@dataclass(frozen=True)
class Made:
    """A trained system in build/.

    md5    changes with whatever changes an answer: weights, words, how pictures are cut, temperatures
    parts  path: DVC's md5
    tags   where it comes from
    """

    md5: str
    parts: dict[str, str]
    tags: dict[str, str]


def made_of(system: str, root: Path = env.ROOT) -> Made:
    """What is in build/ of one system, up to date by DVC's own word.

    Raises LineageError where something is missing, or is not what DVC would make now.
    """
    card = _json(root / "build" / "runs" / system / "card.json")
    if card.get("stage") != "pretrain":
        raise LineageError(f"build/runs/{system} holds no trained system: train it (`dvc repro` or `make run`)")
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    kind = card["system"]["patches"]
    _check_heads(system, params, root)
    heads = [task for task in params["finetune"] if (root / f"build/finetuned/{system}-{task}/card.json").exists()]
    locked = _locked(root)
    parts, stages = {}, set()
    for path in _paths(system, kind, params["patches"][kind].get("regions") or {}, heads, locked):
        if path not in locked:
            raise LineageError(f"{path} is not in dvc.lock: DVC did not make it; run `dvc repro`, or delete it")
        stage, md5 = locked[path]
        stages.add(stage)
        parts[path] = md5
    _check_fresh(sorted(stages), root)
    measured = {
        name: _json(root / f"build/metrics/{name}.json") for name in [system, *(f"{system}-{h}" for h in heads)]
    }
    settings = {
        "patches": params["patches"][kind],
        "alignment": params["alignment"],
        "temperatures": {name: _named(found, TEMPERATURE) for name, found in measured.items()},
        **_words(kind, root),
    }
    weighed = {path: md5 for path, md5 in parts.items() if not path.startswith(SETTLED)}
    said = json.dumps([system, weighed, settings], sort_keys=True)
    md5 = hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()
    return Made(md5, parts, {**facts.checkout(), **_tags(system, md5, measured, root)})


def _check_heads(system: str, params: dict[str, Any], root: Path) -> None:
    """Raises LineageError for a head in build/ that no stage makes any more: the system would be saved with it."""
    for task in params["finetune"]:
        if task not in params["run_tasks"] and (root / f"build/finetuned/{system}-{task}").exists():
            raise LineageError(
                f"build/finetuned/{system}-{task} is there, but `run_tasks` in params.yaml does not name {task}:"
                " delete that folder, or name the task again"
            )


def _paths(system: str, kind: str, regions: dict[str, Any], heads: list[str], locked: dict[str, Any]) -> list[str]:
    """What the library reads of a system; captioner and alignment only where they were made, and not of regions."""
    weights = [f"build/runs/{system}", *(f"build/finetuned/{system}-{head}" for head in heads)]
    weights += ["build/encoder"] if regions.get("features") != "detector" else []
    weights += ["build/detector"] if regions.get("detector") == "scratch" else []
    needed = [*(f"{folder}/model.safetensors" for folder in weights), "build/words", f"build/patches/{kind}"]
    optional = [f"build/metrics/{system}-{head}.json" for head in heads]
    if not regions:
        optional += ["build/captioner/model.safetensors", f"build/alignment/{kind}/card.json"]
    return needed + [path for path in optional if path in locked]


def _words(kind: str, root: Path) -> dict[str, str]:
    """The visual words that segments are called by: of all that `patches` makes they alone are learned."""
    said = _json(root / "build" / "patches" / kind / "manifest.json").get("words")
    return {"words": said["sha256"]} if said else {}


def _locked(root: Path) -> dict[str, tuple[str, str]]:
    """Everything that dvc.lock names -> path: (the stage that made it, its md5)"""
    file = root / "dvc.lock"
    if not file.exists():
        raise LineageError(f"{file} does not exist: nothing was made by DVC yet; run `dvc repro` or `make run`")
    stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
    return {out["path"]: (name, out["md5"]) for name, stage in stages.items() for out in stage.get("outs", [])}


def _check_fresh(stages: list[str], root: Path) -> None:
    """Raises LineageError unless DVC finds nothing changed of the stages that made a system."""
    answer = env.dvc("status", "--json", *stages, root=root)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise LineageError(f"DVC cannot say whether the system is up to date: {last}")
    changed = json.loads(answer.stdout)
    if changed:
        raise LineageError(f"{', '.join(changed)} is not up to date: run `dvc repro` or `make run` first")


def _tags(system: str, md5: str, measured: dict[str, dict], root: Path) -> dict[str, str]:
    """What a version is tagged with, beside what every run is."""
    shown = {f"{of}.{name}": round(value, 4) for of, found in measured.items() for name, value in _shown(found).items()}
    found = {"system": system, "dvc.md5": md5, "data.md5": facts.data_md5(root), "metrics": json.dumps(shown)}
    return {name: value for name, value in found.items() if value}


def _shown(found: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in found.items() if SHOWN.search(name)}


def _named(found: dict[str, Any], ending: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name.endswith(ending)}


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
