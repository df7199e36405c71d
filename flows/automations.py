"""What a Prefect server must know to run things by itself: the pool, the deployments, and what is done after a crash.

    python -m flows.automations    tell the server at PREFECT_API_URL; twice is as once

A run whose processes were all killed says nothing more: *crash-zombies* calls it crashed when its heartbeat stops, and
*rerun-crashed* starts the deployment again, which goes on where the killed one was. An automation cannot count, and may
act twice on one event; so the run that it starts looks around first (`look_around`).
"""

import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Failed, State
from prefect.workers.process import ProcessWorker

from flows import env

POOL, QUEUE = "fashionvl", "accelerator"
FLOW = "retrain"
TAG = "fashionvl"  # of the deployments and so of their runs; a server may have other projects
AFTER = "after"  # the parameter of a run that goes on with one that crashed
CRASHES = 3  # in a row, then a person must look
LOOK_BACK = 30  # runs
SILENCE = timedelta(seconds=65)  # two heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY) and a little
ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")


def automations() -> list[AutomationCore]:
    """What is done after a crash.

    The names of events are those of states, so a flow must end in states of the usual names, or it is taken for dead.
    """
    of_run = {"prefect.resource.id": "prefect.flow-run.*"}
    of_ours = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    zombies = EventTrigger(
        match=of_run,
        match_related=of_ours,
        posture=Posture.Proactive,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{name}" for name in ENDS)},
        for_each={"prefect.resource.id"},
        threshold=1,
        within=SILENCE,
    )
    crashed = EventTrigger(
        match=of_run,
        match_related=[
            of_ours,
            {"prefect.resource.role": "flow", "prefect.resource.name": FLOW},
            {"prefect.resource.role": "deployment"},
        ],
        posture=Posture.Reactive,
        expect={"prefect.flow-run.Crashed"},
        for_each={"prefect.resource.id"},
        threshold=1,
    )
    again = {
        "system": "{{ flow_run.parameters['system'] }}",
        "overrides": "{{ flow_run.parameters['overrides'] }}",
        "reason": "{{ flow_run.parameters['reason'] }}",
        AFTER: "the crash of {{ flow_run.id }}",
    }
    gone = f"no sign of life for {SILENCE.seconds} s: its processes were killed"
    return [
        AutomationCore(
            name="crash-zombies",
            description="A run whose heartbeat stops has crashed.",
            trigger=zombies,
            actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=gone)],
        ),
        AutomationCore(
            name="rerun-crashed",
            description=f"A retraining that crashed goes on in a new run, {CRASHES} times in a row at most.",
            trigger=crashed,
            actions=[RunDeployment(source="inferred", deployment_id=None, parameters=again)],
        ),
    ]


def apply(client: SyncPrefectClient) -> None:
    """Have both automations on the server as they are here, once each."""
    for wanted in automations():
        there = client.read_automations_by_name(wanted.name)
        if there:
            client.update_automation(there[0].id, wanted)
        else:
            client.create_automation(wanted)
        for double in there[1:]:
            client.delete_automation(double.id)


def pool(client: SyncPrefectClient) -> None:
    """Have the work pool and its queue, whose runs take turns."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=None, is_paused=False))
    try:
        queue = client.read_work_queue_by_name(QUEUE, work_pool_name=POOL)
        client.update_work_queue(queue.id, concurrency_limit=1)
    except ObjectNotFound:
        client.create_work_queue(QUEUE, concurrency_limit=1, work_pool_name=POOL)


def look_around(run: FlowRun) -> State | None:
    """-> how a run that an automation started must end at once, None when it may go on.

    Cancelled when another run goes on after the same crash, as an event can be delivered twice; Failed when the
    deployment crashed again and again.
    """
    cause = run.parameters.get(AFTER)
    if run.deployment_id is None or not cause:
        return None
    with get_client(sync_client=True) as client:
        others = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=LOOK_BACK,
        )
    if any(_came_first(other, run) for other in others if other.parameters.get(AFTER) == cause):
        return Cancelled(message=f"another run goes on after {cause}")
    crashes = _in_a_row(others, run.id)
    if crashes >= CRASHES:
        return Failed(
            message=f"this deployment crashed {crashes} times in a row and is not started again by itself; see the log"
            " of the last run, mend it (is memory or disk full?) and start the deployment by hand"
        )
    return None


def _came_first(other: FlowRun, run: FlowRun) -> bool:
    """True when another run of the same cause was made before this one; never for both of two."""
    return other.id != run.id and (other.created, str(other.id)) < (run.created, str(run.id))


def _in_a_row(runs: Iterable[FlowRun], own: UUID) -> int:
    """The crashes since the last run that ended well, newest first."""
    crashes = 0
    for other in runs:
        if other.id == own or other.state_type is None:
            continue
        if other.state_type == StateType.COMPLETED:
            break
        crashes += other.state_type == StateType.CRASHED
    return crashes


def deploy() -> subprocess.CompletedProcess[str]:
    """Apply prefect.yaml."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    return subprocess.run(command, cwd=env.ROOT, capture_output=True, text=True, check=False)


def main() -> int:
    """-> 0; 1 with what Prefect said when it takes prefect.yaml for wrong."""
    env.apply()
    with get_client(sync_client=True) as client:
        pool(client)
        answer: Any = deploy()
        if answer.returncode != 0:
            print(answer.stdout + answer.stderr, file=sys.stderr)
            return 1
        apply(client)
    print("automations  the pool, the deployments of prefect.yaml and the automations are on the server", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
