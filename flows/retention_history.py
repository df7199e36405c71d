"""What Prefect's history keeps: the flow runs of the last days, through its own API."""

import json
import os
import sqlite3
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import server
from flows.retention import megabytes, size

if TYPE_CHECKING:
    from flows.retention import Policy

OURS = "fashionvl"  # the flow of the pipeline, and the tag of what runs by the clock
FLOWS = ("retrain", "evaluate", "clean")  # the other flows of this project
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
PAGE = 50
WAIT_SECONDS = 30.0  # for the server to forget the logs of what was deleted


def clean(root: Path, policy: "Policy", dry_run: bool) -> list[str]:
    """Delete old flow runs with their tasks, logs and artifacts -> lines; a server is started where none is up."""
    database = Path(os.environ.get("PREFECT_HOME", root / ".work" / "prefect")) / "prefect.db"
    shared = "PREFECT_API_URL" in os.environ
    if not database.exists() and not shared:
        return []
    before, weight = datetime.now(UTC) - timedelta(days=policy.history_days), size(database)
    is_ours = not shared and not server.note().exists()
    try:
        with server.running() as (address, wait):
            wait()
            lines = _delete(address, before, dry_run, shared=shared)
    except (server.ServerError, OSError) as trouble:
        return [f"Prefect's history is left alone: {trouble}"]
    if lines and is_ours and not dry_run:
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("VACUUM")
        lines.append(f"Prefect's history  {megabytes(max(0, weight - size(database)))}")
    return lines


def _delete(address: str, before: datetime, dry_run: bool, *, shared: bool) -> list[str]:
    """shared  True for a server of others too, who may call their flows as ours: there the tag must say it"""
    tagged = {"tags": {"all_": [OURS]}} if shared else {}
    found = [*_old(address, before, [OURS], {}), *_old(address, before, FLOWS, tagged)]
    lines = [f"flow run  {run['name']}, ended {run['end_time'][:10]}" for run in found]
    for run in [] if dry_run else found:
        owned = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        while artifacts := _ask(address, "POST", "artifacts/filter", {**owned, "limit": PAGE}):
            for one in artifacts:
                _ask(address, "DELETE", f"artifacts/{one['id']}")
        _ask(address, "DELETE", f"flow_runs/{run['id']}")
    if found and not dry_run:
        _wait_for_logs(address, [run["id"] for run in found])
    return lines


def _old(address: str, before: datetime, flows: Sequence[str], more: dict[str, Any]) -> list[dict[str, Any]]:
    """The ended runs of some flows that ended before a time."""
    asked = {
        "flows": {"name": {"any_": list(flows)}},
        "flow_runs": {
            **more,
            "state": {"type": {"any_": list(ENDED)}},
            "end_time": {"before_": before.isoformat()},
        },
        "limit": PAGE,
        "sort": "END_TIME_DESC",
    }
    found: list[dict[str, Any]] = []
    while page := _ask(address, "POST", "flow_runs/filter", {**asked, "offset": len(found)}):
        found += page
    return found


def _wait_for_logs(address: str, runs: list[str]) -> None:
    """The server deletes logs a moment after the run; it must not be stopped before."""
    end = time.monotonic() + WAIT_SECONDS
    for start in range(0, len(runs), PAGE):
        asked = {"logs": {"flow_run_id": {"any_": runs[start : start + PAGE]}}, "limit": 1}
        while time.monotonic() < end and _ask(address, "POST", "logs/filter", asked):
            time.sleep(0.3)


def _ask(address: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    content = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{address}/{path}", content, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = answer.read()
    return json.loads(said) if said else None
