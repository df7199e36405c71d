"""The flow: DVC says what there is to do and in which order, Prefect runs it, one task a stage.

There is no second graph: the plan is read from DVC's, so a new stage or row appears by itself. A task is `dvc repro
--single-item STAGE`, the very command that runs without Prefect, so both doors leave the same dvc.lock.
"""

import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.context import get_run_context
from prefect.futures import PrefectFuture
from prefect.states import Completed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows import env

Plan = list[tuple[str, list[str]]]

BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked|rwlock")
SKIPPED = re.compile(r"didn't change, skipping|is cached - skipping run")
HINTS = "To track the changes with git, run:"  # DVC's last words; they fit a person who typed the command
TAIL_LINES = 15
AT_ONCE = 1  # every stage takes all cores; two at once wait for each other at every barrier
PATIENCE = 30  # tries, two seconds apart, while another DVC command holds the lock


class StageFailed(Exception):
    """A stage ended badly; the message holds the last lines it said."""


class DvcBusy(Exception):
    """Another DVC command is at work in this checkout."""


def plan(root: Path = env.ROOT) -> Plan:
    """-> (stage, the stages it needs) in an order in which they can run; data.dvc is one of them.

    Stages of other files than dvc.yaml are left out: ablations/dvc.yaml is asked for by name (`make ablations`).
    `Repo.index.graph` is no documented interface of DVC; the version is pinned and a test looks at the plan.
    """
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # edges go from a stage to what it needs
        order = reversed(list(networkx.topological_sort(graph)))
        found = [(stage.addressing, [need.addressing for need in graph.successors(stage)]) for stage in order]
        return [(stage, needs) for stage, needs in found if not env.is_apart(stage)]


def command(stage: str) -> list[str]:
    """One stage through DVC, in a process that ends with this one."""
    return [sys.executable, "-m", "flows.guard", sys.executable, "-m", "dvc", "repro", "--single-item", stage]


def environment(flow_run_id: str) -> dict[str, str]:
    """What DVC and the stage find: this environment's `python` first, this flow to belong to."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "FLOW_RUN_ID": flow_run_id}


def _only_when_busy(task_: object, run: object, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), DvcBusy)


@task(task_run_name="{stage}", retries=PATIENCE, retry_delay_seconds=2, retry_condition_fn=_only_when_busy)
def reproduce(stage: str, root: Path = env.ROOT) -> State:
    """Bring one stage up to date -> Completed, or Cached when DVC had nothing to do.

    Raises StageFailed with the tail of the log, DvcBusy when it should be tried again.
    """
    logger = get_run_logger()
    run = get_run_context().task_run  # type: ignore[union-attr]
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    skipped = hints = False
    with subprocess.Popen(
        command(stage),
        cwd=root,
        env=environment(str(run.flow_run_id or "")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in map(str.rstrip, process.stdout):
            skipped = skipped or bool(SKIPPED.search(line))
            hints = hints or line.startswith(HINTS)
            if line and not hints:
                tail.append(line)
                print(line, flush=True)
                logger.info(line)
    if process.returncode:
        said = "\n".join(tail)
        raise (DvcBusy if BUSY.search(said) else StageFailed)(f"{stage} ended with {process.returncode}:\n{said}")
    return Completed(name="Cached", message="DVC had nothing to do") if skipped else Completed()


@flow(name="fashionvl", task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))  # type: ignore[arg-type]
def pipeline(root: Path = env.ROOT) -> State:
    """Every stage of dvc.yaml; fails when one fails, and those that need it stay NotReady."""
    futures: dict[str, PrefectFuture] = {}
    for stage, needs in plan(root):
        futures[stage] = reproduce.submit(stage, root, wait_for=[futures[need] for need in needs])
    for future in futures.values():
        future.wait()
    states = {stage: future.state for stage, future in futures.items()}
    broken = [stage for stage, state in states.items() if not state.is_completed()]
    if broken:
        raise StageFailed(", ".join(f"{stage} {states[stage].name}" for stage in broken))
    cached = sum(state.name == "Cached" for state in states.values())
    return Completed(message=f"{cached}/{len(states)} cached")


def main() -> int:
    """Run the flow in the checkout -> 0, or 1 with what stopped it."""
    env.apply()
    state = pipeline(return_state=True)
    if state.is_completed():
        return 0
    print(f"run  {state.result(raise_on_failure=False)}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
