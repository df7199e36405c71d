"""What MLflow keeps: the runs of the last days, the newest versions of each model, and all that an alias names."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from flows import env, guard, ledger, tracking
from flows.retention import DAY, megabytes, size
from flows.retention_cache import EVERYTHING

if TYPE_CHECKING:
    from flows.retention import Policy

MODELS = "fashionvl-"  # how registered models of this project are called
PARENT = "mlflow.parentRunId"
PAGE = 500


@dataclass(frozen=True)
class Left:
    """lines for what went; needed: everything that a version which stays says of itself, such as its experiment."""

    lines: list[str] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Shelf:
    """What of MLflow stays whatever its age, and the versions that go.

    said  ids of runs and models, names of experiments: all that the versions which stay say of themselves
    """

    said: set[str]
    old: list[Any]


def clean(root: Path, policy: "Policy", dry_run: bool) -> Left:
    """Delete old versions, models and runs, with their files -> what went, and what the rest needs.

    Where MLflow is away nothing goes, and DVC's cache keeps all experiments.
    """
    if env.told_store() is None and not (root / "mlflow.db").exists():
        return Left()
    with guard.turn(root / ".work" / "registry.lock", "clean-old") if not dry_run else nullcontext():
        try:
            client, experiment = tracking.connect()
            shelf = _shelf(client, policy.versions)
            before = time.time() - policy.runs_days * DAY
            models, runs = _old_models(client, experiment, shelf, before), _old_runs(client, experiment, shelf, before)
            lines = [f"version  {one.name} {one.version}" for one in shelf.old]
            lines += [f"model  {one.name} {one.model_id}  {_weight(one.artifact_location)}" for one in models]
            lines += [f"run  {one.info.run_name} {one.info.run_id}  {_weight(one.info.artifact_uri)}" for one in runs]
            if not dry_run:
                lines += _delete(client, shelf.old, models, runs)
        except tracking.away() as trouble:
            reason = env.first_line(trouble)
            return Left([f"MLflow at {env.shown_store()} is left alone, it is away ({reason})"], {EVERYTHING})
    return Left(lines, shelf.said)


def _shelf(client: Any, keep: int) -> Shelf:
    said: set[str] = set()
    old = []
    for model in _pages(lambda token: client.search_registered_models(f"name LIKE '{MODELS}%'", page_token=token)):
        named = {int(version) for version in client.get_registered_model(model.name).aliases.values()}
        versions = list(
            _pages(lambda token, name=model.name: client.search_model_versions(f"name='{name}'", page_token=token))
        )
        newest = sorted((int(one.version) for one in versions), reverse=True)[:keep]
        for one in versions:
            if int(one.version) in named or int(one.version) in newest:
                said |= _says(client, one)
            else:
                old.append(one)
    return Shelf(said, sorted(old, key=lambda one: (one.name, int(one.version))))


def _says(client: Any, version: Any) -> set[str]:
    """The ids and names that a version and its model give."""
    found = {version.run_id, version.model_id, version.source.rpartition("/")[2], *version.tags.values()}
    if version.source.startswith("models:/m-"):
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        found |= {model.model_id, model.source_run_id, *model.tags.values()}
    return {name for name in found if name}


def _old_models(client: Any, experiment: str, shelf: Shelf, before: float) -> list[Any]:
    """Logged models that no version which stays needs, and that are older than a time."""
    found = _pages(lambda token: client.search_logged_models([experiment], page_token=token))
    going = {one.source.removeprefix("models:/") for one in shelf.old}
    return [
        one
        for one in found
        if one.model_id not in shelf.said and (one.creation_timestamp / 1000 < before or one.model_id in going)
    ]


def _old_runs(client: Any, experiment: str, shelf: Shelf, before: float) -> list[Any]:
    """Runs that ended before a time, or were deleted by hand, and that nothing needs which stays.

    A run of a version stays with its parent and with the parent's other runs: what a model came from is told whole.
    """
    from mlflow.entities import ViewType

    runs = list(
        _pages(
            lambda token: client.search_runs(
                [experiment], run_view_type=ViewType.ALL, max_results=PAGE, page_token=token
            )
        )
    )
    needed = {one.info.run_id for one in runs if one.info.run_id in shelf.said}
    needed |= {one.data.tags[PARENT] for one in runs if one.info.run_id in needed and PARENT in one.data.tags}
    needed |= {one.info.run_id for one in runs if one.data.tags.get(PARENT) in needed}
    untold = {_entry_id(path) for path in ledger.waiting()}
    return [
        one
        for one in runs
        if one.info.run_id not in needed
        and one.data.tags.get(ledger.ENTRY_TAG) not in untold
        and ((one.info.end_time or one.info.start_time) / 1000 < before or one.info.lifecycle_stage == "deleted")
    ]


def _entry_id(place: Path) -> str:
    return str(json.loads((place / "entry.json").read_text(encoding="utf-8"))["id"])


def _delete(client: Any, versions: list[Any], models: list[Any], runs: list[Any]) -> list[str]:
    """Versions first: none may name a model that is gone -> a line where a server has to do the rest."""
    store = client._tracking_client.store
    for one in versions:
        if not client.get_model_version(one.name, one.version).aliases:  # it may have been promoted meanwhile
            client.delete_model_version(one.name, one.version)
    for model in models:
        client.delete_logged_model(model.model_id)
    for run in runs:
        if run.info.lifecycle_stage != "deleted":
            client.delete_run(run.info.run_id)
    if not hasattr(store, "_hard_delete_run"):  # MLflow lets only its own database forget for good
        return (
            [f"MLflow's server at {env.shown_store()} holds their files until `mlflow gc` is run there"] if runs else []
        )
    for model in models:
        _delete_files(model.artifact_location)
        store._hard_delete_logged_model(model.model_id)
    for run in runs:
        _delete_files(run.info.artifact_uri)
        store._hard_delete_run(run.info.run_id)
    return []


def _delete_files(address: str) -> None:
    """The files under an address of MLflow's, and the folder that held nothing else."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    place = _place(address)
    if place is None:
        get_artifact_repository(address).delete_artifacts()
    elif place.exists():
        shutil.rmtree(place)
    if place is not None and place.parent.is_dir() and not any(place.parent.iterdir()):
        place.parent.rmdir()


def _place(address: str) -> Path | None:
    """The folder of an address on this machine, None for one elsewhere."""
    parts = urlparse(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _weight(address: str) -> str:
    place = _place(address)
    return megabytes(size(place)) if place else f"in {address}"


def _pages(ask: Any) -> Iterator[Any]:
    """Everything that MLflow lists page by page."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return
