"""The whole of it on a small sample: real stages, DVC, Prefect, MLflow, registry and gate, while a shop's feed changes.

First run -> champion; nothing new -> nothing trained; texts of the wrong products -> kept back, with reasons; the true
ones and more of them -> champion; rollback -> the first one again.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fashionvl.catalogue.splits import draw_split

ROOT = Path(__file__).resolve().parents[2]
CODE = ("flows", "src", "dvc.yaml", "pyproject.toml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
SPLIT = {"train": 0.6, "val": 0.1, "test": 0.3}
CHAMPION = (
    "from flows import registry; found = registry.champion('kaleido'); print('champion', found and found.version)"
)

pytestmark = [pytest.mark.slow]


def small(params: dict) -> dict:
    """The project's own table, with trainings of seconds."""
    params["encoder"].update(channels=[16, 32, 64], pixels=32)
    params["captioner"].update(pixels=32, width=32, longest=12)
    params["patches"]["kaleido"].update(pixels=32, shard=64)
    params["contrast"]["baseline"].update(channels=[8, 16, 32], pixels=[32, 32])
    params["systems"]["kaleido"]["model"].update(width=32, layers=2, heads=2, inner=64)
    for recipe in (params["captioner"], params["contrast"]["baseline"], params["systems"]["kaleido"]):
        recipe["training"].update(epochs=1, least_steps=1, batch=32)
    params["encoder"]["training"].update(epochs=6, least_steps=1, batch=32)
    params["finetune"]["retrieval"]["training"].update(epochs=1, least_steps=1, batch=16, accumulate=1)
    params["finetune"]["retrieval"]["block"] = 4
    params["run_tasks"] = ["retrieval"]
    params["evaluate"].update(queries=40, draws=1)
    params["catalogue"]["split"] = SPLIT
    params["gate"].update(candidates=20, worst=0.2, least_slice=1000)  # 70 groups: five points of a hundred are luck
    return params


class Shop:
    """A checkout that follows a feed."""

    def __init__(self, place: Path):
        self.root, self.feed = place / "checkout", place / "feed"
        self.feed.mkdir()
        for name in CODE:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, self.root / name)
        table = small(yaml.safe_load((ROOT / "params.yaml").read_text()))
        (self.root / "params.yaml").write_text(yaml.safe_dump(table, sort_keys=False))

    def call(self, *words: str) -> str:
        set_by_others = ("DVC_", "MLFLOW_", "PREFECT_", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(set_by_others)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@t"}
        answer = subprocess.run(words, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
        return answer.stdout

    def python(self, *words: str) -> str:
        return self.call(sys.executable, *words)

    def champion(self) -> str:
        return self.python("-c", CHAMPION).split()[-1]

    def put(self, table: pd.DataFrame, drawn: Path) -> None:
        """What the feed holds from now on."""
        for path in table["image_path"]:
            (self.feed / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(drawn / path, self.feed / path)
        table.to_csv(self.feed / "catalogue.csv", index=False)

    def summary(self) -> str:
        pages = sorted((self.root / ".work/flow").glob("*/summary.md"), key=lambda page: page.stat().st_mtime)
        return pages[-1].read_text()


@pytest.fixture
def shop(tmp_path) -> Shop:
    made = Shop(tmp_path)
    made.call("git", "init", "-q", ".")
    return made


def spoiled(table: pd.DataFrame) -> pd.DataFrame:
    """The texts of the training products among each other; those that the gate asks for stay true."""
    sides = table["group_id"].map(lambda group: draw_split(group, SPLIT))
    rows = table.index[sides == "train"]
    mixed = table.copy()
    told = table.loc[rows, ["title", "description"]].to_numpy()
    mixed.loc[rows, ["title", "description"]] = told[np.random.default_rng(0).permutation(len(rows))]
    return mixed


def test_only_what_is_better_becomes_champion(shop, tmp_path):
    drawn = tmp_path / "drawn"
    shop.python("-m", "fashionvl.stages.sample", str(drawn), "--products", "600")
    pictures = pd.read_csv(drawn / "catalogue.csv", dtype=str, keep_default_na=False).assign(split="")
    table = pictures.groupby("product_id").head(1).reset_index(drop=True)
    first = table.iloc[:260]

    shop.put(first, drawn)
    shop.python("-m", "flows.data", "--feed", str(shop.feed))
    shop.call("git", "add", "-A")
    shop.call("git", "commit", "-q", "-m", "a shop")
    shop.python("-m", "flows.run")
    assert shop.champion() == "1", shop.summary()
    assert "nothing to do" in shop.python("-m", "flows.run")

    shop.put(spoiled(first), drawn)
    shop.python("-m", "flows.run")
    assert shop.champion() == "1", shop.summary()
    page = shop.summary()
    assert "kaleido v2 kept back" in page
    assert "sampled.R@1 falls" in page or "does not rise" in page, page
    assert "experiment `retrain-" in page

    shop.put(table, drawn)
    shop.python("-m", "flows.run")
    assert shop.champion() == "3", shop.summary()
    assert "kaleido v3 promoted" in shop.summary()
    assert "kaleido 1 is the champion again" in shop.python("-m", "flows.rollback", "kaleido")
    assert shop.champion() == "1"
    assert "nothing to do" in shop.python("-m", "flows.run")
    assert shop.champion() == "1", "what a person rolled back is not promoted again by itself"
