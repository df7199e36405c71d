"""The flow is DVC's graph: what DVC skips is Cached, what fails stops only what needs it."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

RUN = """\
import json, sys
from flows import env
env.apply()
from flows.retrain import retrain
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
state = retrain(return_state=True)
with get_client(sync_client=True) as client:
    runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [state.state_details.flow_run_id]}))
print("STATES", json.dumps({"flow": [state.name, state.message], **{run.name: run.state.name for run in runs}}))
"""


def states(said: str) -> dict:
    return json.loads(next(line for line in said.splitlines() if line.startswith("STATES"))[len("STATES") :])


@pytest.fixture
def flow(shop, prefect):
    """Run the flow in the project -> the state of the flow and of every task, and all that was printed."""

    def run() -> tuple[dict, str]:
        said = shop.ok(sys.executable, "-c", RUN, MLFLOW_TRACKING_URI="http://127.0.0.1:9", PREFECT_API_URL=prefect)
        return states(said), said

    return run


def test_the_plan_is_dvcs_graph(project):
    said = project.ok(sys.executable, "-c", "from flows.graph import plan; import json; print(json.dumps(plan()))")
    plan = dict(json.loads(said.splitlines()[-1]))
    assert list(plan) == ["catalogue", "pretrain@kaleido", "compare"]
    assert plan["pretrain@kaleido"] == ["catalogue"]
    assert plan["compare"] == ["pretrain@kaleido"]


def test_the_plan_of_this_project_has_every_stage_after_what_it_needs():
    from flows.graph import plan

    order = plan()
    seen: set[str] = set()
    for stage, needs in order:
        assert seen.issuperset(needs), stage
        seen.add(stage)
    assert {"catalogue", "words", "encoder", "compare"} <= seen


@pytest.mark.slow
@pytest.mark.ci
def test_what_fails_stops_only_what_needs_it_and_a_second_run_is_cached(shop, flow):
    project = shop
    ignored = (project.root / ".gitignore").read_text()
    stage = project.root / "src/fashionvl/stages/pretrain.py"
    before = stage.read_text()
    stage.write_text("print('line one'); raise SystemExit('a loss is no number')")
    found, said = flow()
    assert found["catalogue"] == "Completed"
    assert found["pretrain@kaleido"] == "Failed"
    assert found["compare"] == "NotReady"
    assert found["flow"][0] == "Failed"
    assert "a loss is no number" in said
    # One `dvc repro` over all stages was seen to take its lines out of .gitignore when a stage failed.
    assert (project.root / ".gitignore").read_text() == ignored
    assert not project.ok("git", "status", "--porcelain", "build", "data").strip()

    stage.write_text(before)
    found, _ = flow()
    assert found["catalogue"] == "Cached"
    assert found["pretrain@kaleido"] == found["compare"] == "Completed"

    found, said = flow()
    assert found["flow"] == ["Completed", "4/4 cached, nothing is new"]
    assert {name for name, state in found.items() if state == "Cached"} == set(found) - {"flow", "probe"}
    assert "skipping" not in said  # DVC was asked once, not once a stage


@pytest.mark.slow
@pytest.mark.ci
def test_make_run_goes_from_nothing_to_a_summary_and_then_does_nothing(shop):
    project = shop
    shutil.rmtree(project.root / "data")
    (project.root / "data.dvc").unlink()
    project.write("build/metrics/kaleido.json", '{"sampled.i2t.R@1": 0.25, "sampled.i2t.R@1.low": 0.1}')
    first = project.ok(sys.executable, "-m", "flows.run")
    assert "to do: catalogue" in first
    assert "sampled.i2t.R@1" in first
    assert "0.2500" in first
    assert "R@1.low" not in first
    assert (project.root / "data/catalogue.csv").exists()
    second = project.ok(sys.executable, "-m", "flows.run")
    assert "nothing to do" in second
    assert "Prefect" not in second.split("in the browser")[0]  # it was not even started


@pytest.mark.slow
@pytest.mark.ci
def test_a_prefect_that_is_away_is_one_sentence_and_dvc_does_not_care(shop):
    project = shop
    dead = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "0"}
    answer = project.run(sys.executable, "-m", "flows.run", **dead)
    assert answer.returncode == 1
    assert "dvc repro" in answer.stderr
    assert "Traceback" not in answer.stderr
    project.ok(sys.executable, "-m", "dvc", "repro", **dead)


@pytest.fixture
def long_run(shop, until):
    """`make run` in the middle of a training, in a process group of its own, as a terminal would start it."""
    project = shop
    project.write("params.yaml", project.read("params.yaml").replace("steps: 20", "steps: 5000"))
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.run"],
        cwd=project.root,
        env={**project.environment, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore Ctrl-C
    )
    until("the training begins", lambda: project.history() and project.history()[0].stat().st_size, 120)
    return run


@pytest.mark.slow
@pytest.mark.ci
def test_ctrl_c_ends_everything_with_one_sentence(shop, long_run, until):
    os.killpg(long_run.pid, signal.SIGINT)
    said = long_run.communicate(timeout=60)[1]
    assert long_run.returncode != 0
    assert "what was finished is kept" in said
    assert "Traceback" not in said
    until("everything ends", lambda: not shop.processes(), 60)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_run_ends_everything_it_started(shop, long_run, until, signum):
    assert len(shop.processes()) >= 5  # the run, Prefect's server, dvc, the guard, the stage
    os.kill(long_run.pid, signum)
    long_run.communicate(timeout=60)
    until("everything ends", lambda: not shop.processes(), 60)
