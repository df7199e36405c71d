"""The DVC part of a flow: DVC says what there is to do and in which order, Prefect runs it, one task a stage.

There is no second graph: the plan is read from DVC's, so a new stage or row appears by itself. A task is `dvc repro
--single-item STAGE`, the very command that runs without Prefect, so both doors leave the same dvc.lock.
"""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import get_run_context
from prefect.futures import PrefectFuture
from prefect.states import Completed, State

from flows import env, graph, ready

BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked|rwlock")
SKIPPED = re.compile(r"didn't change, skipping|is cached - skipping run")
FETCHED = re.compile(r"is cached - skipping run")
HINTS = "To track the changes with git, run:"  # DVC's last words; they fit a person who typed the command
SO_FAR = re.compile(r"\b(?:step|picture|epoch)s? (\d+)/(\d+)\b")
TAIL_LINES = 15
AT_ONCE = 1  # every stage takes all cores; two at once wait for each other at every barrier
PATIENCE = 30  # tries, two seconds apart, while another DVC command holds the lock
PROGRESS_SECONDS = 1.0
ASKED = "FLOW_DVC_WAS_ASKED"  # set where `dvc status` has already found something to do


class StageFailed(Exception):
    """A stage ended badly; the message holds the last lines it said."""


class DvcBusy(Exception):
    """Another DVC command is at work in this checkout."""


@dataclass(frozen=True)
class Outcome:
    """How one stage ended: `state` is Completed, Cached, Failed or NotReady, `said` what there is to say of it."""

    stage: str
    state: str
    said: str


def environment(flow_run_id: str) -> dict[str, str]:
    """What DVC and the stage find: this environment's `python` first, this flow to belong to."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "FLOW_RUN_ID": flow_run_id}


def _only_when_busy(task_: object, run: object, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), DvcBusy)


@task(
    task_run_name="{stage}",
    retries=PATIENCE,
    retry_delay_seconds=2,
    retry_condition_fn=_only_when_busy,
    cache_policy=NO_CACHE,  # DVC is the cache
)
def reproduce(stage: str, begin: ready.Begin | None, force: bool = False) -> State:
    """Bring one stage up to date -> Completed, or Cached when DVC had nothing to do.

    begin  gives a DVC process; None where DVC has already said that nothing at all is to do
    force  run it although nothing changed
    Raises StageFailed with the tail of the log, DvcBusy when it should be tried again.
    """
    if begin is None:
        return Completed(name="Cached", message="nothing changed")
    began = time.monotonic()
    logger = get_run_logger()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    skipped = fetched = hints = False
    with begin("repro", "--single-item", *(["--force"] if force else []), stage) as process, _progress(stage) as show:
        assert process.stdout is not None
        for line in map(str.rstrip, process.stdout):
            skipped = skipped or bool(SKIPPED.search(line))
            fetched = fetched or bool(FETCHED.search(line))
            hints = hints or line.startswith(HINTS)
            if line and not hints:
                tail.append(line)
                print(line, flush=True)
                logger.info(line)
                show(line)
    if process.returncode:
        said = "\n".join(tail)
        raise (DvcBusy if BUSY.search(said) else StageFailed)(f"{stage} ended with {process.returncode}:\n{said}")
    if skipped:
        return Completed(name="Cached", message="taken from DVC's cache" if fetched else "nothing changed")
    return Completed(message=f"took {time.monotonic() - began:.0f} s")


@contextmanager
def _progress(stage: str) -> Iterator[Callable[[str], None]]:
    """A bar in Prefect that follows lines such as `step 20/400`; at 100 when the stage has ended by itself."""
    shown, last, bar = 0.0, -PROGRESS_SECONDS, None

    def show(line: str) -> None:
        nonlocal shown, last, bar
        found = SO_FAR.search(line)
        if not found or not int(found[2]) or time.monotonic() - last < PROGRESS_SECONDS:
            return
        shown, last = min(100.0, 100 * int(found[1]) / int(found[2])), time.monotonic()
        if bar is None:
            key = f"progress-{re.sub(r'[^a-z0-9]+', '-', stage.lower()).strip('-')}"
            bar = create_progress_artifact(progress=shown, key=key, description=f"{stage}: {found[0]}")
        else:
            update_progress_artifact(bar, progress=shown, description=f"{stage}: {found[0]}")

    yield show
    if bar is not None:
        update_progress_artifact(bar, progress=100.0, description=stage)


def pipeline(root: Path = env.ROOT, again: re.Pattern[str] | None = None) -> list[Outcome]:
    """Submit every stage of dvc.yaml in the flow that calls this, wait for all of them -> how each ended.

    Where one fails, those that need it are NotReady and the others go on.
    again  the stages that run although nothing changed; the others, those too that changed, are left alone
    """
    run = get_run_context().flow_run  # type: ignore[union-attr]
    with ready.Ready(root, environment(str(run.id) if run else "")) as dvc:
        plan = [(stage, needs) for stage, needs in graph.plan(root) if again is None or again.search(stage)]
        if again is None and ASKED not in os.environ and not graph.stale(root):
            return _outcomes({stage: reproduce.submit(stage, None) for stage, _ in plan})
        futures: dict[str, PrefectFuture] = {}
        for stage, needs in plan:
            before = [futures[need] for need in needs if need in futures]
            futures[stage] = reproduce.submit(stage, dvc.begin, again is not None, wait_for=before)
        return _outcomes(futures)


def _outcomes(futures: dict[str, PrefectFuture]) -> list[Outcome]:
    for future in futures.values():
        future.wait()
    states = {stage: future.state for stage, future in futures.items()}
    return [Outcome(stage, state.name or state.type.value, state.message or "") for stage, state in states.items()]


def broken(outcomes: list[Outcome]) -> list[Outcome]:
    """Those that did not end well, in the plan's order."""
    return [outcome for outcome in outcomes if outcome.state not in ("Completed", "Cached")]
