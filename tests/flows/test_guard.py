"""Nothing trains on when DVC is gone, nothing trains twice at once, nothing runs another checkout's code."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import guard, stage

AWAY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}  # nobody listens there

TURN = """\
import sys, time
from pathlib import Path
from flows.guard import turn
with turn(Path("lock"), sys.argv[1]):
    print(sys.argv[1], "has it", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def stage_processes(root: Path) -> list[int]:
    """The stages that run in a checkout."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cwd").resolve() == root:
                words = (place / "cmdline").read_bytes().split(b"\0")
                found += [int(place.name)] if b"fashionvl.stages.pretrain" in words else []
        except OSError:
            continue  # it ended while we looked
    return found


def is_running(process: int) -> bool:
    """True for a process that is there and no zombie."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_second_waits_and_says_for_whom(project):
    first = project.start(sys.executable, "-c", TURN, "first", "1.5")
    assert first.stdout.readline() == "first has it\n"
    second = project.start(sys.executable, "-c", TURN, "second", "0")
    assert second.stdout.readline().startswith("second  waits for first (process")
    assert first.poll() is None
    assert second.stdout.readline() == "second has it\n"
    assert first.wait() == 0
    assert second.wait() == 0


def test_a_kill_frees_the_lock(project):
    first = project.start(sys.executable, "-c", TURN, "first", "60")
    first.stdout.readline()
    second = project.start(sys.executable, "-c", TURN, "second", "0")
    second.stdout.readline()
    first.kill()
    assert second.stdout.readline() == "second has it\n"
    first.wait()
    second.wait()


def test_who_begins_after_its_parent_died_ends_too(project):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    late = [sys.executable, "-m", "flows.guard", "KILL", str(gone.pid), sys.executable, "-c", "print('still here')"]
    answer = project.run(*late)
    assert (answer.returncode, answer.stdout) == (-signal.SIGKILL, "")
    assert project.ok(*guard.bound([sys.executable, "-c", "print('here')"])) == "here\n"


def test_a_fashionvl_that_is_in_the_way_is_refused(project):
    project.write("fashionvl/__init__.py", "")
    answer = project.run(sys.executable, "-m", "flows.stage", "catalogue")
    assert answer.returncode == 2
    assert "fashionvl would come from" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_this_checkout_wins_over_another_on_the_path(project, tmp_path):
    other = tmp_path / "other"
    (other / "fashionvl" / "stages").mkdir(parents=True)
    (other / "fashionvl" / "__init__.py").write_text("")
    (other / "fashionvl" / "stages" / "catalogue.py").write_text("raise SystemExit('the wrong code')")
    project.ok(sys.executable, "-m", "flows.stage", "catalogue", PYTHONPATH=str(other), **AWAY)
    assert (project.root / "build/catalogue/card.json").exists()


def test_what_a_stage_says_and_how_it_ends_passes_through(project):
    project.write("broken", "")
    answer = project.run(sys.executable, "-m", "flows.stage", "catalogue", **AWAY)
    assert answer.returncode == 1
    assert "the catalogue is broken" in answer.stderr
    (project.root / "broken").unlink()
    assert project.run(sys.executable, "-m", "flows.stage", "catalogue", **AWAY).stdout == "catalogue  3 products\n"


@pytest.mark.parametrize("end", ["kill", "crash"])
def test_a_stage_that_ends_takes_its_workers_along(project, until, end):
    project.write(
        "src/fashionvl/stages/patches.py",
        "import multiprocessing, os, sys, time\n"
        "if __name__ == '__main__':\n"
        "    workers = [multiprocessing.Process(target=time.sleep, args=[60]) for _ in range(2)]\n"
        "    [worker.start() for worker in workers]\n"
        "    print(*[worker.pid for worker in workers], flush=True)\n"
        "    os._exit(3) if sys.argv[1] == 'crash' else time.sleep(60)\n",
    )
    stage = project.start(sys.executable, "-m", "flows.stage", "patches", end, **AWAY)
    workers = [int(word) for word in stage.stdout.readline().split()]
    if end == "kill":
        stage.send_signal(signal.SIGTERM)
    assert stage.wait(timeout=40) == (128 + signal.SIGTERM if end == "kill" else 3)
    until("the workers end", lambda: not any(is_running(worker) for worker in workers), 5)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_killing_dvc_ends_the_stage_within_seconds(project, until, signum):
    project.write("params.yaml", project.read("params.yaml").replace("steps: 20", "steps: 5000"))
    dvc = project.start(sys.executable, "-m", "dvc", "repro", **AWAY)
    until("the training begins", lambda: project.history() and project.history()[0].stat().st_size)
    assert len(stage_processes(project.root)) == 1
    os.kill(dvc.pid, signum)
    until("the training ends", lambda: not stage_processes(project.root), 5)
    dvc.wait()


@pytest.mark.slow
@pytest.mark.ci
def test_killing_the_guard_itself_ends_the_stage(project, until):
    # A stage that says nothing does not notice by itself that nobody listens any more.
    silent = (project.root / "src/fashionvl/stages/pretrain.py").read_text().replace('print(f"pretrain  step', '(f"')
    project.write("src/fashionvl/stages/pretrain.py", silent)
    project.write("params.yaml", project.read("params.yaml").replace("steps: 20", "steps: 5000"))
    guard = project.start(sys.executable, "-m", "flows.stage", "pretrain", "kaleido", **AWAY)
    until("the training begins", lambda: project.history() and project.history()[0].stat().st_size)
    guard.kill()
    guard.wait()
    until("the training ends", lambda: not stage_processes(project.root), 5)


@pytest.mark.slow
@pytest.mark.ci
def test_a_second_trainer_waits_for_the_first(project, until):
    command = [sys.executable, "-m", "flows.stage", "pretrain", "kaleido"]
    project.write("params.yaml", project.read("params.yaml").replace("pause: 0.02", "pause: 0.1"))
    first = project.start(*command, **AWAY)
    until("the training begins", lambda: project.history() and project.history()[0].stat().st_size)
    second = project.start(*command, **AWAY)
    assert second.stdout.readline().startswith("pretrain kaleido  waits for pretrain kaleido (process")
    assert first.poll() is None
    assert first.wait() == 0
    assert second.wait() == 0


@pytest.mark.slow
@pytest.mark.ci
def test_an_experiment_aside_runs_its_own_code(project, tmp_path):
    installed = tmp_path / "installed"  # what an editable install of another checkout puts on the path
    shutil.copytree(project.root / "src", installed)
    wrong = installed / "fashionvl/stages/pretrain.py"
    wrong.write_text(wrong.read_text().replace("the code of this checkout", "the wrong code"))
    project.ok(
        sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", "aside", PYTHONPATH=str(installed), **AWAY
    )
    assert not (project.root / "build").exists()
    project.ok(sys.executable, "-m", "dvc", "exp", "apply", "aside")
    assert (project.root / "build/compared").read_text() == "the code of this checkout"


@pytest.mark.slow
@pytest.mark.ci
def test_a_queued_experiment_runs_with_its_own_parameters_and_code(project, until):
    dvc = [sys.executable, "-m", "dvc"]
    project.ok(*dvc, "repro", **AWAY)
    project.commit()
    stage = project.root / "src/fashionvl/stages/pretrain.py"
    before = stage.read_text()
    stage.write_text(before.replace("the code of this checkout", "the code of the experiment"))
    project.ok(*dvc, "exp", "run", "--queue", "--name", "queued", "-S", "systems.kaleido.steps=10")
    stage.write_text(before)
    there = str(project.root / "src")  # what an editable install would put on the path
    project.ok(*dvc, "queue", "start", PYTHONPATH=there, **AWAY)
    until("the experiment ends", lambda: "Success" in project.ok(*dvc, "queue", "status"), 120)
    assert "steps: 20" in project.read("params.yaml")
    project.ok(*dvc, "exp", "apply", "queued")
    assert "steps: 10" in project.read("params.yaml")
    assert (project.root / "build/compared").read_text() == "the code of the experiment"


def test_a_stage_that_trains_twice_is_followed_in_its_first_run_folder(tmp_path, capfdbinary):
    said = "".join(f"run folder: {tmp_path / name}\n" for name in ("first", "second"))
    child = subprocess.Popen([sys.executable, "-c", f"print({said!r}, end='')"], stdout=subprocess.PIPE)
    told = []
    stage._pass_output_on(child, told.append)
    assert child.wait() == 0
    assert told == [tmp_path / "first"]
    assert capfdbinary.readouterr().out.decode() == said
