"""Processes that end with their parent, and trainers that take turns."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SAY_AGAIN_SECONDS = 60.0
GRACE_SECONDS = 15.0
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent(signum: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent dies, even by kill -9 (nothing where not Linux).

    parent  the process that it must be, where that is known: one that died before is not missed otherwise
    """
    if _libc is not None and _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signum)


def bound(command: Sequence[str], *, kill: bool = False) -> list[str]:
    """A command that ends with the process that starts it, which is this one: politely, or at once."""
    return [sys.executable, "-m", "flows.guard", "KILL" if kill else "TERM", str(os.getpid()), *command]


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def turn(lock: Path, name: str, say: Callable[[str], None] = _say) -> Iterator[None]:
    """Hold the lock, or wait for it and say so; the kernel frees it when its holder dies.

    lock  a file, made if it is not there, that holds who has the lock
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        said = -_SAY_AGAIN_SECONDS
        while not taken(file.fileno()):
            if time.monotonic() - said >= _SAY_AGAIN_SECONDS:
                said = time.monotonic()
                file.seek(0)
                say(f"{name}  waits for {file.read().strip() or 'another training'}, which holds {lock}")
            time.sleep(0.3)
        file.truncate(0)
        print(f"{name} (process {os.getpid()})", file=file, flush=True)
        yield


def is_held(lock: Path) -> bool:
    """True while somebody has the lock."""
    if not lock.exists():
        return False
    with lock.open("a") as file:
        return not taken(file.fileno())


def taken(descriptor: int) -> bool:
    """Take the lock of an open file -> True when it is ours until the file is closed, False when another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run_group(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, meanwhile: Callable[[], None] = lambda: None
) -> int:
    """Run a command and all that it starts in a process group -> its exit code.

    When this process is interrupted, the whole group is asked to end, then made to; when it is killed, the kernel kills
    the command.
    meanwhile  is called while the command runs; what it raises ends the command
    """
    process = subprocess.Popen(bound(command, kill=True), cwd=cwd, env=dict(environment), process_group=0)
    try:
        meanwhile()
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


def main(arguments: Sequence[str]) -> None:
    """Become a command that ends with its parent; `bound` gives the arguments."""
    how, parent, *command = arguments
    end_with_parent(signal.SIGKILL if how == "KILL" else signal.SIGTERM, int(parent))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
