"""ablations/dvc.yaml is run by its own command, which goes on where it was; `dvc repro` and the flow leave it alone."""

import json
import sys
from pathlib import Path

import pytest

from flows import env, ledger

PARAMS = """\
ablation:
  base: kaleido
  columns: {full: kaleido, B+I: kaleido}
  seeds: [1, 2]
  table: {full: {}, B+I: {steps: 5}}
"""

PIPELINE = """\
vars:
- ../params.yaml
stages:
  ablation:
    matrix:
      column: ${ablation.columns}
      seed: ${ablation.seeds}
    wdir: ..
    cmd: exec python -m flows.stage ablation ${key}
    deps: [build/catalogue, src/fashionvl/stages/ablation.py]
    params: ["ablation.table.${item.column}", "systems.${ablation.base}", seed]
    outs: ["build/ablations/${key}"]
"""

STAGE = """\
import os, pathlib, sys, time
item = sys.argv[1]
work = pathlib.Path(f".work/ablation-{item}/0")
work.mkdir(parents=True, exist_ok=True)
print(f"run folder: {work}", flush=True)
time.sleep(2 if item == "B+I-1" else 0)
out = pathlib.Path(f"build/ablations/{item}")
out.mkdir(parents=True, exist_ok=True)
(out / "card.json").write_text('{"metrics": {"SumR": 300.0}}')
"""

RUNS = ["full-1", "full-2", "B+I-1", "B+I-2"]
AWAY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


@pytest.fixture
def project(project):
    project.write("params.yaml", project.read("params.yaml") + "run_contrast: []\nrun_clip: []\n" + PARAMS)
    project.write("ablations/dvc.yaml", PIPELINE)
    project.write("src/fashionvl/stages/ablation.py", STAGE)
    project.commit()
    return project


def test_the_flow_and_its_status_know_nothing_of_them(project):
    asked = "from flows import graph, run; import json; print(json.dumps([dict(graph.plan()), run.stale()]))"
    plan, stale = json.loads(project.ok(sys.executable, "-c", asked).splitlines()[-1])
    assert list(plan) == ["catalogue", "pretrain@kaleido", "compare"]
    assert set(stale) == set(plan)


def test_a_run_is_logged_with_the_parameters_of_its_column(project):
    assert ledger.params_of("ablation", "B+I-2", project.root) == {
        "ablation.table.B+I.steps": "5",
        "systems.kaleido.steps": "20",
        "systems.kaleido.pause": "0.02",
        "seed": "7",
    }
    assert ledger.params_of("ablation", "B-2", project.root) == {}


def test_a_run_of_another_study_is_logged_as_one_of_it():
    said = ledger.params_of("ablation", "comparison.oscar-1", env.ROOT)
    assert said["comparison.table.oscar.system"] == "oscar"
    assert "ablation.base" not in said
    assert ledger.params_of("clock", "comparison", env.ROOT)["comparison.base"] == "kaleido"
    assert ledger.params_of("clock", "ablation", env.ROOT)["ablation.base"] == "kaleido"
    assert ledger.output_of("ablation", "comparison.oscar-1") == Path("build/comparisons/oscar-1")
    assert ledger.output_of("ablation_tasks", "comparison.oscar-1") == Path("build/comparison_tasks/oscar-1")
    assert ledger.output_of("ablation", "B+I-2") == Path("build/ablations/B+I-2")
    assert ledger.output_of("clock", "comparison") == Path("build/clock/comparison")
    assert ledger.output_of("words", None) == Path("build/words")
    assert ledger.output_of("news", None) is None


@pytest.mark.slow
@pytest.mark.ci
def test_plain_repro_leaves_them_alone_and_their_own_command_goes_on_where_it_was_killed(project, until):
    dvc = [sys.executable, "-m", "dvc", "repro"]
    project.ok(*dvc, **AWAY)
    folder = project.root / "build" / "ablations"
    assert not folder.exists()
    first = project.start(*dvc, "ablations/dvc.yaml", **AWAY)
    until("the third run begins", lambda: (project.root / ".work/ablation-B+I-1").exists(), 120)
    first.kill()
    first.communicate()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["full-1", "full-2"]
    done = {run: (folder / run / "card.json").stat().st_mtime_ns for run in RUNS[:2]}
    project.ok(*dvc, "ablations/dvc.yaml", **AWAY)
    assert {run: (folder / run / "card.json").stat().st_mtime_ns for run in RUNS[:2]} == done
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(RUNS)
    assert "up to date" in project.ok(*dvc, "ablations/dvc.yaml", **AWAY)
    asked = "from flows import run; print(run.stale())"
    assert project.ok(sys.executable, "-c", asked).splitlines()[-1] == "{}"
