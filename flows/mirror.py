"""What one entry of the ledger is in MLflow: a run of a stage, or of the pipeline that runs of stages belong to.

Which steps MLflow has is asked of MLflow, never taken from a file, and the time of a point is a function of the line it
comes from: what is sent twice is the same point, of which MLflow keeps one.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from flows import curves, env, facts, gauges, ledger, lineage, parent

BATCH = 1000  # metrics, the most that MLflow takes at once
FEW = 100  # tags or parameters, likewise
INPUTS_SECONDS = 60.0  # at most so often: a lock file is long
SYSTEM = "system/"
HEADLINE = re.compile(r"^val\.|R@1$|accuracy$|cider$")  # of all that stages measure, what their pipeline's run shows
ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /:")


class Lines:
    """The lines of JSON that a file has gained; from the start again when it is another file, or was cut back."""

    def __init__(self, where: Callable[[], Path]):
        self.where = where
        self.file: TextIO | None = None
        self.rest = ""

    def gained(self) -> Iterator[dict[str, Any]]:
        path = self.where()
        if self.file is not None and _is_other(self.file, path):
            self.file.close()
            self.file = None
        if self.file is None:
            if not path.exists():
                return
            self.file, self.rest = path.open(encoding="utf-8"), ""
        while part := self.file.readline():
            self.rest += part
            if not self.rest.endswith("\n"):
                return  # it is still being written
            line, self.rest = self.rest, ""
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # cut back under our eyes: read it again next time
                self.file.close()
                self.file = None
                return


class Stage:
    """The run of a stage."""

    def __init__(self, place: Path, client: Any, experiment: str):
        """Find the run of this entry, of before a kill, or make it."""
        self.place, self.client = place, client
        entry = ledger.read(place)
        tags = {**entry["tags"], **_parent_tag(client, experiment, entry.get("pipeline"))}
        self.run_id, metrics = attach(client, experiment, entry, tags)
        steps = {metric.key: metric.step for metric in metrics}
        self.told = max((step for name, step in steps.items() if not name.startswith(SYSTEM)), default=0)
        self.sampled = max((step for name, step in steps.items() if name.startswith(SYSTEM)), default=-1)
        self.began = int(entry["started"] * 1000)
        self.history, self.samples = Lines(self._history), Lines(lambda: place / gauges.FILE)

    def _history(self) -> Path:
        kept = self.place / "history.jsonl"
        return kept if kept.exists() else Path(ledger.read(self.place)["history"] or kept)

    def tell(self) -> None:
        """Send the lines that the history has gained, and the samples of the machine."""
        self.told = self._send(self.history.gained(), self.told)
        self.sampled = self._send(self.samples.gained(), self.sampled)

    def _send(self, lines: Iterator[dict[str, Any]], last: int) -> int:
        """Send the lines after a step; a line belongs to a batch as a whole -> the last step that is sent."""
        batch: list[Any] = []
        sent = last
        for line in lines:
            step = int(line.pop("step"))
            if step <= last:
                continue
            at = line.pop("at", self.began + int(1000 * line.get("seconds", step)))
            points = [Metric(clean(name), float(value), at, step) for name, value in line.items() if number(value)]
            if len(batch) + len(points) > BATCH:
                self.client.log_batch(self.run_id, metrics=batch)
                sent, batch = last, []
            batch += points
            last = step
        if batch:
            self.client.log_batch(self.run_id, metrics=batch)
            sent = last
        return sent

    def end(self, entry: dict[str, Any]) -> None:
        """Tell the rest: the history to its end, the card, small files, curves, weights, how it ended."""
        code, ended = entry["code"], int(entry.get("ended", time.time()) * 1000)
        self.tell()
        if code == 0:
            self._tell_card(ended)
            hidden = () if _may_show(entry.get("pictures")) else ledger.PAGES
            for file in (self.place / name for name in ledger.KEPT if name not in ("history.jsonl", *hidden)):
                if file.exists():
                    self.client.log_artifact(self.run_id, str(file))
            if (self.place / "history.jsonl").exists():
                drawn = curves.draw(self.place / "history.jsonl", self.place / "curves.png")
                self.client.log_artifact(self.run_id, str(drawn), "plots")
            if (self.place / "checkpoints").exists():
                self.client.log_artifacts(self.run_id, str(self.place / "checkpoints"), "checkpoints")
        status = "FINISHED" if code == 0 else "KILLED" if code is None or code < 0 else "FAILED"
        self.client.set_terminated(self.run_id, status, end_time=ended)

    def _tell_card(self, ended: int) -> None:
        """The numbers of the card, at the last step; beside the curve of that name where there is one."""
        card = self.place / "card.json"
        metrics = json.loads(card.read_text(encoding="utf-8")).get("metrics", {}) if card.exists() else {}
        curve = {clean(name) for line in Lines(self._history).gained() for name in line}
        named = {f"card.{clean(name)}" if clean(name) in curve else clean(name): v for name, v in metrics.items()}
        log_numbers(self.client, self.run_id, named, ended, self.told)


class Pipeline:
    """The run of a pipeline."""

    def __init__(self, place: Path, client: Any, experiment: str):
        """Find its run, or make it."""
        self.place, self.client, self.experiment = place, client, experiment
        self.run_id, _ = attach(client, experiment, ledger.read(place), {})
        self.known: set[str] = set()  # stages whose inputs are told
        self.told = time.monotonic()

    def tell(self) -> None:
        """What DVC has written about its stages since: each one's inputs."""
        if time.monotonic() - self.told >= INPUTS_SECONDS:
            self._tell_inputs()
            self.told = time.monotonic()

    def _tell_inputs(self) -> None:
        data = ledger.read(self.place)["tags"].get("data.md5", "")
        locks: dict[Path, Any] = {}
        for stage in parent.stages(self.place):
            path = self.place / stage["lock"]
            if stage["id"] in self.known or stage["code"] != 0 or not _said_since(path, stage["ended"]):
                continue
            run = find(self.client, self.experiment, stage["id"])
            if run is not None:
                locks[path] = locks.get(path) or facts.read(path)
                inputs = facts.inputs(locks[path], stage["stage"])
                lineage.tell(self.client, run.info.run_id, inputs, data)
                self.known.add(stage["id"])

    def end(self, entry: dict[str, Any]) -> None:
        """Tell how it ended: what its stages measured, what it was made from."""
        self._tell_inputs()
        stages = parent.stages(self.place)
        ended = int(max((stage.get("ended", 0) for stage in stages), default=0) or time.time()) * 1000
        named = {
            f"{clean(stage['stage'])}.{clean(name)}": value
            for stage in stages
            for name, value in stage.get("metrics", {}).items()
            if HEADLINE.search(name)
        }
        log_numbers(self.client, self.run_id, named, ended, 0)
        for name in (*parent.FILES, *sorted({stage["lock"] for stage in stages})):
            if (self.place / name).exists():
                inside = str(Path(name).parent)
                self.client.log_artifact(self.run_id, str(self.place / name), None if inside == "." else inside)
        self.client.set_terminated(self.run_id, parent.status(self.place), end_time=ended)


def attach(client: Any, experiment: str, entry: dict[str, Any], tags: dict[str, str]) -> tuple[str, list[Any]]:
    """The MLflow run of an entry, found or made -> its id, and the last point of every metric it has."""
    run = find(client, experiment, entry["id"])
    tags = {**entry["tags"], **tags, ledger.ENTRY_TAG: entry["id"]}
    if run is None:
        started = int(entry["started"] * 1000)
        run = client.create_run(experiment, start_time=started, tags=tags, run_name=entry["name"])
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        changed = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
        for start in range(0, len(changed), FEW):
            client.log_batch(run.info.run_id, tags=changed[start : start + FEW])
    missing = [Param(clean(n), v[:6000]) for n, v in entry["params"].items() if clean(n) not in run.data.params]
    for start in range(0, len(missing), FEW):
        client.log_batch(run.info.run_id, params=missing[start : start + FEW])
    return run.info.run_id, run.data._metric_objs  # with their steps, which `metrics` lacks


def find(client: Any, experiment: str, identity: str) -> Any:
    """The MLflow run of an entry's id, or None."""
    found = client.search_runs([experiment], f"tags.`{ledger.ENTRY_TAG}` = '{identity}'", max_results=1)
    return found[0] if found else None


def log_numbers(client: Any, run_id: str, named: dict[str, Any], at: int, step: int) -> None:
    """Log those of the values that are numbers, all at one time and step."""
    points = [Metric(name, float(value), at, step) for name, value in named.items() if number(value)]
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def _parent_tag(client: Any, experiment: str, identity: str | None) -> dict[str, str]:
    run = find(client, experiment, identity) if identity else None
    return {MLFLOW_PARENT_RUN_ID: run.info.run_id} if run is not None else {}


def _may_show(pictures: str | None) -> bool:
    """True when the user's pictures may go to this MLflow."""
    return pictures == "all" or (pictures == "local" and env.told_store() is None)


def _said_since(lock: Path, ended: float) -> bool:
    """True when DVC has written its lock after a stage ended, so that it knows this run of the stage."""
    return lock.exists() and lock.stat().st_mtime >= ended


def _is_other(file: TextIO, path: Path) -> bool:
    """True when the path now holds another file than the open one, or a shorter one than was read."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False  # removed when the training was done: the open file still holds the end
    return now.st_ino != os.fstat(file.fileno()).st_ino or now.st_size < os.lseek(file.fileno(), 0, os.SEEK_CUR)


def number(value: Any) -> bool:
    """True for what MLflow takes as a metric."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def clean(name: str) -> str:
    """A name as MLflow allows it: "i2t.r@1" -> "i2t.r_at_1"."""
    return "".join(letter if letter in ALLOWED else "_" for letter in name.replace("@", "_at_"))
