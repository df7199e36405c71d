"""How stages and runs call the mirror, one process a checkout that tells MLflow of all of them, and wait for it.

Whoever holds `.work/mirror-<mark>.lock` is the mirror of one MLflow. It is started by the first who finds the lock
free, holds it to its end, and ends when nothing runs and nothing is left to tell. A pipe beside it wakes it.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from flows import env, ledger

WAIT_SECONDS = 35.0
LOOK_SECONDS = 0.05
LOG_BYTES = 1_000_000


def store() -> str:
    """MLflow's address: what the user set, else one sqlite file beside the project's .work."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{env.project() / 'mlflow.db'}"


def beside(kind: str) -> Path:
    """A file of the mirror of this MLflow: its `lock`, its `pipe`, or what it says when MLflow is `away`."""
    mark = hashlib.md5(store().encode(), usedforsecurity=False).hexdigest()[:8]
    return env.work() / f"mirror-{mark}.{kind}"


def ring() -> None:
    """Have the mirror look at the ledger now; start it if there is none."""
    beside("lock").parent.mkdir(parents=True, exist_ok=True)
    with beside("lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _wake()
        else:
            _start(lock.fileno())


def _wake() -> None:
    with suppress(OSError):  # it does not listen yet: it begins by looking
        pipe = os.open(beside("pipe"), os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, b"\n")
        finally:
            os.close(pipe)


def _start(lock: int) -> None:
    """A mirror that inherits the lock and outlives us; its words are in its log."""
    log = env.work() / "mlflow.log"
    grown = log.exists() and log.stat().st_size > LOG_BYTES
    with log.open("w" if grown else "a") as words:
        subprocess.Popen(
            [sys.executable, "-m", "flows.tracking", "serve", str(lock)],
            cwd=env.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=[lock],
            start_new_session=True,
        )


def is_up() -> bool:
    """True while there is a mirror."""
    if not beside("lock").exists():
        return False
    with beside("lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def settle(place: Path | None = None, seconds: float = WAIT_SECONDS) -> str | None:
    """Wait until MLflow has been told of what has ended -> None, or a sentence that says why it is told later.

    place    of this entry alone; else of all that no running process belongs to
    seconds  to wait at most
    """
    began = time.time() - 0.01  # file systems tell the time by a coarser clock
    ring()
    while _untold(place):
        if (said := away()) and said[1] >= began:
            return said[0]
        if not is_up() or time.time() - began > seconds:
            if not _untold(place):
                break
            return f"mlflow  is too slow or broken (see {env.work() / 'mlflow.log'}); it is told the rest later"
        time.sleep(LOOK_SECONDS)
    return None


def away() -> tuple[str, float] | None:
    """What the mirror said when it last met no MLflow, and when; None while all is well."""
    with suppress(FileNotFoundError):
        return beside("away").read_text().strip(), beside("away").stat().st_mtime
    return None


def _untold(place: Path | None) -> bool:
    return any(is_due(one) for one in ([place] if place else ledger.waiting()))


def is_due(place: Path) -> bool:
    """True for an entry of something that has ended, and that MLflow has not been told of to its end."""
    with suppress(FileNotFoundError):
        entry = ledger.read(place)
        if entry.get("closed"):
            return False
        return entry.get("code") is not None or not ledger.is_alive(place)
    return False
