"""The stages `finetune` and `examine`: every task from pre-trained weights to its numbers, by the real code."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import yaml
from accelerate.state import AcceleratorState

import fashionvl
from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import courses, evidence, examine, finetune, scorers

TASKS = ["retrieval", "category", "sub_category", "captioning"]
PRODUCTS = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project folder with a tiny pre-trained system, and rows that train for moments."""
    folder = tmp_path_factory.mktemp("downstream")
    tiny.build(folder, PRODUCTS, aligned=False)
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    for task in TASKS:
        raw["finetune"][task]["training"].update(epochs=0.1, least_steps=4, batch=4)
    raw["finetune"]["retrieval"]["block"] = 4
    raw["finetune"]["retrieval"]["training"].update(batch=8, accumulate=2)
    raw["finetune"]["captioning"].update(beam=2, longest=6)
    raw["evaluate"].update(draws=1, candidates=5)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    return folder


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(scorers, "score", lambda said, reference: {"cider": float(len(said))})  # Java takes seconds


def both(task: str) -> dict:
    """Train and measure -> the metrics."""
    finetune.main(f"kaleido-{task}")
    examine.main(f"kaleido-{task}")
    return json.loads(Path(f"build/metrics/kaleido-{task}.json").read_text())


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_learned_from_the_pretrained_weights_and_measured(task):
    found = both(task)
    card = checkpoint.read_card(Path(f"build/finetuned/kaleido-{task}"))
    assert (card["system"], card["task"], card["steps"]) == ("kaleido", task, 4)
    assert not list(Path(".work").glob(f"*kaleido-{task}*"))
    expected = {
        "retrieval": {"sampled.itr.R@1", "sampled.tir.R@10", "full.SumR", "sampled.itr.R@1.low"},
        "category": {"both.accuracy", "image.macro_f_all", "text.calibration_error", "both.temperature"},
        "sub_category": {"both.accuracy.low", "image.macro_f_present", "text.calibration_error_raw"},
        "captioning": {"causal.cider", "mask_all.cider"},
    }[task]
    assert expected <= set(found)
    began = checkpoint.load(Path("build/runs/kaleido"))[0]
    ended = checkpoint.load(Path(f"build/finetuned/kaleido-{task}"))[0]
    shared = [name for name in began if name in ended and name.startswith("layers")]
    assert shared
    assert all((began[name] - ended[name]).abs().max() < 0.05 for name in shared), "it did not start from them"


def test_tables_hold_every_row_of_the_split():
    both("category")
    both("captioning")
    test = PRODUCTS // 3
    captions = pd.read_parquet("build/evaluation/kaleido-captioning/captions.parquet")
    assert captions.groupby("mode").size().to_dict() == {"causal": test, "mask_all": test}
    assert captions["product"].nunique() == test
    predictions = pd.read_parquet("build/evaluation/kaleido-category/predictions.parquet")
    pictures = pd.read_parquet("build/catalogue/pictures.parquet")
    split = pd.read_parquet("build/catalogue/products.parquet")["split"].to_numpy()
    assert set(predictions["picture"]) == set(np.flatnonzero(split[pictures["product"]] == "test"))
    assert predictions["confidence_both"].between(0, 1).all()
    assert Path("build/evaluation/kaleido-category/confusion.png").stat().st_size > 500


def test_confidence_is_as_it_is_where_validation_knows_no_class(capfd):
    finetune.main("kaleido-category")
    table = Path("build/catalogue/products.parquet")
    before = table.read_bytes()
    products = pd.read_parquet(table)
    products.loc[products["split"] == "val", "category"] = ""
    products.to_parquet(table)
    try:
        examine.main("kaleido-category")
    finally:
        table.write_bytes(before)
    assert "confidence is not calibrated" in capfd.readouterr().out
    assert json.loads(Path("build/metrics/kaleido-category.json").read_text())["both.temperature"] == 1.0


def test_what_the_catalogue_has_no_labels_for_is_left_out(capfd):
    table = Path("build/catalogue/products.parquet")
    before = table.read_bytes()
    pd.read_parquet(table).assign(sub_category="").to_parquet(table)
    try:
        assert both("sub_category") == {}
    finally:
        table.write_bytes(before)
    said = capfd.readouterr().out
    assert "no product of the training split has a sub_category: it is not learned" in said
    assert "there is nothing to measure" in said
    assert not list(Path("build/evaluation/kaleido-sub_category").glob("*.parquet")), "of a run before"
    assert "sub_category" not in fashionvl.load("build/runs/kaleido").facts["parts"]
    assert "kaleido-sub_category" not in dict(evidence.trainings_of(config.load(Path("params.yaml")), Path("build")))


@pytest.mark.parametrize("task", ["retrieval", "captioning"])
def test_a_killed_finetuning_ends_with_the_same_weights(task):
    finetune.main(f"kaleido-{task}")
    straight = checkpoint.load(Path(f"build/finetuned/kaleido-{task}"))
    finetune.main(f"kaleido-{task}", stop_after=2)
    finetune.main(f"kaleido-{task}")
    resumed = checkpoint.load(Path(f"build/finetuned/kaleido-{task}"))
    assert all(torch.equal(straight[0][name], resumed[0][name]) for name in straight[0])
    assert straight[1]["metrics"] == resumed[1]["metrics"]


def test_the_likeness_is_learned_weighed_by_val_and_left_alone_by_the_steps(monkeypatch):
    finetune.main("kaleido-retrieval")
    weights, card = checkpoint.load(Path("build/finetuned/kaleido-retrieval"))
    assert weights["likeness.gain"].item() == pytest.approx(card["gain"], abs=1e-3)
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["finetune"]["retrieval"]["training"]["least_steps"] = 1
    Path("other.yaml").write_text(yaml.safe_dump(raw))
    finetune.main("kaleido-retrieval", params=Path("other.yaml"))
    fewer = checkpoint.load(Path("build/finetuned/kaleido-retrieval"))[0]
    assert torch.equal(weights["likeness.project.weight"], fewer["likeness.project.weight"])
    assert not torch.equal(weights["layers.0.qkv.weight"], fewer["layers.0.qkv.weight"])


@pytest.mark.parametrize(
    ("task", "change", "says"),
    [
        ("retrieval", {"loss": "hinge"}, r"retrieval\.loss must be one of .* not 'hinge'"),
        (
            "retrieval",
            {"block": 3},
            r"retrieval\.block must be 2 or more and divide the batch of 8 into 2 .* or more, not 3",
        ),
        ("retrieval", {"block": 8}, "into 2 .* or more, not 8"),
        ("category", {"readout": "all"}, r"category\.readout must be one of"),
        ("category", {"columns": {"picture": 1}}, "what is shown must name some of"),
        ("captioning", {"modes": {"beam": 1}}, r"captioning\.modes must give one or more of"),
    ],
)
def test_a_wrong_row_is_one_sentence(task, change, says):
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["finetune"][task].update(change)
    Path("wrong.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises((config.ConfigError, Problem), match=says):
        finetune.main(f"kaleido-{task}", params=Path("wrong.yaml"))


def test_an_item_that_is_no_system_and_task_is_one_sentence():
    with pytest.raises(config.ConfigError, match="'kaleido-colour' is no SYSTEM-TASK; a task is one of"):
        finetune.main("kaleido-colour")
    with pytest.raises(config.ConfigError, match="no row 'pixelbert' under systems"):
        finetune.main("pixelbert-category")


def test_weights_of_other_patches_are_refused(made):
    settings = config.load(Path("params.yaml"))
    row = settings.systems["kaleido"]
    weights, card = checkpoint.load(Path("build/runs/kaleido"))
    checkpoint.save(Path("build/other"), weights, {"model": {**card["model"], "grids": [8]}})
    from fashionvl.catalogue import Catalogue

    catalogue = Catalogue.load(Path("build/catalogue"), Path("data"))
    with pytest.raises(Problem, match="learned from other patches"):
        courses.Bench.of(row, settings, catalogue, Path("build"), Path("build/other"))
