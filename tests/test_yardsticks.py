import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shop
import yaml
from PIL import Image

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import confusion
from fashionvl.stages import yardsticks as stage
from fashionvl.tasks import labels, yardsticks

PARAMS = Path(__file__).parents[1] / "params.yaml"


def names(*labels):
    return np.array(labels, dtype=object)


def test_the_majority_is_the_most_common_label_and_of_equals_the_first_by_name():
    assert yardsticks.majority(names("b", "a", "b"), 2).tolist() == ["b", "b"]
    assert yardsticks.majority(names("b", "a", "a", "b"), 1).tolist() == ["a"]


def test_a_bag_of_words_names_what_the_text_names():
    texts = [f"{colour} {thing}" for colour in shop.COLOURS for thing in shop.THINGS]
    things = names(*(text.split()[1] for text in texts))
    asked = ["mauve jeans", "a parka, blue", "boots"]
    assert yardsticks.tfidf(texts, things, asked).tolist() == ["jeans", "parka", "boots"]
    assert yardsticks.tfidf(["one", "two"], names("a", "a"), ["three"]).tolist() == ["a"]


def test_neighbours_vote_by_pixels():
    draw = np.random.default_rng(0)
    light = draw.integers(180, 256, (8, 16, 12, 3)).astype(np.uint8)
    dark = draw.integers(0, 70, (8, 16, 12, 3)).astype(np.uint8)
    learned, labels_of = np.concatenate([light[:6], dark[:6]]), names(*["light"] * 6, *["dark"] * 6)
    said = yardsticks.pixels(learned, labels_of, np.stack([dark[6], light[7]]))
    assert said.tolist() == ["dark", "light"]
    assert yardsticks.pixels(learned[:2], labels_of[:2], dark[:1]).tolist() == ["light"]  # fewer than five


@pytest.fixture
def build(tmp_path):
    """A catalogue with pictures whose colour tells the thing."""
    of = shop.catalogue(products=60, views=2)
    (tmp_path / "data").mkdir()
    for path, product in zip(of.pictures["path"], of.pictures["product"], strict=True):
        shade = 40 + 60 * shop.THINGS.index(of.products["sub_category"][product])
        Image.new("RGB", (24, 32), (shade, shade, 255 - shade)).save(tmp_path / "data" / path)
    of.pictures["width"], of.pictures["height"] = 24, 32
    return of, tmp_path


def ran(of: Catalogue, folder: Path) -> dict[str, float]:
    (folder / "build" / "catalogue").mkdir(parents=True, exist_ok=True)
    of.products.to_parquet(folder / "build" / "catalogue" / "products.parquet")
    of.pictures.to_parquet(folder / "build" / "catalogue" / "pictures.parquet")
    stage.main(params=PARAMS, data=folder / "data", build=folder / "build")
    return json.loads((folder / "build" / "metrics" / "yardsticks.json").read_text())


def test_the_stage_measures_all_yardsticks_of_both_tasks_on_the_ranked_split(build):
    of, folder = build
    found = ran(of, folder)
    marks = ("accuracy", "accuracy.low", "accuracy.high", "macro_f_all", "macro_f_present")
    wanted = {f"{task}.{name}.{mark}" for task in labels.TASKS for name in yardsticks.YARDSTICKS for mark in marks}
    assert set(found) == wanted
    assert found["sub_category.tfidf.accuracy"] == found["sub_category.pixels.accuracy"] == 1.0
    assert found["sub_category.majority.accuracy"] < 0.7
    assert found["category.majority.accuracy"] == 1.0  # it has one class
    said = pd.read_parquet(folder / "build" / "yardsticks" / "predictions_sub_category.parquet")
    assert list(said) == list(stage.COLUMNS)
    split = yaml.safe_load(PARAMS.read_text())["evaluate"]["ranking_on"]
    assert sorted(said["picture"]) == sorted(of.pictures_in(split))
    for name in yardsticks.YARDSTICKS:
        accuracy = (said[f"said_{name}"] == said["true"]).mean()
        assert found[f"sub_category.{name}.accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert ran(of, folder) == found


def test_nothing_of_other_splits_reaches_the_marks(build):
    of, folder = build
    found = ran(of, folder)
    of.products.loc[of.in_split("val"), ["title", "description", "sub_category"]] = "something else"
    assert ran(of, folder) == found


def test_labels_that_are_missing_or_not_in_training_are_told(build, capsys):
    of, folder = build
    test = of.in_split("test")
    of.products.loc[test[0], "sub_category"] = "balaclava"
    of.products.loc[test[1], "sub_category"] = ""
    found = ran(of, folder)
    printed = capsys.readouterr().out
    assert "'balaclava' is not in training; its 2 rows count as wrong" in printed
    assert "1 products of test have no label and are left out" in printed
    assert found["sub_category.tfidf.accuracy"] == pytest.approx(1 - 2 / (2 * len(test) - 2), abs=1e-6)


def test_a_task_without_labels_is_told_and_not_measured(build, capsys):
    of, folder = build
    of.products["category"] = ""
    found = ran(of, folder)
    assert not any(name.startswith("category.") for name in found)
    assert "no training product has a category: it is not measured" in capsys.readouterr().out
    empty = pd.read_parquet(folder / "build" / "yardsticks" / "predictions_category.parquet")
    assert list(empty) == list(stage.COLUMNS)
    assert len(empty) == 0


def test_a_build_without_catalogue_is_one_sentence(tmp_path):
    with pytest.raises(Problem, match="holds no checked catalogue"):
        stage.main(params=PARAMS, data=tmp_path, build=tmp_path)


# Confusions


def test_confusions_are_the_wrong_answers_the_most_common_first():
    true, said = ["a", "a", "a", "b", "b", "c"], ["a", "b", "b", "b", "c", "c"]
    found = confusion.confusions(true, said)
    assert found.to_dict("list") == {"true": ["a", "b"], "said": ["b", "c"], "rows": [2, 1], "share": [2 / 3, 1 / 2]}
    assert confusion.confusions(["a"], ["a"]).empty


def test_the_matrix_counts_every_row_once_and_the_most_confused_are_chosen():
    draw = np.random.default_rng(0)
    classes = [f"class {number:02d}" for number in range(50)]
    true = draw.choice(classes[:40], 500).tolist()
    said = [classes[49] if name == classes[7] else name for name in true]
    counts = confusion.matrix(true, said, classes)
    assert counts.sum() == 500
    assert counts[7, 49] == true.count(classes[7])
    assert {7, 49} <= set(confusion.most_confused(counts, 2).tolist())


@pytest.mark.parametrize(("many", "panels"), [(1, 1), (30, 1), (31, 2), (98, 2)])
def test_a_picture_names_at_most_thirty_classes_and_shows_all(many, panels):
    draw = np.random.default_rng(0)
    classes = [f"a class with a long name that goes on {number:02d}" for number in range(many)]
    true = [*classes, *draw.choice(classes, 300)]
    image = confusion.draw(true, draw.permutation(true).tolist(), title="sub_category by both")
    cells = confusion.CELL * min(many, confusion.MOST) + (panels - 1) * confusion.SMALL * many
    assert cells < image.height < cells + 400
    assert len(image.getcolors(1 << 24)) > 3
