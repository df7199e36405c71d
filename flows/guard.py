"""Processes that end with their parent, and trainers that take turns."""

import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SAY_AGAIN_SECONDS = 60.0
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent(signum: int = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent dies, even by kill -9 (nothing where not Linux)."""
    if _libc is not None and _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


@contextmanager
def turn(lock: Path, name: str) -> Iterator[None]:
    """Hold the lock, or wait for it and say so; the kernel frees it when its holder dies.

    lock  a file, made if it is not there, that holds who has the lock
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        said = -_SAY_AGAIN_SECONDS
        while not _taken(file.fileno()):
            if time.monotonic() - said >= _SAY_AGAIN_SECONDS:
                said = time.monotonic()
                file.seek(0)
                print(f"{name}  waits for {file.read().strip() or 'another training'}, which holds {lock}", flush=True)
            time.sleep(0.3)
        file.truncate(0)
        print(f"{name} (process {os.getpid()})", file=file, flush=True)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":  # python -m flows.guard COMMAND...: run a command that ends with its parent
    end_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])
