"""`python -m flows.stage NAME [ITEM] [--options]`: one stage, guarded and mirrored; what DVC runs.

The stage itself is `fashionvl.stages.NAME` of this very checkout, in a process of its own. It ends when this process
ends, this one when DVC ends; trainers take turns; what the stage says passes through line by line; and what its run
folder records goes to MLflow in another process (flows/tracking.py), which may fail without the stage noticing.
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

from flows import bell, env, facts, guard, ledger

TRAINERS = (
    *("encoder", "captioner", "detector", "pretrain", "contrast", "clip", "finetune"),
    *("clock", "budget", "ablation", "ablation_tasks", "pace", "trial"),
)
RUN_FOLDER = b"run folder: "
GRACE_SECONDS = 10


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
    settings = facts.settings()
    with guard.turn(env.work() / "accelerator.lock", label) if name in TRAINERS else nullcontext():
        child = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            process_group=0,  # so that its workers can be ended with it
            preexec_fn=lambda: guard.end_with_parent(signal.SIGKILL),
        )
        _pass_signals_on(child)
        threading.Thread(target=_sweep, args=[child], daemon=True).start()
        entry = ledger.Entry(name, item, group=child.pid, settings=settings)

        def begin(run_folder: Path | None) -> None:
            entry.open(run_folder)
            bell.ring()

        if name not in TRAINERS:
            begin(None)
        _pass_output_on(child, begin)
        code = child.wait()
    _tell(entry, code)
    return 128 - code if code < 0 else code


def _tell(entry: ledger.Entry, code: int) -> None:
    """Have the mirror tell MLflow how the stage ended; a flow waits for that once, at its end (flows/bell.py)."""
    place = entry.close(code)
    if os.environ.get("FLOW_RUN_ID"):
        bell.ring()
        away = bell.away()
        said = away[0] if away and away[1] >= entry.started else None
    else:
        said = bell.settle(place)
    if said:
        print(said, file=sys.stderr, flush=True)


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
        return run(name, item, rest)
    except (Refusal, facts.FactError) as refusal:
        print(refusal, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
