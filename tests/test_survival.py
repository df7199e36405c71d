"""The whole road on a small sample: what is killed goes on to the same bits, what has changed starts from nothing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.ci]


def stage(here: Path, name: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", f"fashionvl.stages.{name}", *arguments]
    return subprocess.Popen(
        command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(here: Path, name: str, *arguments: str) -> str:
    process = stage(here, name, *arguments)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


def small(here: Path, **training: float) -> None:
    """The table of the project with trainings of seconds."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["encoder"].update(channels=[8, 16, 32], pixels=32)
    raw["encoder"]["training"].update(epochs=2, least_steps=1, batch=16)
    raw["captioner"].update(pixels=32, width=32, longest=12, beam=1)
    raw["captioner"]["training"].update(epochs=2, least_steps=1, batch=16)
    raw["alignment"]["pictures"] = 1
    raw["patches"]["kaleido"].update(pixels=32, shard=16)
    raw["contrast"]["baseline"].update(channels=[8, 16, 32], pixels=[32, 32])
    raw["contrast"]["baseline"]["training"].update(epochs=2, least_steps=1, batch=16)
    raw["systems"]["kaleido"]["model"].update(width=32, layers=2, heads=2, inner=64)
    raw["systems"]["kaleido"]["training"].update({"epochs": 40, "least_steps": 1, "batch": 8, **training})
    for recipe in raw["finetune"].values():
        recipe["training"].update(epochs=1, least_steps=1, batch=8, accumulate=1)
    raw["finetune"]["retrieval"]["block"] = 4
    raw["finetune"]["captioning"].update(beam=2, longest=8)
    raw["evaluate"].update(queries=10, draws=2)
    (here / "params.yaml").write_text(yaml.safe_dump(raw))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survival")
    small(folder)
    finish(folder, "sample", "data", "--products", "48")
    for command in ("catalogue", "words", "encoder", "captioner", "patches kaleido", "align kaleido"):
        finish(folder, *command.split())
    return folder


def weights(here: Path) -> str:
    return hashlib.sha256((here / "build/runs/kaleido/model.safetensors").read_bytes()).hexdigest()


def steps_done(here: Path) -> int:
    found = list(here.glob(".work/pretrain-kaleido/*/history.jsonl"))
    return len(found[0].read_text().splitlines()) if found else 0


def kill_at(here: Path, step: int) -> None:
    """Start the training and end it with -9 once its history has so many lines."""
    process = stage(here, "pretrain", "kaleido")
    deadline = time.monotonic() + 120
    while steps_done(here) < step and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert step <= steps_done(here) < 135, "it was to be killed in the middle"


def test_a_training_killed_at_any_moment_ends_with_the_same_weights(here):
    finish(here, "pretrain", "kaleido")
    whole = weights(here)
    kill_at(here, 5)  # before the first checkpoint
    finish(here, "pretrain", "kaleido", "--stop-after", "60")
    kill_at(here, 90)  # goes on from 60, dies, and what came after the checkpoint is done again
    said = finish(here, "pretrain", "kaleido")
    assert "goes on at step" in said
    assert weights(here) == whole
    history = [
        json.loads(line)["step"] for line in (here / "build/runs/kaleido/history.jsonl").read_text().splitlines()
    ]
    assert history == list(range(1, len(history) + 1))
    assert not (here / ".work" / "pretrain-kaleido").exists()


def test_changed_parameters_start_from_nothing(here):
    finish(here, "pretrain", "kaleido", "--stop-after", "20")
    small(here, lr=0.0009)
    try:
        said = finish(here, "pretrain", "kaleido", "--stop-after", "25")
        assert "goes on at step" not in said
    finally:
        small(here)


def test_changed_data_starts_from_nothing(here):
    finish(here, "pretrain", "kaleido", "--stop-after", "20")
    manifest = here / "build/patches/kaleido/manifest.json"
    before = manifest.read_text()
    manifest.write_text(before.replace('"version": ', '"touched": true, "version": ', 1))
    try:
        assert "goes on at step" not in finish(here, "pretrain", "kaleido", "--stop-after", "25")
    finally:
        manifest.write_text(before)


def test_everything_up_to_the_report_comes_out(here):
    finish(here, "pretrain", "kaleido")
    finish(here, "contrast", "baseline")
    for system in ("kaleido", "baseline"):
        finish(here, "evaluate", system)
    for task in ("retrieval", "category", "sub_category", "captioning"):
        finish(here, "finetune", f"kaleido-{task}")
        finish(here, "examine", f"kaleido-{task}")
    for stage_ in ("alignment", "yardsticks", "compare", "report"):
        finish(here, stage_)
    kaleido = json.loads((here / "build/metrics/kaleido.json").read_text())
    assert kaleido["val.rotation"] < 3
    assert 0 <= kaleido["sampled.itr.R@1.low"] <= kaleido["sampled.itr.R@1"] <= kaleido["sampled.itr.R@1.high"] <= 1
    compared = json.loads((here / "build/metrics/compare.json").read_text())
    systems = ("kaleido", "kaleido-retrieval", "baseline")
    assert list(compared) == [f"{one} - {other}" for one, other in combinations(systems, 2)]
    lists = [(here / f"build/evaluation/{name}/lists.parquet").read_bytes() for name in systems]
    assert len(set(lists)) == 1
    named = json.loads((here / "build/metrics/kaleido-category.json").read_text())
    assert f"{100 * named['both.accuracy']:.1f}" in (here / "build/report/index.html").read_text()
