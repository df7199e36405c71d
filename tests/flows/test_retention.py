"""What is old goes, what is in use stays: above all what champion and previous are made of."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows import ledger, retention

DVC = [sys.executable, "-m", "dvc"]
CLEAN = [sys.executable, "-m", "flows.retention"]
POLICY = {
    "work_days": 14,
    "log_days": 30,
    "feed_states": 1,
    "retrainings": 1,
    "runs_days": 60,
    "versions": 1,
    "history_days": 60,
}


def age(path: Path, days: float) -> Path:
    """Have a file or folder look as if it was last touched so many days ago."""
    then = time.time() - days * 86400
    for one in [path, *path.rglob("*")]:
        os.utime(one, (then, then))
    return path


def training(root: Path, name: str, mark: str, days: float) -> Path:
    folder = root / ".work" / name / (mark * 16)
    folder.mkdir(parents=True)
    (folder / "history.jsonl").write_text("{}\n" * 10)
    return age(folder, days)


@pytest.mark.parametrize("up_to_date", [True, False])
def test_old_trainings_go_but_one_that_may_go_on(tmp_path, monkeypatch, up_to_date):
    monkeypatch.setattr(retention, "_is_up_to_date", lambda root: up_to_date)
    older, newest = training(tmp_path, "encoder", "a", 30), training(tmp_path, "encoder", "b", 20)
    recent = training(tmp_path, "pretrain-kaleido", "c", 3)
    (tmp_path / ".work" / "data" / "incoming").mkdir(parents=True)  # no training
    policy = retention.Policy(**POLICY)
    said = retention._work(tmp_path, policy, dry_run=True)
    assert older.exists()
    assert retention._work(tmp_path, policy, dry_run=False) == said
    assert (older.exists(), newest.exists(), recent.exists()) == (False, not up_to_date, True)
    assert f"{older.relative_to(tmp_path)}  30 bytes" in said[0]
    assert retention._work(tmp_path, policy, dry_run=False) == []
    assert list((tmp_path / ".work").glob("trash*")) == []


def test_a_training_that_runs_stays_whatever_its_age(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "_is_up_to_date", lambda root: True)
    monkeypatch.setattr(ledger.env, "work", lambda: tmp_path / ".work")
    folder = training(tmp_path, "encoder", "a", 30)
    entry = ledger.Entry("encoder", None)
    age(entry.open(folder), 90)
    assert retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False) == []
    entry.alive.close()
    retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert not folder.exists()
    retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert ledger.waiting() == []  # MLflow is not told of what is gone


def test_old_logs_go(tmp_path):
    work = tmp_path / ".work"
    for name in ("mlflow.log", "ui/mlflow.log", "prefect/server.log", "recent.log"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("x")
        age(work / name, 1 if name == "recent.log" else 40)
    lines = retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert len(lines) == 3
    assert [path.name for path in work.rglob("*.log")] == ["recent.log"]


def test_what_a_killed_gate_or_an_old_run_left_goes(tmp_path):
    work = tmp_path / ".work"
    for name in ("gate-a/1/system/model", "packing-b/system/model", "flow/run-1/summary.md", "flow/settled.json"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("x")
    fresh = work / "gate-c"
    for path in (work / "gate-a", work / "packing-b"):
        age(path, 2)
    age(work / "flow", 40)
    fresh.mkdir()
    lines = retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert [line.split()[:2] for line in lines] == [
        ["leftover", ".work/gate-a"],
        ["leftover", ".work/packing-b"],
        ["summary", ".work/flow/run-1"],
    ]
    assert sorted(path.name for path in work.iterdir()) == ["flow", "gate-c"]
    assert [path.name for path in (work / "flow").iterdir()] == ["settled.json"]


def test_interrupted_while_deleting_the_next_call_does_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(retention, "_is_up_to_date", lambda root: True)
    old = [training(tmp_path, "encoder", mark, 30) for mark in "abc"]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(retention.shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert not any(folder.exists() for folder in old)  # whole or gone
    retention._work(tmp_path, retention.Policy(**POLICY), dry_run=False)
    assert not (tmp_path / ".work" / "trash").exists()


def test_a_policy_that_is_not_whole_is_a_sentence(tmp_path):
    (tmp_path / "params.yaml").write_text("retention: {work_days: 1}\n")
    with pytest.raises(retention.PolicyError, match="retention must give a number"):
        retention.policy_of(tmp_path)


@pytest.fixture
def kept(project):
    """A checkout with a policy."""
    project.write("params.yaml", project.read("params.yaml") + yaml.safe_dump({"retention": POLICY}))
    project.write("dvc.yaml", "stages: {}\n")  # so that there is no output to save
    project.commit()
    return project


def objects(project) -> set[str]:
    cache = project.root / ".dvc" / "cache" / "files" / "md5"
    return {file.parent.name + file.name for file in cache.rglob("*") if file.is_file()}


SAVE = ["exp", "save", "--include-untracked", "data.dvc", "--name"]


@pytest.mark.slow
@pytest.mark.ci
def test_the_cache_keeps_what_is_named_and_loses_the_rest(kept):
    """States of data/: 1, 2, 3 of a retraining each, 4 of a branch, 5 of the user's, 6 a pointer, 7 the workspace."""
    for number, name in enumerate(("retrain-a", "retrain-b", "retrain-c", "branch", "mine", "pointer", "now"), 1):
        shutil.rmtree(kept.root / "data", ignore_errors=True)
        kept.write("data/file", str(number))
        kept.ok(*DVC, "add", "-q", "data")
        if name == "branch":
            kept.commit()
            kept.ok("git", "branch", name)
        elif name == "pointer":
            kept.write(".work/data/x.dvc", kept.read("data.dvc"))
        elif name != "now":
            kept.ok(*DVC, *SAVE, name)
            time.sleep(1.1)  # commits are dated by the second
    kept.write(".work/data/incoming/data/file", "fetched, never brought")
    before = objects(kept)
    said = kept.ok(*CLEAN, "--dry-run")
    assert objects(kept) == before
    assert "experiment  retrain-a" in said
    weights = {path.name: path.stat().st_size for path in (kept.root / ".dvc/cache/files/md5").glob("*/*")}
    line = next(line for line in said.splitlines() if "nothing names" in line)
    assert line in kept.ok(*CLEAN)
    gone = before - objects(kept)
    assert len(gone) == 4  # a file and a folder of retrain-a and of retrain-b
    assert f"4 files that nothing names  {sum(weights[name[2:]] for name in gone)} bytes" in line
    shown = kept.ok(*DVC, "exp", "list", "--all-commits", "--name-only").split()
    assert {"retrain-c", "mine"} <= set(shown)
    assert "retrain-a" not in shown
    assert "nothing is old" in kept.ok(*CLEAN)
    for text, number in ((kept.read("data.dvc"), "7"), (kept.read(".work/data/x.dvc"), "6")):
        kept.write("data.dvc", text)
        kept.ok(*DVC, "checkout", "--force", "data.dvc")
        assert kept.read("data/file") == number
    assert not (kept.root / ".work/data/incoming").exists()


FILL = """\
import json, time
from mlflow.tracking import MlflowClient
from flows import env, tracking
env.apply()
client, experiment = tracking.connect()
old = int((time.time() - 90 * 86400) * 1000)
def run(name, when=old, parent=None, end=True):
    tags = {"mlflow.parentRunId": parent} if parent else {}
    made = client.create_run(experiment, start_time=when, run_name=name, tags=tags).info.run_id
    client.log_text(made, "x" * 1000, "checkpoints/step1.txt")
    if end:
        client.set_terminated(made, end_time=when)
    return made
def version(run_id, tags=None):
    model = client.create_logged_model(experiment, name="kaleido", source_run_id=run_id)
    place = tracking.Path(model.artifact_location.removeprefix("file://"))
    place.mkdir(parents=True)
    (place / "weights").write_text("w" * 500)
    return client.create_model_version("fashionvl-kaleido", f"models:/{model.model_id}", run_id=run_id,
                                       model_id=model.model_id, tags=tags).version
client.create_registered_model("fashionvl-kaleido")
ids = {"old": run("old"), "recent": run("recent", int(time.time() * 1000)), "deleted": run("deleted")}
client.delete_run(ids["deleted"])
parent = ids["parent"] = run("parent")
ids["champion"], ids["sibling"] = run("champion", parent=parent), run("sibling", parent=parent)
for name in ("previous", "challenger", "forgotten", "newest"):
    ids[name] = run(name)
order = ("previous", "champion", "challenger", "forgotten", "newest")
versions = {name: version(ids[name], {"dvc.experiment": "retrain-" + name}) for name in order}
for name in ("previous", "champion", "challenger"):
    client.set_registered_model_alias("fashionvl-kaleido", name, versions[name])
print(json.dumps({"runs": ids, "versions": versions}))
"""

SHOW = """\
import json
from mlflow.tracking import MlflowClient
from mlflow.entities import ViewType
from flows import env, tracking
env.apply()
client, experiment = tracking.connect()
runs = client.search_runs([experiment], run_view_type=ViewType.ALL, max_results=1000)
versions = client.search_model_versions("name='fashionvl-kaleido'")
files = {one.version: (tracking.Path(client.get_logged_model(one.source.removeprefix("models:/")).artifact_location.removeprefix("file://"))
         / "weights").exists() for one in versions}
print(json.dumps({"runs": [one.info.run_name for one in runs], "versions": files,
                  "models": len(client.search_logged_models([experiment]))}))
"""


def told(project, script: str) -> dict:
    answer = project.run(sys.executable, "-c", script)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.ci
def test_what_an_alias_names_stays_and_the_rest_of_mlflow_goes_by_age(kept):
    made = told(kept, FILL)
    before = kept.ok(*CLEAN, "--dry-run")
    assert len(told(kept, SHOW)["runs"]) == 10
    said = kept.ok(*CLEAN)
    assert set(before.splitlines()) == set(said.splitlines())
    stays = ["challenger", "champion", "newest", "parent", "previous", "recent", "sibling"]
    left = told(kept, SHOW)
    assert sorted(left["runs"]) == stays
    kinds = ("champion", "challenger", "newest", "previous")
    assert left["versions"] == {str(made["versions"][kind]): True for kind in kinds}
    assert left["models"] == 4
    for name in ("old", "deleted", "forgotten"):
        assert not list((kept.root / "mlruns").glob(made["runs"][name]))
    for name in stays:
        assert (kept.root / "mlruns" / made["runs"][name] / "artifacts/checkpoints/step1.txt").exists()
    assert "run  old" in said
    assert "(1000 bytes)" in said
    assert "nothing is old" in kept.ok(*CLEAN)


@pytest.mark.slow
def test_without_mlflow_experiments_stay(kept):
    kept.write("data/file", "1")
    kept.ok(*DVC, "add", "-q", "data")
    kept.ok(*DVC, *SAVE, "retrain-a")
    kept.write("data/file", "2")
    kept.ok(*DVC, "add", "-q", "data")
    kept.ok(*DVC, *SAVE, "retrain-b")
    answer = kept.run(*CLEAN, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "is away" in answer.stdout
    assert "experiment  retrain" not in answer.stdout
    assert len(objects(kept)) == 4


HISTORY = """\
import dataclasses, json, os, sys
from datetime import UTC, datetime
from pathlib import Path
from flows import env, retention, retention_history as history, server
env.apply()
with server.running() as (address, wait):
    wait()
    os.environ["PREFECT_API_URL"] = address  # or each call would start a server of its own
    ask = lambda path, body: history._ask(address, "POST", path, body)
    for name in ("retrain", "theirs"):
        flow = ask("flows/", {"name": name})["id"]
        for state in ("COMPLETED", "RUNNING"):
            run = ask("flow_runs/", {"flow_id": flow, "name": f"{name}-{state}"})["id"]
            ask(f"flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
            ask(f"flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
            now = datetime.now(UTC).isoformat()
            ask("logs/", [{"name": "x", "level": 20, "message": "m", "timestamp": now, "flow_run_id": run}])
            ask("artifacts/", {"key": name, "type": "markdown", "data": "x", "flow_run_id": run})
    policy = retention.Policy(**json.loads(sys.argv[1]))
    at_first = history.clean(env.ROOT, policy, False)
    now = dataclasses.replace(policy, history_days=0)
    dry, done = history.clean(env.ROOT, now, True), history.clean(env.ROOT, now, False)
    again = history.clean(env.ROOT, now, False)
    left = sorted(run["name"] for run in ask("flow_runs/filter", {}))
    logs, artifacts = len(ask("logs/filter", {})), len(ask("artifacts/filter", {}))
print(json.dumps([at_first, dry, done, again, left, logs, artifacts]))
"""


@pytest.mark.slow
def test_ended_runs_of_this_project_leave_prefects_history(kept):
    answer = kept.run(sys.executable, "-c", HISTORY, json.dumps(POLICY))
    assert answer.returncode == 0, answer.stderr
    at_first, dry, done, again, left, logs, artifacts = json.loads(answer.stdout.splitlines()[-1])
    assert at_first == again == []
    assert dry == done
    assert len(done) == 1
    assert "retrain-COMPLETED" in done[0]
    assert left == ["retrain-RUNNING", "theirs-COMPLETED", "theirs-RUNNING"]
    assert (logs, artifacts) == (3, 3)
