"""A retraining says what it found, keeps what it made, and is finished by the next one when it was killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import graph, notes, overrides, tell

RUN = """\
import json, sys
from flows import env
env.apply()
from flows import retrain
flow = getattr(retrain, sys.argv[2] if len(sys.argv) > 2 else "retrain")
state = flow(**json.loads(sys.argv[1]), return_state=True)
print("STATE", json.dumps([state.name, state.message]))
"""
MAKE = (sys.executable, "-m", "flows.run")


@pytest.fixture
def retrain(shop, prefect):
    """Run the flow in the checkout -> the name and the message of its state."""

    def run(flow: str = "retrain", **parameters) -> list[str]:
        said = shop.ok(sys.executable, "-c", RUN, json.dumps(parameters), flow, PREFECT_API_URL=prefect)
        return json.loads(next(line for line in said.splitlines() if line.startswith("STATE"))[len("STATE") :])

    return run


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A root with a params.yaml, whose notes are its own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(
        "# why\nsystems:\n  kaleido: {epochs: 2, lr: 0.1, start: null} # one row\nseed: 7\nflag: true\nrun: [kaleido]\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"systems.kaleido.epoch": 3}, "no 'systems.kaleido.epoch'; is 'systems.kaleido.epochs' meant?"),
        ({"nothing.like.it": 3}, "no 'nothing.like.it'"),
        ({"systems.kaleido.epochs": "three"}, "systems.kaleido.epochs is 2"),
        ({"systems.kaleido.epochs": 2.5}, "systems.kaleido.epochs is 2"),
        ({"flag": 1}, "flag is True"),
        ({"systems.kaleido": 1}, "systems.kaleido is {"),
    ],
)
def test_a_wrong_parameter_is_named_and_nothing_is_written(here, asked, said):
    before = (here / "params.yaml").read_text()
    with (
        pytest.raises(overrides.Refused, match=said.replace("?", r"\?").replace("{", r"\{")),
        overrides.applied(asked, here),
    ):
        pytest.fail("it was applied")
    assert (here / "params.yaml").read_text() == before


def test_parameters_of_a_run_are_in_params_yaml_while_it_goes_and_out_of_it_after(here):
    before = (here / "params.yaml").read_text()
    asked = {"systems.kaleido.epochs": 20, "systems.kaleido.lr": 1, "systems.kaleido.start": "bert", "run": ["x", "y"]}
    seen = []

    def work():
        with overrides.applied(asked, here):
            seen.append((here / "params.yaml").read_text())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    said = yaml.safe_load(seen[0])
    assert said["systems"]["kaleido"] == {"epochs": 20, "lr": 1, "start": "bert"}
    assert said["run"] == ["x", "y"]
    assert said["seed"] == 7
    assert "# why" in seen[0]
    assert "# one row" in seen[0]
    assert (here / "params.yaml").read_text() == before
    assert overrides.put_back(here) is None


def test_a_killed_run_leaves_parameters_that_the_next_takes_out(here):
    before = (here / "params.yaml").read_text()
    killed = overrides.applied({"seed": 8}, here)
    killed.__enter__()
    assert "seed: 8" in (here / "params.yaml").read_text()
    with overrides.applied({"flag": False}, here):
        said = yaml.safe_load((here / "params.yaml").read_text())
        assert (said["seed"], said["flag"]) == (7, False)
    assert (here / "params.yaml").read_text() == before


def test_who_edits_params_yaml_during_a_run_keeps_the_edit_and_is_told(here):
    before = (here / "params.yaml").read_text()
    said = []
    with overrides.applied({"seed": 8, "systems.kaleido.epochs": 20}, here, said.append):
        edited = (here / "params.yaml").read_text().replace("seed: 8", "seed: 9") + "new: 1\n"
        (here / "params.yaml").write_text(edited)
    now = yaml.safe_load((here / "params.yaml").read_text())
    assert (now["seed"], now["new"]) == (9, 1)
    assert now["systems"]["kaleido"]["epochs"] == 2
    assert "# why" in (here / "params.yaml").read_text()
    assert "was edited" in said[0]
    assert "taken out again: systems.kaleido.epochs;" in said[0]
    assert Path(said[0].rpartition(": ")[2]).read_text() == before


def test_an_edit_after_a_killed_run_does_not_keep_the_parameters_of_that_run(here):
    killed = overrides.applied({"seed": 8}, here)
    killed.__enter__()
    (here / "params.yaml").write_text((here / "params.yaml").read_text() + "new: 1\n")
    said = []
    with overrides.applied(None, here, said.append):
        now = yaml.safe_load((here / "params.yaml").read_text())
        assert (now["seed"], now["new"]) == (7, 1)
    assert "taken out again: seed;" in said[0]


def test_what_is_no_table_any_more_is_left_to_its_editor(here):
    with overrides.applied({"seed": 8}, here):
        (here / "params.yaml").write_text("seed: [\n")
        sentence = overrides.put_back(here)
    assert (here / "params.yaml").read_text() == "seed: [\n"
    assert "taken out again: none of them" in sentence


def test_a_run_is_settled_with_its_lock_its_systems_and_its_registry(here, monkeypatch):
    (here / "dvc.lock").write_text("one")
    (here / "mlflow.db").write_text("")
    assert not notes.is_settled(["kaleido"], here)
    notes.settle(["kaleido"], here)
    assert notes.is_settled(["kaleido"], here)
    assert not notes.is_settled(["kaleido", "other"], here)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert not notes.is_settled(["kaleido"], here)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (here / "mlflow.db").unlink()
    assert not notes.is_settled(["kaleido"], here)
    (here / "mlflow.db").write_text("")
    (here / "dvc.lock").write_text("two")
    assert not notes.is_settled(["kaleido"], here)


def test_dvc_that_cannot_say_is_one_sentence(project):
    project.write("dvc.yaml", "stages: [")
    with pytest.raises(graph.Unclear, match="DVC cannot say what there is to do"):
        graph.stale(project.root)


def test_the_page_says_what_happened_without_a_server(here):
    from types import SimpleNamespace as Made

    verdict = Made(promote=False, reasons=["R@1 fell"], markdown="- R@1 fell\n\n| a table |", table=[])
    drift = {"measures": {"hue": {"value": 0.5, "level": 0.1, "limit": 0.6, "exceeded": False}}}
    story = tell.Story(
        "run-1",
        "feed",
        news={"feed": True, "fresh": True, "new": 3, "changed": 1, "withdrawn": 0, "md5": "abc", "drift": drift},
        overrides={"seed": 8},
        outcomes=[
            Made(stage="words", state="Cached", said="nothing changed"),
            Made(stage="x", state="Failed", said="a\nb"),
        ],
        judged=[tell.Judged("kaleido", Made(version=2), Made(version=1), verdict)],
        experiment="retrain-1",
    )
    page = tell.page(story, None)
    assert page.startswith("# 1/2 cached; kaleido v2 kept back")
    for said in (
        "3 new, 1 changed",
        "| hue | 0.5 | 0.1 | 0.6 |  |",
        "- R@1 fell",
        "| a table |",
        "| x | Failed | b |",
        "`seed` = 8",
    ):
        assert said in page
    assert "retrain-1" in page
    story.judged[0].promoted = True
    assert "kaleido v2 promoted" in tell.page(story, "http://127.0.0.1:9")  # where nothing answers


@pytest.mark.slow
def test_a_run_that_waits_for_drift_leaves_data_alone_until_the_feed_has_moved(shop, retrain):
    assert retrain()[1] == "1/4 cached; kaleido v1 promoted"
    before = shop.read("data/catalogue.csv")
    shop.write("feed.txt", "product_id\n1\n2\n")
    assert tuple(retrain(reason="drift")) == ("Completed", "the feed has not drifted")
    assert shop.read("data/catalogue.csv") == before
    shop.write("feed.txt", "product_id\nmoved\n")
    assert tuple(retrain(reason="drift")) == ("Completed", "3/4 cached; kaleido v1 is champion still")
    assert shop.read("data/catalogue.csv") == "product_id\nmoved\n"
    assert tuple(retrain(reason="drift")) == ("Completed", "the feed has not drifted")
    (shop.root / "build/compared").unlink()  # as if that run had stopped half way
    assert retrain(reason="drift")[1] == "4/4 cached, nothing is new"  # from DVC's cache
    assert (shop.root / "build/compared").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_a_feed_is_followed_judged_kept_and_brought_back(shop, retrain, tmp_path):
    shop.write("feed.txt", "product_id\n1\n2\n")
    name, message = retrain(reason="feed", overrides={"systems.kaleido.steps": 30})
    assert (name, message) == ("Completed", "1/4 cached; kaleido v1 promoted")
    assert "steps: 20" in shop.read("params.yaml")
    page = next((shop.root / ".work/flow").glob("*/summary.md")).read_text()
    assert "2 new, 0 changed" in page
    assert "| colour | 0.25 | 0.1 | 0.2 | drifted |" in page
    kept = page.split("experiment `")[1].split("`")[0]
    assert json.loads(shop.read(".work/versions.json"))["notes"] == {
        "1": {"dvc.experiment": kept}
    }  # clean-old spares it

    # What was kept comes back elsewhere, and nothing is to do there.
    commit = shop.ok("git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{kept}").split()[0]
    shop.ok("git", "worktree", "add", "-q", str(tmp_path / "then"), commit)
    then = type(shop)(tmp_path / "then")
    assert "steps: 30" in then.read("params.yaml")
    dvc = (sys.executable, "-m", "dvc")
    then.ok(*dvc, "cache", "dir", "--local", str(shop.root / ".dvc/cache"))
    then.ok(*dvc, "checkout", "-q")
    assert json.loads(then.ok(*dvc, "status", "--json").splitlines()[-1]) == {}
    assert then.read("data/catalogue.csv") == "product_id\n1\n2\n"

    shop.write("feed.txt", "product_id\n1\nbroken\n")
    name, message = retrain(reason="schedule")
    assert (name, message) == ("Failed", "the feed was refused: line 1 is broken")
    assert shop.read("data/catalogue.csv") == "product_id\n1\n2\n"


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_killed_between_training_and_registry_is_finished_once_by_the_next(shop, prefect):
    server = {"PREFECT_API_URL": prefect}
    shop.write("die-registering", "")
    assert shop.run(*MAKE, **server).returncode == 1
    versions = shop.root / ".work" / "versions.json"
    assert json.loads(versions.read_text()) == {"made": [json.loads(versions.read_text())["made"][0]], "champion": None}
    (shop.root / "die-registering").unlink()
    said = shop.ok(*MAKE, **server)
    assert "to register what was made" in said
    assert "4/4 cached; kaleido v1 promoted" in said
    assert json.loads(versions.read_text())["champion"] == 1
    assert len(json.loads(versions.read_text())["made"]) == 1
    assert "nothing to do" in shop.ok(*MAKE)


@pytest.mark.slow
def test_a_registry_that_is_away_is_one_sentence_and_the_next_run_registers(shop, retrain):
    shop.write("no-registry", "")
    assert retrain() == ["Failed", "the registry is away; start it, then `make run`"]
    (shop.root / "no-registry").unlink()
    assert retrain() == ["Completed", "4/4 cached; kaleido v1 promoted"]
    shop.write("spoiled", "")
    assert retrain(overrides={"systems.kaleido.steps": 30})[1] == "2/4 cached; kaleido v2 kept back"
    shop.write("spoiled", "")
    assert retrain()[1] == "4/4 cached; kaleido v1 is champion still"  # from DVC's cache


@pytest.mark.slow
def test_what_was_measured_can_be_measured_again_without_training(shop, retrain):
    assert retrain()[1] == "1/4 cached; kaleido v1 promoted"
    trained, compared = shop.root / "build/runs/kaleido/history.jsonl", shop.root / "build/compared"
    before = trained.stat().st_mtime_ns, compared.stat().st_mtime_ns
    assert retrain("evaluate") == ["Completed", "0/1 cached; kaleido v1 is champion still"]
    assert trained.stat().st_mtime_ns == before[0]
    assert compared.stat().st_mtime_ns > before[1]
    assert retrain()[1] == "4/4 cached, nothing is new"  # it was registered before, and is settled still
    assert retrain("evaluate", system="other")[0] == "Failed"


@pytest.mark.slow
def test_what_is_too_old_is_named_and_then_deleted(shop, retrain):
    old, new = (shop.write(f".work/pretrain-kaleido/{16 * x}/history.jsonl", "").parent for x in "0a")
    for path in (old / "history.jsonl", old):
        os.utime(path, (0, 0))
    days = ("work", "log", "runs", "history")
    kept = {"feed_states": 5, "retrainings": 5, "versions": 5, **{f"{name}_days": 14 for name in days}}
    settings = yaml.safe_dump({"retention": kept})
    shop.write("params.yaml", shop.read("params.yaml") + settings)
    assert retrain("clean", dry_run=True) == ["Completed", "1 things would be deleted"]
    assert old.exists()
    assert retrain("clean") == ["Completed", "1 things were deleted"]
    assert not old.exists()
    assert new.exists()  # `make run` may go on with it


@pytest.mark.slow
@pytest.mark.ci
def test_a_second_run_waits_for_the_first_and_says_for_whom(shop, prefect, until):
    shop.write("params.yaml", shop.read("params.yaml").replace("steps: 20", "steps: 5000"))
    said = shop.root / "said.txt"
    environment = {**shop.environment, "PREFECT_API_URL": prefect}
    with said.open("w") as words:
        first = subprocess.Popen(
            [sys.executable, "-c", RUN, "{}"], cwd=shop.root, env=environment, stdout=words, stderr=words
        )
    until("the first trains", lambda: shop.history() and shop.history()[0].stat().st_size, 120)
    second = shop.start(sys.executable, "-c", RUN, '{"system": "other"}', PREFECT_API_URL=prefect)
    try:
        line = next(line for line in second.stdout if "waits for" in line)
        assert f"waits for retrain, by hand (process {first.pid})" in line
        assert first.poll() is None
        os.kill(first.pid, signal.SIGKILL)
        assert '["Failed", "\'other\' is no row' in second.communicate(timeout=120)[0]
    finally:
        for run in (first, second):
            run.kill()
            run.wait()
    until("everything ends", lambda: not shop.processes(), 60)
