"""A run of the pipeline, which the runs of its stages belong to: those of one flow, else of one process of DVC.

`.work/mirror/pipeline-<mark>/` holds `entry.json`, the files that say what the pipeline was, and in `stages/` how each
stage ended. Its end is that of the process that runs the pipeline, which the mirror sees however it came.
"""

import hashlib
import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from flows import env, facts

PREFIX = "pipeline-"
FILES = ("params.yaml", "data.dvc")
CLOCKS_DIFFER = 5.0  # seconds by which the start of one process may seem to move


def is_one(place: Path) -> bool:
    """True for the entry of a pipeline."""
    return place.name.startswith(PREFIX)


def identity(place: Path) -> str:
    """What its run is found by in MLflow."""
    return place.name.removeprefix(PREFIX)


def of(place: Path) -> Path | None:
    """The entry of the pipeline that the stage of an entry belongs to, as long as it is there."""
    mark = read(place).get("pipeline")
    found = place.parent / f"{PREFIX}{mark}"
    return found if mark and found.exists() else None


def read(place: Path) -> dict[str, Any]:
    """What an entry says."""
    return json.loads((place / "entry.json").read_text(encoding="utf-8"))


def write(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def is_alive(entry: dict[str, Any]) -> bool:
    """True while the process that runs the pipeline runs."""
    if entry.get("over"):
        return False
    process, began = entry["owner"]
    try:
        found = psutil.Process(process)
        same = abs(found.create_time() - began) < CLOCKS_DIFFER
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def opened(ledger: Path) -> Path | None:
    """The entry of the pipeline that this stage belongs to, made if it is the first; None where DVC did not start it.

    A flow starts a DVC for every stage: there the pipeline is the flow, and the process is the one above DVC.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    flow = os.environ.get("FLOW_RUN_ID")
    owner = psutil.Process(os.getppid())
    if flow:
        owner = owner.parent() or owner
    own = f"{socket.gethostname()} {env.project()} {owner.pid} {owner.create_time():.2f}"
    place = ledger / f"{PREFIX}{_mark(flow or own)}"
    (place / "stages").mkdir(parents=True, exist_ok=True)
    if not (place / "entry.json").exists():  # two first stages write the same
        began = owner.create_time()
        entry = {
            "id": identity(place),
            "name": f"{'flow' if flow else 'dvc'} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(began))}",
            "started": began,
            "root": str(Path.cwd()),
            "store": env.store_mark(),
            "owner": [owner.pid, began],
            "params": {},
            "tags": facts.checkout(),
        }
        write(place / "entry.json", entry)
    keep(place)
    return place


def finish(ledger: Path, flow: str) -> None:
    """Say that a flow is over, although the process it ran in may go on."""
    place = ledger / f"{PREFIX}{_mark(flow)}"
    with suppress(FileNotFoundError):  # it ran no stage
        write(place / "entry.json", {**read(place), "over": True})


def _mark(said: str) -> str:
    return hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()


def tags(place: Path) -> dict[str, str]:
    """Where it comes from, as tags."""
    return read(place)["tags"]


def keep(place: Path) -> None:
    """Keep parameters and the version of the data as they are now."""
    for name in FILES:
        with suppress(FileNotFoundError):
            shutil.copy2(Path(name), place / name)


def join(place: Path, stage: str, how: dict[str, Any]) -> None:
    """Note of a stage: its run's id, how it ended, what it measured."""
    file = os.environ.get("DVC_STAGE", "").rpartition(":")[0]
    write(place / "stages" / f"{stage}.json", {"stage": stage, "lock": str(_lock(file)), **how})


def _lock(file: str) -> Path:
    """Where DVC keeps what it knows of the stages of a file, from the root."""
    return (Path(file).parent if file else Path()) / "dvc.lock"


def stages(place: Path) -> list[dict[str, Any]]:
    """The stages that have run, as noted."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((place / "stages").glob("*.json"))]


def keep_locks(place: Path) -> None:
    """Keep the lock files of its stages as they are now."""
    root = Path(read(place)["root"])
    for name in {stage["lock"] for stage in stages(place)}:
        kept = place / name
        with suppress(FileNotFoundError):  # none yet, or an experiment's folder that is gone
            if not kept.exists() or kept.stat().st_mtime_ns != (root / name).stat().st_mtime_ns:
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, kept)


def status(place: Path) -> str:
    """How the pipeline went, as far as its stages say: FINISHED, FAILED or KILLED."""
    codes = [stage["code"] for stage in stages(place)]
    if any(code is None or code < 0 for code in codes):
        return "KILLED"
    return "FAILED" if any(codes) else "FINISHED"
