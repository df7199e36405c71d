"""`python -m flows.stage NAME [ITEM] [--options]`: one stage, guarded and mirrored; what DVC runs.

The stage itself is `fashionvl.stages.NAME` of this very checkout, in a process of its own. It ends when this process
ends, this one when DVC ends; trainers take turns; what the stage says passes through line by line; and what its run
folder records goes to MLflow (flows/tracking.py) in another process, which may fail without the stage noticing.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from flows import env, guard, ledger

TRAINERS = (
    *("encoder", "captioner", "pretrain", "contrast", "finetune"),
    *("clock", "budget", "ablation", "ablation_tasks"),
)
RUN_FOLDER = b"run folder: "
GRACE_SECONDS = 10
AWAY = 3  # the mirror has said itself that MLflow is away
MIRROR_SECONDS = 35.0
LOG_BYTES = 1_000_000


class Refusal(Exception):
    """The stage cannot be started; the message says why and what to do."""


def own_library(source: Path = env.ROOT / "src") -> None:
    """Put this checkout's `src/` first, and refuse a `fashionvl` that would come from anywhere else.

    An editable install elsewhere, or a folder of that name in the way, would otherwise run other code than the one
    whose changes DVC follows.
    """
    sys.path.insert(1, str(source))
    found = importlib.util.find_spec("fashionvl")
    origin = Path(found.origin).resolve() if found and found.origin else None
    if origin is None or not origin.is_relative_to(source.resolve()):
        raise Refusal(
            f"fashionvl would come from {origin or 'nowhere'}, but this checkout's code is {source}; run from the root"
            " of the checkout, without another fashionvl before it on PYTHONPATH"
        )
    if importlib.util.find_spec("torch") is None:
        raise Refusal(
            f"{sys.executable} has no torch: use the project's environment (`make setup`, then"
            " `. .venv/bin/activate`), or start things with make"
        )


def run(name: str, item: str | None, options: Sequence[str]) -> int:
    """Run one stage to its end -> its exit code, 128 + the signal when one ended it."""
    label = f"{name} {item}" if item else name
    command = [sys.executable, "-m", f"fashionvl.stages.{name}", *([item] if item else []), *options]
    paths = [str(env.ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    with guard.turn(env.work() / "accelerator.lock", label) if name in TRAINERS else nullcontext():
        entry = ledger.Entry(name, item)
        mirror = _start_mirror()
        child = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            process_group=0,  # so that its workers can be ended with it
            preexec_fn=lambda: guard.end_with_parent(signal.SIGKILL),
        )
        _pass_signals_on(child)
        threading.Thread(target=_sweep, args=[child], daemon=True).start()
        if name not in TRAINERS:
            _tell(mirror, entry.open(None))
        _pass_output_on(child, lambda folder: _tell(mirror, entry.open(folder)))
        code = child.wait()
    _tell(mirror, entry.close(code))
    _end_mirror(mirror)
    return 128 - code if code < 0 else code


def _pass_output_on(child: subprocess.Popen, on_run_folder: Callable[[Path], None]) -> None:
    """Every line as it comes, unchanged; a reader that went away does not stop the stage.

    A stage that trains more than once is one entry of the ledger, which follows its first run folder.
    """
    assert child.stdout is not None
    heard, told = True, False
    for line in child.stdout:
        if heard:
            try:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                heard = False
        if line.startswith(RUN_FOLDER) and not told:
            told = True
            on_run_folder(Path(os.fsdecode(line.removeprefix(RUN_FOLDER).strip())).resolve())


def _pass_signals_on(child: subprocess.Popen) -> None:
    """SIGTERM and SIGINT end the stage: politely at first, after a while by force."""

    def stop(signum: int, frame: object) -> None:
        _signal_group(child, signal.SIGTERM)
        signal.alarm(GRACE_SECONDS)

    signal.signal(signal.SIGALRM, lambda signum, frame: _signal_group(child, signal.SIGKILL))
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _sweep(child: subprocess.Popen) -> None:
    """When the stage has ended, end the workers it left: they would hold its output open for ever."""
    child.wait()
    _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signum)


def _start_mirror() -> subprocess.Popen:
    """The mirror says its one warning on our stderr; all other words of MLflow go to its log."""
    log = env.work() / "mlflow.log"
    log.parent.mkdir(exist_ok=True)
    grown = log.exists() and log.stat().st_size > LOG_BYTES
    with log.open("w" if grown else "a") as words:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.tracking", "follow"],
            cwd=env.ROOT,
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            stderr=words,
            process_group=0,
            text=True,
        )


def _tell(mirror: subprocess.Popen, entry: Path) -> None:
    assert mirror.stdin is not None
    with suppress(BrokenPipeError):  # a mirror that died is spoken of at the end
        print(entry, file=mirror.stdin, flush=True)


def _end_mirror(mirror: subprocess.Popen) -> None:
    """Let the mirror finish, but not for long: what is left goes to MLflow at the next run."""
    assert mirror.stdin is not None
    with suppress(BrokenPipeError):
        mirror.stdin.close()
    try:
        code = mirror.wait(MIRROR_SECONDS)
    except subprocess.TimeoutExpired:
        mirror.kill()
        code = mirror.wait()
    if code not in (0, AWAY):
        log = env.work() / "mlflow.log"
        print(f"mlflow  is too slow or broken (see {log}); it is told the rest later", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """-> exit code; a refusal is one sentence and 2."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    env.apply()
    if "DVC_STAGE" in os.environ:
        guard.end_with_parent()
    name, rest = arguments[0], list(arguments[1:])
    item = rest.pop(0) if rest and not rest[0].startswith("-") else None
    try:
        own_library()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return run(name, item, rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
