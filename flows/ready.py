"""DVC processes that are ready before they are needed.

Importing DVC and reading its graph takes a second of processor time, once a stage. So the process of the next stage is
started while this one works: it imports, waits for its arguments on standard input, and is then the very command
`dvc repro --single-item STAGE`.

    python -m flows.ready    waits for a line of JSON: the arguments of `dvc`
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType

from flows import guard

Begin = Callable[..., subprocess.Popen]


class Ready(AbstractContextManager):
    """Hands out DVC processes, always one ahead; when it ends, what it has not handed out ends, and if it ends by an
    interruption what it has, so that nobody waits for a training that nobody wants.

    One thread starts them all and lives as long as this object: the kernel ends a guarded process together with the
    thread that started it.
    """

    def __init__(self, root: Path, environment: Mapping[str, str]):
        self.root, self.environment = root, dict(environment)
        self.given: list[subprocess.Popen] = []
        self.starter = ThreadPoolExecutor(1)
        self.next: Future[subprocess.Popen] = self.starter.submit(self._start)

    def _start(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.ready"],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def begin(self, *arguments: str) -> subprocess.Popen:
        """-> a process that is `dvc` with these arguments, its words on one pipe."""
        process = self.next.result()
        self.next = self.starter.submit(self._start)
        assert process.stdin is not None
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.close()
        self.given.append(process)
        return process

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spare = self.next.result()
        assert spare.stdin is not None
        assert spare.stdout is not None
        for process in self.given if kind is not None else ():
            process.terminate()
        spare.kill()
        spare.wait()
        spare.stdin.close()
        spare.stdout.close()
        self.starter.shutdown()


def warm_up() -> None:
    """Import what `dvc repro` imports, much of it only when it reads a graph."""
    import dvc.cli.parser
    import dvc.commands.repro
    import dvc.repo.reproduce
    import dvc.stage.run  # noqa: F401
    from dvc.repo import Repo

    with Repo() as repo:
        _ = repo.index.graph


def main() -> int:
    """-> the exit code of `dvc`; 0 when nothing was asked for."""
    guard.end_with_parent()
    from dvc.exceptions import DvcException

    with suppress(DvcException):  # the command itself finds the same, and says it
        warm_up()
    gc.freeze()  # what is loaded stays; looking through it again and again took a fifth of the time
    asked = sys.stdin.readline()
    if not asked:
        return 0
    with open(os.devnull) as nothing:  # noqa: PTH123  a stage reads nothing from us
        os.dup2(nothing.fileno(), 0)
    from dvc.cli import main as dvc

    arguments = json.loads(asked)
    sys.argv = ["dvc", *arguments]  # DVC notes it in its locks
    return dvc(arguments)


if __name__ == "__main__":
    sys.exit(main())
