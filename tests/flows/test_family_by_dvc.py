"""Every system of the family by `dvc repro compare/dvc.yaml`, from pictures to the table, at a tiny size."""

import json
import shutil
import subprocess

import pytest
import tiny
import trained
import yaml

from fashionvl.stages import sample

RULES = (
    "pyproject.toml",
    "dvc.yaml",
    "ablations/dvc.yaml",
    "compare/dvc.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
)
FAMILY = ("kaleido", "fashionbert", "imagebert", "oscar", "vlbert", "vilbert")
OF_REGIONS = FAMILY[2:]


def short(training: dict) -> None:
    training.update(epochs=0, least_steps=2, batch=8, accumulate=1)


def small() -> dict:
    """The project's parameters, with trainings of two steps."""
    raw = yaml.safe_load((tiny.ROOT / "params.yaml").read_text())
    raw["encoder"].update(channels=[8, 12, 16, 16, 16], pixels=32, width=16)
    raw["captioner"].update(pixels=64, block=1, width=16, longest=8)
    raw["patches"]["kaleido"].update(pixels=32)
    raw["patches"]["fixed"].update(pixels=32)
    raw["patches"]["segments"].update(pixels=32)
    raw["patches"]["segments"]["regions"].update(most=8, classes=6)
    raw["alignment"]["pictures"] = 1
    for name in FAMILY:
        raw["systems"][name]["model"].update(width=16, layers=1, heads=2, inner=32, start=None)
        short(raw["systems"][name]["training"])
    for row in (raw["encoder"], raw["captioner"], *raw["finetune"].values()):
        short(row["training"])
    raw["evaluate"].update(draws=1, candidates=5)
    raw["comparison"].update(minutes=None, steps=2, seeds=[1], tasks=["category"], once=["category"])
    return raw


@pytest.mark.slow
@pytest.mark.ci
def test_the_whole_family_is_made_and_compared_by_dvc(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("flows", "src/fashionvl"):
        shutil.copytree(tiny.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in RULES:
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(tiny.ROOT / name, root / name)
    (root / "params.yaml").write_text(yaml.safe_dump(small()))
    sample.main(root / "data", products=60, processes=1)
    made = trained.Checkout(root)
    for words in (["init", "-q", "."], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=root, env=made.environment, check=True)
    made.ok("-m", "dvc", "add", "--quiet", "data")
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    said = made.ok("-m", "dvc", "repro", "compare/dvc.yaml", **away)
    assert "no matching head" in said
    found = json.loads((root / "build/metrics/comparisons.json").read_text())
    assert set(FAMILY) <= set(found)
    for name in FAMILY:
        assert found[name]["head.steps"] == 2
        assert 0 <= found[name]["category.both.accuracy"] <= 1
    assert (root / "build/patches/segments/regions.png").exists()
    assert "up to date" in made.ok("-m", "dvc", "repro", "compare/dvc.yaml", **away)
