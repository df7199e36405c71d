"""The mirror: tells MLflow what the ledger (flows/ledger.py) says, live, in batches, exactly once.

    python -m flows.tracking serve LOCK  the mirror itself, holding a lock by a descriptor (flows/bell.py starts it)
    python -m flows.tracking catch-up    have it tell what earlier runs could not, and wait for that; with --adopt, also
                                         what was meant for an MLflow at another address

One process for all that runs in a checkout: it starts with the first stage and ends when nothing runs and all is told.
If MLflow is away, one sentence says so, and the ledger keeps what it was to be told.
"""

import fcntl
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows import bell, env, gauges, guard, ledger, parent
from flows.env import store

EXPERIMENT = "fashionvl"
LOOK_SECONDS = 1.0
SEND_SECONDS = 5.0
RETRY_SECONDS = 10.0
HANG_SECONDS = 600  # what one entry may take, uploads and all
AWAY = 3
CLIENTS = (  # of the shops that artifacts may lie in, whose troubles MLflow hands on as they are
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("boto3.exceptions", "Boto3Error"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)


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
        beside = (env.project() / "mlruns").as_uri() if env.told_store() is None else None
        return client, client.create_experiment(EXPERIMENT, artifact_location=beside)


def away() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store, its server or its artifacts cannot be used: no driver, a full disk, ..."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    clients = [getattr(sys.modules[name], kind) for name, kind in CLIENTS if hasattr(sys.modules.get(name), kind)]
    return MlflowException, SQLAlchemyError, OSError, ImportError, *clients


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Mirror:
    """All entries of the ledger, and what each is in MLflow."""

    def __init__(self) -> None:
        self.connection: tuple[Any, str] | None = None
        self.runs: dict[Path, Any] = {}
        self.gauges: dict[Path, tuple[gauges.Gauge, float]] = {}
        self.live: list[Path] = []
        self.troubles: Counter[Path] = Counter()
        self.sent = 0.0
        self.at: Path | None = None

    def look(self, *, now: bool) -> None:
        """Tell MLflow what has changed; raises what MLflow raises.

        now  at once, else live runs are told of when it is their time
        """
        places = sorted(bell.ours(), key=lambda place: self.troubles[place])
        due = [place for place in places if bell.is_due(place)]
        before, self.live = self.live, [place for place in places if place not in due and not _closed(place)]
        self._record({*self.live, *before}.intersection(places))
        if due or now or time.monotonic() - self.sent >= SEND_SECONDS:
            signal.alarm(HANG_SECONDS)
            self.connection = self.connection or connect()
            for place in self.live:
                self._run(place).tell()
            self.sent = time.monotonic()
        for place in sorted(due, key=parent.is_one):  # stages before the pipeline that they belong to
            if not any(parent.of(one) == place for one in self.live):
                told = ledger.read(place)
                self._run(place).end(told)
                del self.runs[place]
                ledger.forget(place, told)

    def _run(self, place: Path) -> Any:
        from flows import mirror

        assert self.connection is not None
        if place not in self.runs:
            own = parent.of(place)
            if own is not None:
                self._run(own)  # is there before those that name it
            self._mark(place)
            kind = mirror.Pipeline if parent.is_one(place) else mirror.Stage
            self.runs[place] = kind(place, *self.connection)
        self._mark(place)
        return self.runs[place]

    def _mark(self, place: Path) -> None:
        self.at = place
        signal.alarm(HANG_SECONDS)  # whoever rings next starts another mirror

    def _record(self, places: set[Path]) -> None:
        """What nobody can say later: how much live stages take, what DVC writes of a live pipeline's stages."""
        self.gauges = {place: found for place, found in self.gauges.items() if place in places}
        for place in places:
            entry = ledger.read(place)
            if parent.is_one(place):
                parent.keep_locks(place)
            elif entry.get("group") is not None:
                gauge, last = self.gauges.get(place) or (gauges.Gauge(entry["group"], place, entry["started"]), 0.0)
                if time.monotonic() - last >= gauges.EVERY_SECONDS:
                    gauge.sample()
                    last = time.monotonic()
                self.gauges[place] = gauge, last

    def lost(self, trouble: Exception) -> None:
        """Say so, and begin anew; what met the trouble comes last then."""
        if self.at is not None:
            self.troubles[self.at] += 1
        self.connection, self.runs = None, {}
        reason = env.first_line(trouble)
        said = f"mlflow  at {env.shown_store()} is away ({reason}); the stage goes on, MLflow is told later"
        bell.beside("away").write_text(said + "\n", encoding="utf-8")
        print(said, flush=True)


def _closed(place: Path) -> bool:
    """True for an entry that is told of as far as it goes, or gone."""
    with suppress(FileNotFoundError):
        return bool(ledger.read(place).get("closed"))
    return True


def serve(lock: int) -> int:
    """Be the mirror until nothing runs and all is told -> 0, or 3 when MLflow stayed away."""
    pipe, mirror = _listen(), Mirror()
    again, code, called = 0.0, 0, True
    while True:
        if called or time.monotonic() >= again:
            try:
                mirror.look(now=called)
                bell.beside("away").unlink(missing_ok=True)
                again, code = 0.0, 0
            except away() as trouble:
                mirror.lost(trouble)
                again, code = time.monotonic() + RETRY_SECONDS, AWAY
            finally:
                signal.alarm(0)  # whether MLflow hangs is asked while it is told something
        waiting = [place for place in bell.ours() if not _closed(place)]
        busy = not all(map(bell.is_due, waiting))
        if not busy and (code or not waiting) and _leave(lock, set(waiting)):
            return code
        called = _called(pipe, LOOK_SECONDS if busy else 0.1)


def _listen() -> int:
    with suppress(FileExistsError):
        os.mkfifo(bell.beside("pipe"))
    return os.open(bell.beside("pipe"), os.O_RDWR | os.O_NONBLOCK)  # also to write, or it would end with each caller


def _called(pipe: int, seconds: float) -> bool:
    """True when someone rang, within so many seconds."""
    if not select.select([pipe], [], [], seconds)[0]:
        return False
    return bool(os.read(pipe, 65536))


def _leave(lock: int, left: set[Path]) -> bool:
    """Give the lock back; False, and it is held again, when something came between that nobody else looks after.

    left  the entries that stay for the next mirror, since MLflow is away
    """
    fcntl.flock(lock, fcntl.LOCK_UN)
    if all(place in left or _closed(place) for place in bell.ours()):
        return True
    return not guard.taken(lock)


def catch_up(*, adopt: bool = False) -> int:
    """Have the mirror tell what has ended -> 0, or 3 with a sentence when it could not.

    adopt  True to tell this MLflow what waits for others, too
    """
    others = bell.others()
    if adopt:
        bell.adopt(others)
    elif others:
        runs = f"{len(others)} run{'s wait' if len(others) > 1 else ' waits'}"
        print(f"mlflow  {runs} for another MLFLOW_TRACKING_URI; `catch-up --adopt` has this one told of them")
    said = bell.settle(seconds=HANG_SECONDS)
    if said:
        print(said, file=sys.stderr)
    return AWAY if said else 0


def main() -> int:
    """-> 0, 3 when MLflow is away, 2 for a wrong call."""
    env.apply()
    if sys.argv[1:] in (["catch-up"], ["catch-up", "--adopt"]):
        return catch_up(adopt=len(sys.argv) == 3)
    if len(sys.argv) != 3 or sys.argv[1] != "serve":
        print(__doc__, file=sys.stderr)
        return 2
    os.nice(10)  # the trainer comes first
    os.chdir(env.project())  # an experiment's own folder goes away under it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return serve(int(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
