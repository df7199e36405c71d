"""The only door to MLflow: tells it what the ledger (flows/ledger.py) says, live, in batches, exactly once.

    python -m flows.tracking follow     entries on standard input, while a stage runs
    python -m flows.tracking catch-up   what earlier runs could not tell

Which steps MLflow has is asked of MLflow, never taken from a file: a kill between telling and noting loses nothing
and doubles nothing. If MLflow is away, one sentence says so, and the ledger keeps what it was to be told.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from flows import env, ledger

EXPERIMENT = "fashionvl"
ENTRY_TAG = "ledger.id"
SEND_SECONDS = 5.0
RETRY_SECONDS = 30.0
LAST_SECONDS = 30
BATCH = 900  # metrics; MLflow takes 1000
ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. /:")


def store() -> str:
    """MLflow's address: what the user set, else one sqlite file beside the project's .work."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{env.project() / 'mlflow.db'}"


def connect() -> tuple[Any, str]:
    """-> an MLflow client and the id of the experiment, made if it is not there.

    Raises what MLflow raises. Behind a lock, because two processes that make a new database at once break it.
    """
    from mlflow.tracking import MlflowClient  # 1.2 s, and only this process needs it

    address = store()
    with _locked(env.work() / "mlflow.lock"):
        client = MlflowClient(address)
        known = client.get_experiment_by_name(EXPERIMENT)
        if known:
            return client, known.experiment_id
        beside = (env.project() / "mlruns").as_uri() if "MLFLOW_TRACKING_URI" not in os.environ else None
        return client, client.create_experiment(EXPERIMENT, artifact_location=beside)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Mirror:
    """Tells MLflow of one entry of the ledger."""

    def __init__(self, place: Path, client: Any, experiment: str):
        self.place, self.client = place, client
        self.run_id = self._attach(experiment)
        self.told = self._last_step()
        self.file: TextIO | None = None
        self.rest = ""

    def entry(self) -> dict[str, Any]:
        return json.loads((self.place / "entry.json").read_text(encoding="utf-8"))

    def _attach(self, experiment: str) -> str:
        """The MLflow run of this entry: the one it had before a kill, or a new one."""
        entry = self.entry()
        found = self.client.search_runs([experiment], f"tags.`{ENTRY_TAG}` = '{entry['id']}'", max_results=1)
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            run = found[0]
        else:
            tags = {**entry["tags"], ENTRY_TAG: entry["id"]}
            started = int(entry["started"] * 1000)
            run = self.client.create_run(experiment, start_time=started, tags=tags, run_name=entry["name"])
        missing = {name: value for name, value in entry["params"].items() if name not in run.data.params}
        self._log_params(run.info.run_id, missing)
        return run.info.run_id

    def _log_params(self, run_id: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        listed = [Param(clean(name), value[:6000]) for name, value in params.items()]
        for start in range(0, len(listed), 100):
            self.client.log_batch(run_id, params=listed[start : start + 100])

    def _last_step(self) -> int:
        """The last step that MLflow has of this run; `seconds` is in every line of a history."""
        names = self.client.get_run(self.run_id).data.metrics
        asked = ["seconds"] if "seconds" in names else list(names)
        steps = [point.step for name in asked for point in self.client.get_metric_history(self.run_id, name)]
        return max(steps, default=0)

    def tell(self) -> None:
        """Send the lines that the history has gained; a line belongs to a batch as a whole."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch: list[Any] = []
        last = self.told
        for line in self._new_lines():
            step = int(line.pop("step"))
            if step <= last:
                continue
            points = [Metric(clean(name), float(value), now, step) for name, value in line.items() if number(value)]
            if len(batch) + len(points) > BATCH:
                self.client.log_batch(self.run_id, metrics=batch)
                self.told, batch = last, []
            batch += points
            last = step
        if batch:
            self.client.log_batch(self.run_id, metrics=batch)
        self.told = last

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        """The whole lines of the history that were not read yet, from the start again when it was cut back."""
        kept = self.place / "history.jsonl"
        path = kept if kept.exists() else Path(self.entry()["history"] or kept)
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
                return  # the stage is still writing it
            line, self.rest = self.rest, ""
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # the history was cut back under our eyes: read it again next time
                self.file.close()
                self.file = None
                return

    def end(self) -> None:
        """Tell the rest: the history to its end, the card, the small files, how it ended."""
        from mlflow.entities import Metric

        entry = self.entry()
        code = entry["code"]
        self.tell()
        if code == 0:
            card = self.place / "card.json"
            metrics = json.loads(card.read_text(encoding="utf-8")).get("metrics", {}) if card.exists() else {}
            known = self.client.get_run(self.run_id).data.metrics if self.told else {}
            ended = int(entry["ended"] * 1000)  # the same when told twice, so that MLflow keeps one
            points = [
                Metric(f"card.{clean(name)}" if clean(name) in known else clean(name), float(value), ended, self.told)
                for name, value in metrics.items()
                if number(value)
            ]
            for start in range(0, len(points), BATCH):
                self.client.log_batch(self.run_id, metrics=points[start : start + BATCH])
            for file in (self.place / name for name in ledger.KEPT if name != "history.jsonl"):
                if file.exists():
                    self.client.log_artifact(self.run_id, str(file))
        status = "FINISHED" if code == 0 else "KILLED" if code is None or code < 0 else "FAILED"
        self.client.set_terminated(self.run_id, status, end_time=int(entry.get("ended", time.time()) * 1000))


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


class _Listener:
    """Entries named on standard input by the process that guards the stage."""

    def __init__(self) -> None:
        self.place: Path | None = None
        self.over = False

    def wait(self, seconds: float) -> None:
        """Until something is said or the time is up; `over` when the other side has ended, in whatever way."""
        if not select.select([0], [], [], seconds)[0]:
            return
        heard = os.read(0, 65536)
        self.over = not heard
        if heard:
            self.place = Path(os.fsdecode(heard.split(b"\n")[-2]))


def follow(say: TextIO) -> int:
    """Mirror one stage while it runs -> 0, or 3 when MLflow stayed away."""
    listener = _Listener()
    connection, mirror, held = None, None, None
    again, warned = 0.0, False
    while not listener.over:
        listener.wait(SEND_SECONDS if connection or warned else 0)
        if listener.over:
            signal.alarm(LAST_SECONDS)
        elif time.monotonic() < again:
            continue
        try:
            connection = connection or connect()
            if listener.place is None:
                continue
            held = held or _hold(listener.place, wait=listener.over)
            if held is None:
                continue
            mirror = mirror or Mirror(listener.place, *connection)
            mirror.tell()
            if listener.over:
                mirror.end()
        except _away() as trouble:
            connection, mirror, again = None, None, time.monotonic() + RETRY_SECONDS
            if not warned:
                _warn(say, trouble)
                warned = True
            if listener.over:
                return 3
    if listener.place is not None:
        _forget(listener.place)
    signal.alarm(LAST_SECONDS // 2)
    signal.signal(signal.SIGALRM, lambda signum, frame: os._exit(0))  # what is left waits for the next run
    return catch_up(say, connection)


def catch_up(say: TextIO, connection: tuple[Any, str] | None = None) -> int:
    """Tell MLflow of the runs that it was away for -> 0, or 3 when it still is."""
    places = ledger.waiting()
    if not places:
        return 0
    try:
        connection = connection or connect()
        for place in places:
            if not place.exists() or ledger.is_alive(place) or _hold(place, wait=False) is None:
                continue  # another mirror is at it, or will be
            entry = json.loads((place / "entry.json").read_text(encoding="utf-8"))
            if entry["code"] == 0 or not entry.get("closed"):
                Mirror(place, *connection).end()
            _forget(place)
    except _away() as trouble:
        _warn(say, trouble)
        return 3
    return 0


def _hold(place: Path, *, wait: bool) -> int | None:
    """-> a descriptor that keeps other mirrors from this entry until this process ends; None when another has it."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _forget(place: Path) -> None:
    """Drop an entry that was told in full; keep that of a training which can still go on."""
    entry = json.loads((place / "entry.json").read_text(encoding="utf-8"))
    if entry["code"] != 0 and entry["history"] and Path(entry["history"]).exists():
        ledger.write(place / "entry.json", {**entry, "closed": True})
    else:
        shutil.rmtree(place)


def _away() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store or its server cannot be used."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


def _warn(say: TextIO, trouble: Exception) -> None:
    reason = (str(trouble).strip() or type(trouble).__name__).splitlines()[0][:120]
    print(f"mlflow  at {store()} is away ({reason}); the stage goes on, MLflow is told later", file=say, flush=True)


def main() -> int:
    """-> 0, 3 when MLflow is away, 2 for a wrong call."""
    words = {"follow": follow, "catch-up": catch_up}
    if len(sys.argv) != 2 or sys.argv[1] not in words:
        print(__doc__, file=sys.stderr)
        return 2
    env.apply()
    os.nice(10)  # the trainer comes first
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of standard input says when to stop
    with os.fdopen(os.dup(1), "w") as say:
        os.dup2(2, 1)  # MLflow prints on standard output, which here is the stage's
        return words[sys.argv[1]](say)


if __name__ == "__main__":
    sys.exit(main())
