"""Run folders and unfinished work: weights as safetensors, facts as card.json, written so that a kill loses nothing."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fashionvl.catalogue.problems import Problem

VERSION = 1  # of run folders and cards; raised when an older reader would misread a newer folder


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is either the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write safetensors so that the file is either the old one or the new one; `facts` go into its header."""
    part = path.with_name(path.name + ".part")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part, dict(facts or {}))
    part.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """-> the tensors by name and the facts of the header; a broken file is a Problem that names it."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
        return load_file(path), facts
    except SafetensorError as error:
        raise Problem(f"{path} cannot be read ({error}); delete it and run again") from None


def save(folder: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Put a trained model on the shelf: `model.safetensors`, then `card.json`, whose existence says it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", weights)
    write_card(folder, card)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write card.json, the last file of every folder a stage makes."""
    write_json(folder / "card.json", {"version": VERSION, **card})


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a folder; a missing one, or one of another version, is a Problem that says what to do."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{folder} has no card.json: the stage that makes it has not finished; run `dvc repro`") from None
    except json.JSONDecodeError as error:
        raise Problem(f"{folder / 'card.json'} is not valid JSON ({error}); run its stage again") from None
    if card.get("version") != VERSION:
        raise Problem(
            f"{folder} was written by version {card.get('version')} of run folders, this code reads {VERSION};"
            " run its stage again, or use the code it was made with"
        )
    return card


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """-> the weights by name and the card of a trained model."""
    card = read_card(folder)
    return read_tensors(folder / "model.safetensors")[0], card


def fingerprint(*, params: Any, inputs: Iterable[Path]) -> str:
    """Sixteen hex digits that change with the parameters, the content of the inputs, or this package's code.

    params  a dataclass or plain values
    inputs  files and folders; a folder with a manifest.json (which holds checksums) is known by that manifest,
            any other by the content of its files, save card.json, which holds times
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(params, default=_plain, sort_keys=True).encode())
    for path in inputs:
        for file in _files(path):
            digest.update(f"{file.name}\0{_digest(file)}\0".encode())
    package = Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0{_digest(file)}\0".encode())
    return digest.hexdigest()[:16]


def work_folder(work: Path, stage: str, item: str | None, mark: str) -> Path:
    """The folder of one unfinished training: `.work/<stage>[-<item>]/<fingerprint>`, made if it is not there."""
    folder = work / (f"{stage}-{item}" if item else stage) / mark
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear(folder: Path) -> None:
    """Forget an unfinished training once its run folder is complete, and those of the same name before it."""
    shutil.rmtree(folder.parent, ignore_errors=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise Problem(f"{path} does not exist; run the stage that makes it (`dvc repro`)")
    manifest = path / "manifest.json"
    if manifest.exists():
        return [manifest]
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "card.json")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
