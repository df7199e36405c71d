"""How stages and runs call the mirror, one process a checkout that tells MLflow of all of them, and wait for it.

Whoever holds `.work/mirror-<mark>.lock` is the mirror of one MLflow. It is started by the first who finds the lock
free, holds it to its end, and ends when nothing runs and nothing is left to tell. A pipe beside it wakes it.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from flows import env, guard, ledger

WAIT_SECONDS = 35.0
LOOK_SECONDS = 0.05
LOG_BYTES = 1_000_000


def beside(kind: str, mark: str | None = None) -> Path:
    """A file of the mirror of this MLflow: its `lock`, its `pipe`, or what it says when MLflow is `away`."""
    return env.work() / f"mirror-{mark or env.store_mark()}.{kind}"


def ring() -> bool:
    """Have the mirror look at the ledger now; start it if there is none -> True when it was started."""
    beside("lock").parent.mkdir(parents=True, exist_ok=True)
    with beside("lock").open("a") as lock:
        if is_free(lock):
            _start(lock.fileno())
            return True
    _wake()
    return False


def is_free(lock: IO[str]) -> bool:
    """True when there is no mirror; the lock is ours then, until it is closed."""
    return guard.taken(lock.fileno())


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


def settle(place: Path | None = None, seconds: float = WAIT_SECONDS) -> str | None:
    """Wait until MLflow has been told of what has ended -> None, or a sentence that says why it is told later.

    place    of this entry alone; else of all that no running process belongs to
    seconds  to wait at most
    """
    began = time.time() - 0.01  # file systems tell the time by a coarser clock
    started = ring()
    while _untold(place):
        if (said := away()) and said[1] >= began:
            return said[0]
        died = _died(place)
        if (died and started) or time.time() - began > seconds:
            return f"mlflow  is too slow or broken (see {env.work() / 'mlflow.log'}); it is told the rest later"
        if died:
            started = ring()
        time.sleep(LOOK_SECONDS)
    return None


def _untold(place: Path | None) -> bool:
    return any(is_due(one) for one in ([place] if place else ours()))


def _died(place: Path | None) -> bool:
    """True when there is no mirror although it has not told all: it ends when it has."""
    with beside("lock").open("a") as lock:
        return is_free(lock) and _untold(place)


def away() -> tuple[str, float] | None:
    """What the mirror said when it last met no MLflow, and when; None while all is well."""
    with suppress(FileNotFoundError):
        return beside("away").read_text().strip(), beside("away").stat().st_mtime
    return None


def ours() -> list[Path]:
    """The entries of this MLflow: what is meant for one is never told another unless somebody says so (`adopt`)."""
    return [place for place in ledger.waiting() if _store_of(place) == env.store_mark()]


def others() -> list[Path]:
    """The entries that wait for another MLflow, and that neither a stage nor its mirror looks after."""
    return [place for place in ledger.waiting() if is_due(place) and _is_left(_store_of(place))]


def adopt(places: list[Path]) -> None:
    """Have this MLflow told of what was meant for another."""
    for place in places:
        with suppress(FileNotFoundError):
            ledger.write(place / "entry.json", {**ledger.read(place), "store": env.store_mark()})


def _store_of(place: Path) -> str | None:
    with suppress(FileNotFoundError):  # told meanwhile
        return ledger.read(place).get("store", "")
    return None


def _is_left(mark: str | None) -> bool:
    """True for the mark of another MLflow that has no mirror here."""
    if mark is None or mark == env.store_mark():
        return False
    with beside("lock", mark).open("a") as lock:
        return is_free(lock)


def is_due(place: Path) -> bool:
    """True for an entry of something that has ended, and that MLflow has not been told of to its end."""
    with suppress(FileNotFoundError):
        entry = ledger.read(place)
        if entry.get("closed"):
            return False
        return entry.get("code") is not None or not ledger.is_alive(place)
    return False
