"""The words of the Makefile, and a lock file that anybody's package index can serve."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()


@pytest.mark.parametrize(
    "word", ["setup", "run", "check", "test", "test-all", "bench", "data", "ui", "clean-old", "help"]
)
def test_make_knows_the_word(word):
    answer = subprocess.run(["make", "-n", word, "FROM=x"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"make {word} " in listed


def test_the_lock_file_holds_plain_pins():
    assert [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []


def test_the_lock_file_brings_what_prefect_runs_with():
    pins = dict(line.split("==") for line in LOCK)
    assert pins["torch"] == "2.13.0"
    assert pins["prefect"] == "3.8.8"
    assert tuple(map(int, pins["fastapi"].split(".")))[:2] < (0, 151)
    assert pins["SQLAlchemy"].startswith("2.0.")
    assert "torchvision" not in pins
    assert not [name for name in pins if name.startswith("nvidia")]


def test_nobody_is_told_what_is_done_here():
    config = (ROOT / ".dvc/config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config
