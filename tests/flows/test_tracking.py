"""MLflow knows every step once, whatever was killed; and no training notices when MLflow is away."""

import json
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from flows import ledger
from flows.tracking import clean, number

SHOW = """\
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]):
        steps = {}
        for name in run.data.metrics:
            steps[name] = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        files = [file.path for file in client.list_artifacts(run.info.run_id)]
        found.append({"name": run.info.run_name, "status": run.info.status, "steps": steps, "files": files,
                      "params": run.data.params, "tags": run.data.tags, "metrics": run.data.metrics})
print(json.dumps(found))
"""


@pytest.fixture
def told(project):
    """What MLflow knows: one dict a run, oldest first."""

    def ask() -> list[dict]:
        store = f"sqlite:///{project.root / 'mlflow.db'}"
        answer = project.run(sys.executable, "-c", SHOW, store, MLFLOW_DISABLE_TELEMETRY="true")
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout.splitlines()[-1])

    return ask


PRETRAIN = [sys.executable, "-m", "flows.stage", "pretrain", "kaleido"]


def test_names_become_what_mlflow_allows():
    assert clean("sampled.i2t.R@1") == "sampled.i2t.R_at_1"
    assert clean("väl/loss, %") == "v_l/loss_ _"


def test_only_numbers_are_metrics():
    assert [number(value) for value in (1, 0.5, float("nan"), True, "1", None, [1])] == [True, True, True] + [False] * 4


def test_a_stage_is_logged_with_the_parameters_that_dvc_follows_for_it(project):
    assert ledger.params_of("pretrain", "kaleido", project.root) == {
        "systems.kaleido.steps": "20",
        "systems.kaleido.pause": "0.02",
        "seed": "7",
    }
    assert ledger.params_of("catalogue", None, project.root) == {"seed": "7"}


@pytest.mark.slow
@pytest.mark.ci
def test_mlflow_has_every_step_once_after_kills(project, told, until):
    project.write("params.yaml", project.read("params.yaml").replace("20, pause: 0.02", "400, pause: 0.05"))
    for _ in range(2):  # the second kill meets a resumed run
        dvc = project.start(sys.executable, "-m", "dvc", "repro")
        until("some steps are with MLflow", lambda: _steps_in(project), 90)
        dvc.kill()
        dvc.wait()
    project.ok(sys.executable, "-m", "dvc", "repro")
    runs = [run for run in told() if run["name"] == "pretrain@kaleido"]
    assert len(runs) == 1
    (run,) = runs
    assert sorted(run["steps"]["loss"]) == list(range(1, 401))
    assert sorted(run["steps"]["mlm"]) == list(range(1, 401))
    assert run["status"] == "FINISHED"
    assert run["metrics"]["i2t.R_at_1"] == 0.5
    assert run["metrics"]["card.loss"] == 0.1  # beside the curve of that name
    assert sorted(run["files"]) == ["card.json", "curves.csv"]
    assert run["params"]["systems.kaleido.steps"] == "400"
    assert run["tags"]["dvc.stage"] == "pretrain@kaleido"
    assert len(run["tags"]["git.commit"]) == 40
    assert run["tags"]["git.dirty"] == "true"  # params.yaml was changed
    assert not ledger_of(project)


def _steps_in(project) -> int:
    """How many points MLflow's database holds now."""
    if not (project.root / "mlflow.db").exists():
        return 0
    try:
        with sqlite3.connect(f"file:{project.root / 'mlflow.db'}?mode=ro", uri=True) as database:
            return database.execute("select count(*) from metrics where key = 'loss'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # its tables are being made


def ledger_of(project) -> list:
    return list(project.root.glob(".work/mirror/*/entry.json"))


@pytest.mark.slow
@pytest.mark.ci
def test_killing_the_mirror_loses_nothing_and_doubles_nothing(project, told, until):
    project.write("params.yaml", project.read("params.yaml").replace("20, pause: 0.02", "300, pause: 0.05"))
    stage = project.start(*PRETRAIN)
    until("some steps are with MLflow", lambda: _steps_in(project), 90)
    mirrors = [
        int(place.name)
        for place in Path("/proc").iterdir()
        if place.name.isdigit()
        and _command(place).endswith(b"flows.tracking\0follow\0")
        and (place / "cwd").resolve() == project.root
    ]
    assert len(mirrors) == 1
    os.kill(mirrors[0], signal.SIGKILL)
    out = stage.communicate()[0]
    assert stage.returncode == 0
    assert "told the rest later" in out
    assert len(ledger_of(project)) == 1
    project.ok(sys.executable, "-m", "flows.tracking", "catch-up")
    (run,) = told()
    assert sorted(run["steps"]["loss"]) == list(range(1, 301))
    assert run["status"] == "FINISHED"
    assert not ledger_of(project)


def _command(place) -> bytes:
    try:
        return (place / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.ci
def test_a_stage_ends_well_without_mlflow_which_is_told_at_the_next_run(project, told):
    answer = project.run(*PRETRAIN, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert answer.returncode == 0
    warnings = [line for line in answer.stderr.splitlines() if line.startswith("mlflow")]
    assert len(warnings) == 1
    assert "is away" in warnings[0]
    assert len(ledger_of(project)) == 1
    project.ok(sys.executable, "-m", "flows.stage", "catalogue")
    first, second = sorted(told(), key=lambda run: run["name"], reverse=True)
    assert first["name"] == "pretrain@kaleido"
    assert first["status"] == "FINISHED"
    assert sorted(first["steps"]["loss"]) == list(range(1, 21))
    assert second["name"] == "catalogue"
    assert second["metrics"] == {"products": 3.0}
    assert not ledger_of(project)


@pytest.mark.slow
@pytest.mark.ci
def test_a_broken_store_costs_one_sentence(project):
    project.write("mlflow.db", "this is no database")
    answer = project.run(*PRETRAIN)
    assert answer.returncode == 0
    assert len([line for line in answer.stderr.splitlines() if line.startswith("mlflow")]) == 1
    assert "Traceback" not in answer.stderr
    assert (project.root / "build/runs/kaleido/card.json").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_many_stages_at_once_make_one_database(project, told):
    stages = [project.start(sys.executable, "-m", "flows.stage", "compare", f"--{number}") for number in range(4)]
    for stage in stages:
        stage.communicate()
    assert [run["name"] for run in told()] == ["compare"] * 4
    assert {run["status"] for run in told()} == {"FAILED"}  # nothing to compare yet


@pytest.mark.slow
@pytest.mark.ci
def test_a_failed_training_is_seen_as_failed(project, told):
    project.write("src/fashionvl/stages/pretrain.py", "raise SystemExit('a loss is no number')")
    assert project.run(*PRETRAIN).returncode == 1
    (run,) = told()
    assert run["status"] == "FAILED"
    assert not ledger_of(project)


@pytest.mark.slow
@pytest.mark.ci
def test_a_mirror_leaves_the_stages_alone_that_still_run(project, told, until):
    project.write("params.yaml", project.read("params.yaml").replace("pause: 0.02", "pause: 1"))
    project.ok(sys.executable, "-m", "flows.stage", "catalogue")  # makes the database, which takes longest
    shutil.rmtree(project.root / "build/catalogue")
    stage = project.start(*PRETRAIN)
    until("the training begins", lambda: ledger_of(project))
    project.ok(sys.executable, "-m", "flows.stage", "catalogue")  # ends first, and catches up with what others left
    assert stage.poll() is None
    assert len(ledger_of(project)) == 1
    said = stage.communicate()[0]
    assert stage.returncode == 0
    assert "mlflow" not in said
    assert sorted(run["name"] for run in told()) == ["catalogue", "catalogue", "pretrain@kaleido"]
    assert {run["status"] for run in told()} == {"FINISHED"}
