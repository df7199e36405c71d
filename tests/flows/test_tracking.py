"""MLflow knows every step once, whatever was killed; and no training notices when MLflow is away."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import bell, curves, env, facts, gauges, ledger, parent, server, tell, tracking
from flows.mirror import clean, number

PARENT = "mlflow.parentRunId"
PRETRAIN = [sys.executable, "-m", "flows.stage", "pretrain", "kaleido"]


def test_names_become_what_mlflow_allows():
    assert clean("sampled.i2t.R@1") == "sampled.i2t.R_at_1"
    assert clean("väl/loss, %") == "v_l/loss_ _"


def test_only_numbers_are_metrics():
    assert [number(value) for value in (1, 0.5, float("nan"), True, "1", None, [1])] == [True, True, True] + [False] * 4


def test_an_address_is_shown_without_name_and_password():
    assert env.public("http://anna:s3c@ret@host:5000/x is away") == "http://host:5000/x is away"
    assert env.public("postgresql://anna:secret@db/mlflow") == "postgresql://db/mlflow"
    assert env.public("sqlite:////srv/a@b/mlflow.db") == "sqlite:////srv/a@b/mlflow.db"


def test_a_server_is_asked_with_the_credentials_of_the_address_or_beside_it(monkeypatch):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000/")
    assert tell._credentials() == {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:s%2Fx@host:5000/")
    assert tell._credentials() == {"Authorization": "Basic " + base64.b64encode(b"anna:s/x").decode()}
    assert tell.mlflow_address() == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    assert tell._credentials() == {"Authorization": "Bearer t"}


def test_an_empty_address_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert env.told_store() is None
    assert env.store() == f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.mark.parametrize("address", ["localhost", "http://host:port/api", "http://127.0.0.1:9/api", ""])
def test_what_is_no_address_does_not_answer(address):
    assert not server.answers(address)


def test_the_troubles_of_a_bucket_are_known_once_its_client_is_there(monkeypatch):
    class ClientError(Exception):
        pass

    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(ClientError=ClientError))
    assert ClientError in tracking.away()
    monkeypatch.delitem(sys.modules, "botocore.exceptions")
    assert ClientError not in tracking.away()


@pytest.mark.parametrize(
    "said", ["seed: 7", "tracking: {checkpoints: last}", "tracking: {checkpoints: best, pictures: all}"]
)
def test_what_mlflow_may_be_told_must_be_said(project, said):
    assert facts.settings(project.root) == {"checkpoints": "last", "pictures": "local"}
    project.write("params.yaml", f"{said}\n")
    answer = project.run(sys.executable, "-m", "flows.stage", "catalogue")
    assert answer.returncode == 2
    assert re.match(r"params.yaml must say what becomes of tracking\.\w+: one of \w+, \w+", answer.stderr)


def test_a_gauge_sees_what_a_group_of_processes_takes(tmp_path):
    busy = "import time; x = bytearray(30_000_000); end = time.time() + 30\nwhile time.time() < end: sum(range(9999))"
    began = time.time()
    child = subprocess.Popen([sys.executable, "-c", busy], process_group=0)
    try:
        gauge = gauges.Gauge(child.pid, tmp_path, began)
        time.sleep(1)
        gauge.sample()
    finally:
        child.kill()
        child.wait()
    gauge.sample()  # nobody is left: no line
    (line,) = [json.loads(line) for line in (tmp_path / gauges.FILE).read_text().splitlines()]
    assert line["system/processes"] == 1
    assert 5 < line["system/cpu_percent"] < 150
    assert 30 < line["system/memory_megabytes"] < 100


def test_gpus_are_read_from_the_words_of_their_tool():
    assert gauges.parse_gpus("0, 93, 40120, 310.5\n1, 0, 3, [N/A]\n") == {
        "system/gpu_0_utilization_percentage": 93.0,
        "system/gpu_0_memory_usage_megabytes": 40120.0,
        "system/gpu_0_power_usage_watts": 310.5,
        "system/gpu_1_utilization_percentage": 0.0,
        "system/gpu_1_memory_usage_megabytes": 3.0,
    }


def test_curves_are_drawn_even_where_a_number_comes_late_or_is_none(tmp_path):
    lines = [{"step": step, "seconds": step, "loss": 1 / step} for step in range(1, 5)]
    lines[2] |= {"val.loss": float("nan")}
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = curves.draw(tmp_path / "history.jsonl", tmp_path / "curves.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "history.jsonl").write_text("")  # a training of no steps
    curves.draw(tmp_path / "history.jsonl", tmp_path / "curves.png")


def test_a_pipeline_went_as_its_worst_stage(tmp_path):
    (tmp_path / "stages").mkdir()
    for codes, status in ([], "FINISHED"), ([0], "FINISHED"), ([0, 1], "FAILED"), ([1, None, 0], "KILLED"):
        for number_, code in enumerate(codes):
            parent.join(tmp_path, f"stage{number_}", {"code": code})
        assert parent.status(tmp_path) == status


def test_a_process_of_the_same_number_is_not_the_one_that_ran_the_pipeline():
    import psutil

    began = psutil.Process().create_time()
    assert parent.is_alive({"owner": [os.getpid(), began]})
    assert not parent.is_alive({"owner": [os.getpid(), began - 60]})


def test_a_flow_may_say_that_it_is_over_though_its_process_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_STAGE", "catalogue")
    monkeypatch.setenv("FLOW_RUN_ID", "a-flow")
    parent.finish(tmp_path, "a-flow")  # it ran no stage: nothing to say
    place = parent.opened(tmp_path)
    assert parent.is_alive(parent.read(place))
    assert parent.opened(tmp_path) == place
    parent.finish(tmp_path, "a-flow")
    assert not parent.is_alive(parent.read(place))


def test_what_is_meant_for_an_mlflow_is_told_another_only_when_somebody_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one")
    entry = ledger.Entry("catalogue", None)
    place = entry.open(None)
    lock = bell.beside("lock").open("a")
    assert bell.ours() == [place]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://two")
    assert bell.others() == []  # its stage runs
    entry.alive.close()
    assert bell.is_free(lock)  # from here on its mirror is up
    assert bell.others() == []
    lock.close()
    assert (bell.ours(), bell.others()) == ([], [place])
    bell.adopt([place])
    assert (bell.ours(), bell.others()) == ([place], [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one")
    assert bell.ours() == []


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
    known = 0
    for _ in range(2):  # the second kill meets a resumed run
        dvc = project.start(sys.executable, "-m", "dvc", "repro")
        until("more steps are with MLflow", lambda before=known: _steps_in(project) > before, 120)
        dvc.kill()
        dvc.wait()
        until("the mirror has seen the kill", lambda: any(_is_closed(path) for path in ledger_of(project)))
        known = _steps_in(project)
    project.ok(sys.executable, "-m", "dvc", "repro")
    stages, pipelines = told()
    runs = [run for run in stages if run["name"] == "pretrain@kaleido"]
    assert len(runs) == 1
    (run,) = runs
    assert sorted(run["steps"]["loss"]) == list(range(1, 401))
    assert sorted(run["steps"]["mlm"]) == list(range(1, 401))
    assert run["status"] == "FINISHED"
    assert run["metrics"]["i2t.R_at_1"] == 0.5
    assert run["metrics"]["card.loss"] == 0.1  # beside the curve of that name
    assert run["files"] == ["card.json", "checkpoints/model.safetensors", "curves.csv", "plots/curves.png"]
    assert run["metrics"]["system/cpu_percent"] > 0
    assert len(set(run["steps"]["system/memory_megabytes"])) == len(run["steps"]["system/memory_megabytes"]) >= 3
    assert run["params"]["systems.kaleido.steps"] == "400"
    assert run["tags"]["dvc.stage"] == "pretrain@kaleido"
    assert len(run["tags"]["git.commit"]) == 40
    assert run["tags"]["git.dirty"] == "true"  # params.yaml was changed
    assert [one["status"] for one in pipelines] == ["KILLED", "KILLED", "FINISHED"]
    assert run["tags"][PARENT] == pipelines[-1]["id"]
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


def _is_closed(entry: Path) -> bool:
    return bool(json.loads(entry.read_text()).get("closed"))


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
        and b"flows.tracking\0serve\0" in _command(place)
        and (place / "cwd").resolve() == project.root
    ]
    assert len(mirrors) == 1
    os.kill(mirrors[0], signal.SIGKILL)
    stage.communicate()  # another mirror comes in its place, at the latest now
    assert stage.returncode == 0
    (run,) = told().stages
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
def test_a_stage_ends_well_without_mlflow_and_another_is_told_of_it_only_when_asked_to(project, told):
    answer = project.run(*PRETRAIN, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert answer.returncode == 0
    warnings = [line for line in answer.stderr.splitlines() if line.startswith("mlflow")]
    assert len(warnings) == 1
    assert "is away" in warnings[0]
    assert len(ledger_of(project)) == 1
    project.ok(sys.executable, "-m", "flows.stage", "catalogue")
    assert [run["name"] for run in told().stages] == ["catalogue"]
    said = project.ok(sys.executable, "-m", "flows.tracking", "catch-up")
    assert "1 run waits for another MLFLOW_TRACKING_URI" in said
    assert len(ledger_of(project)) == 1
    project.ok(sys.executable, "-m", "flows.tracking", "catch-up", "--adopt")
    first, second = sorted(told().stages, key=lambda run: run["name"], reverse=True)
    assert first["name"] == "pretrain@kaleido"
    assert first["status"] == "FINISHED"
    assert sorted(first["steps"]["loss"]) == list(range(1, 21))
    assert second["name"] == "catalogue"
    own = {name: value for name, value in second["metrics"].items() if not name.startswith("system/")}
    assert own == {"products": 3.0}
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
    runs = told().stages
    assert [run["name"] for run in runs] == ["compare"] * 4
    assert {run["status"] for run in runs} == {"FAILED"}  # nothing to compare yet


@pytest.mark.slow
@pytest.mark.ci
def test_a_failed_training_is_seen_as_failed_and_may_go_on(project, told):
    code = project.read("src/fashionvl/stages/pretrain.py")
    project.write(
        "src/fashionvl/stages/pretrain.py",
        code.replace(
            "        time.sleep(",
            "        if step == 15:\n            raise SystemExit('a loss is no number')\n        time.sleep(",
        ),
    )
    answer = project.run(*PRETRAIN)
    assert answer.returncode == 1
    assert "mlflow" not in answer.stderr
    (run,) = told().stages
    assert run["status"] == "FAILED"
    assert run["steps"]["loss"] == list(range(1, 15))
    (entry,) = ledger_of(project)
    assert json.loads(entry.read_text())["closed"]
    project.write("src/fashionvl/stages/pretrain.py", code)
    project.ok(*PRETRAIN)
    (run,) = told().stages
    assert run["status"] == "FINISHED"
    assert run["steps"]["loss"] == list(range(1, 21))
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
    runs = told().stages
    assert sorted(run["name"] for run in runs) == ["catalogue", "catalogue", "pretrain@kaleido"]
    assert {run["status"] for run in runs} == {"FINISHED"}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_of_the_pipeline_is_one_run_with_its_stages_below_it_and_what_they_were_made_from(project, told):
    project.write("data/catalogue.csv", "product_id\n")
    project.ok(sys.executable, "-m", "dvc", "add", "-q", "data")
    data = facts.data_md5(project.root)
    project.ok(sys.executable, "-m", "dvc", "repro")
    children, (pipeline,) = told()
    assert pipeline["name"].startswith("dvc ")
    assert pipeline["status"] == "FINISHED"
    assert pipeline["files"] == ["data.dvc", "dvc.lock", "params.yaml"]
    assert pipeline["metrics"] == {"pretrain_at_kaleido.i2t.R_at_1": 0.5}
    assert pipeline["tags"]["data.md5"] == data
    assert {run["name"]: run["tags"][PARENT] for run in children} == dict.fromkeys(
        ["catalogue", "pretrain@kaleido", "compare"], pipeline["id"]
    )
    lock = facts.read(project.root / "dvc.lock")["stages"]
    (run,) = [run for run in children if run["name"] == "pretrain@kaleido"]
    code = "src/fashionvl/stages/pretrain.py"
    catalogue = lock["catalogue"]["outs"][0]["md5"]
    assert run["tags"][f"dvc.dep.{code}"] == md5(project.root / code)
    assert run["tags"]["dvc.dep.build/catalogue"] == catalogue
    assert run["inputs"] == {"data": ["dvc", data], "build/catalogue": ["dvc", catalogue]}
    project.ok(sys.executable, "-m", "dvc", "repro")  # nothing to do
    assert len(told().pipelines) == 1


FLOW = """\
import os, subprocess, sys
from flows import guard
os.environ["FLOW_RUN_ID"] = sys.argv[1]
for stage in sys.argv[2:]:
    subprocess.run(guard.bound(["dvc", "repro", "--single-item", stage]), check=False)
"""


@pytest.mark.slow
@pytest.mark.ci
def test_all_that_a_flow_does_is_one_run(project, told):
    project.ok(sys.executable, "-c", FLOW, "a-flow", "catalogue", "pretrain@kaleido")
    stages, (pipeline,) = told()
    assert pipeline["name"].startswith("flow ")
    assert pipeline["status"] == "FINISHED"
    assert pipeline["tags"]["prefect.flow_run_id"] == "a-flow"
    assert {run["name"]: run["tags"][PARENT] for run in stages} == dict.fromkeys(
        ["catalogue", "pretrain@kaleido"], pipeline["id"]
    )
    project.write("src/fashionvl/stages/compare.py", "raise SystemExit('no')")
    project.ok(sys.executable, "-c", FLOW, "another", "compare")
    assert [run["status"] for run in told().pipelines] == ["FINISHED", "FAILED"]
    assert not ledger_of(project)


@pytest.mark.slow
@pytest.mark.parametrize("aside", [False, pytest.param(True, marks=pytest.mark.ci)], ids=["workspace", "temp"])
def test_an_experiment_is_told_as_any_other_run(project, told, aside):
    exp = [sys.executable, "-m", "dvc", "exp", "run", "--name", "shorter", *(["--temp"] if aside else [])]
    project.ok(*exp, "-S", "systems.kaleido.steps=10")
    children, (pipeline,) = told()
    assert pipeline["status"] == "FINISHED"
    assert pipeline["tags"]["dvc.experiment"] == "shorter"
    assert {run["name"] for run in children} == {"catalogue", "pretrain@kaleido", "compare"}
    assert {run["tags"][PARENT] for run in children} == {pipeline["id"]}
    (run,) = [run for run in children if run["name"] == "pretrain@kaleido"]
    assert run["params"]["systems.kaleido.steps"] == "10"
    assert sorted(run["steps"]["loss"]) == list(range(1, 11))
    assert "dvc.dep.build/catalogue" in run["tags"]
    assert not ledger_of(project)


@pytest.mark.slow
def test_ten_thousand_steps_of_ten_numbers_are_told_in_half_a_minute(project, told, capsys):
    steps, names = 10_000, [f"loss{number_}" for number_ in range(9)]  # and the seconds
    stage = project.read("src/fashionvl/stages/pretrain.py").replace(
        '"loss": 1 / step, "mlm": 2.0', ", ".join(f'"{name}": {number_} / step' for number_, name in enumerate(names))
    )
    project.write("src/fashionvl/stages/pretrain.py", stage.replace('        print(f"pretrain  step {step}")\n', ""))
    project.write("params.yaml", project.read("params.yaml").replace("20, pause: 0.02", f"{steps}, pause: 0"))
    project.ok(sys.executable, "-m", "flows.stage", "catalogue")  # makes the database
    project.ok(*PRETRAIN, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    began = time.perf_counter()
    project.ok(sys.executable, "-m", "flows.tracking", "catch-up", "--adopt")
    seconds = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n10,000 steps x 10 numbers: {seconds:.1f} s, load {os.getloadavg()[0]:.1f}")
    (run,) = [run for run in told().stages if run["name"] == "pretrain@kaleido"]
    assert all(sorted(run["steps"][name]) == list(range(1, steps + 1)) for name in names)
    assert seconds <= 30 * max(1.0, os.getloadavg()[0])  # of a quiet machine; the printed number is the one to read
