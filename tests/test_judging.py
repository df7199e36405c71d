"""Saved systems are asked the same about the catalogue of today, each in its own way, and their answers are kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml

import fashionvl
from fashionvl import config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.pretrained import judging
from fashionvl.stages import questions

KINDS = ["hat", "top"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    run = tiny.build(tmp_path_factory.mktemp("tiny"), products=24, aligned=False)
    build = run.parents[1]
    products = pd.read_parquet(build / "catalogue" / "products.parquet")
    products = products.assign(category=np.resize(KINDS, len(products)), split="test")
    products.to_parquet(build / "catalogue" / "products.parquet")
    tiny.fine_tune(run, "category", 4, KINDS)
    settings = yaml.safe_load((run.parents[2] / "params.yaml").read_text())
    settings["gate"] |= {"candidates": 5, "queries": 16, "least_slice": 4, "slices": ["category"]}
    (run.parents[2] / "params.yaml").write_text(yaml.safe_dump(settings))
    return run


@pytest.fixture(scope="module")
def places(run) -> dict:
    root = run.parents[2]
    return {"params": root / "params.yaml", "data": root / "data", "build": root / "build"}


@pytest.fixture(scope="module")
def other(run, tmp_path_factory) -> Path:
    """A champion of older data: other words and grids, no head for categories."""
    old = tiny.build(
        tmp_path_factory.mktemp("older"), products=6, aligned=False, patches={"grids": [2, 3], "margin": 0.2}
    )
    tiny.fine_tune(old, "retrieval", 9)
    folder = tmp_path_factory.mktemp("saved") / "old"
    fashionvl.load(old).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def judged(run, other, places, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    judging.main([run, other], out=out, **places)
    return out


def test_answers_are_those_of_the_library(run, judged, places):
    model, settings = fashionvl.load(run), config.load(places["params"])
    of = Catalogue.load(places["build"] / "catalogue", places["data"])
    lists, _ = questions.pinned(of, places["build"], settings.gate, settings.seed)
    texts = of.texts(settings.text.fields)
    ranks = pd.read_parquet(judged / "challenger" / "ranks.parquet")
    assert len(ranks) == 32
    assert set(ranks["listed"]) == {6}
    paths = [of.root / path for path in of.pictures["path"]]
    for row in (0, 20):  # itr, tir
        product, picture, listed = lists.product[row], lists.picture[row], lists.candidates[row]
        if lists.direction[row] == "itr":
            scores = model.match(paths[picture], [texts[at] for at in listed])
        else:
            scores = model.match([paths[at] for at in listed], texts[product])
        assert ranks["rank"][row] == 1 + (scores[1:] >= scores[0]).sum()
        assert ranks["product"][row] == of.products["product_id"][product]
    rows = pd.read_parquet(judged / "challenger" / "rows.parquet")
    assert sorted(rows.groupby("column").size().items()) == [("both", 16), ("image", 16)]
    first = rows[rows["column"] == "image"].iloc[0]
    at = int(np.flatnonzero(of.products["product_id"] == first["product"])[0])
    picture = paths[lists.picture[np.flatnonzero(lists.product == at)[0]]]
    assert model.classify(picture, task="category", top=1)[0][0] == first["said"]
    assert first["right"] == (first["said"] == first["category"])


def test_an_older_system_answers_the_same_questions_in_its_own_way(judged):
    mine, theirs = (pd.read_parquet(judged / side / "ranks.parquet") for side in ("challenger", "champion"))
    asked = ["product", "group", "direction", "listed", "category"]
    pd.testing.assert_frame_equal(mine[asked], theirs[asked])
    assert (mine["rank"] != theirs["rank"]).any()
    found = json.loads((judged / "verdict.json").read_text())
    assert "category.image.accuracy is not compared: the champion has no head for it" in found["reasons"]
    assert {row["slice"] for row in found["table"]} == {"", "category=hat", "category=top"}
    assert (judged / "verdict.md").read_text().startswith("**")


def test_a_system_against_itself_is_not_promoted(run, places, tmp_path):
    found = judging.main([run, run], out=tmp_path, **places)
    assert not found.promote
    assert "the same for every product" in found.reasons[0]
    assert {row["gain"] for row in found.table} == {0}


def test_one_without_a_head_of_the_champion_is_not_promoted(run, other, places, tmp_path):
    found = judging.main([other, run], out=tmp_path, **places)
    assert not found.promote
    assert "the champion has the part 'category', which the challenger lacks" in found.reasons


def test_questions_are_drawn_once_for_a_catalogue_and_never_changed(run, places, tmp_path):
    build = shutil.copytree(places["build"] / "catalogue", tmp_path / "build" / "catalogue").parent
    of, settings = Catalogue.load(build / "catalogue", places["data"]), config.load(places["params"])
    lists, key = questions.pinned(of, build, settings.gate, settings.seed)
    file = build / "gate" / "questions" / key / "lists.parquet"
    before = file.read_bytes(), file.stat().st_mtime_ns
    again, same = questions.pinned(of, build, settings.gate, settings.seed)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert same == key
    assert (again.candidates == lists.candidates).all()
    assert (again.direction == lists.direction).all()

    assert questions.pinned(of, build, replace(settings.gate, queries=3), settings.seed)[1] != key
    of.products.assign(title="another").to_parquet(build / "catalogue" / "products.parquet")
    assert questions.pinned(of, build, settings.gate, settings.seed)[1] != key
    assert len(list((build / "gate" / "questions").iterdir())) == 3

    of.products.to_parquet(build / "catalogue" / "products.parquet")
    file.write_bytes(before[0][:-1])
    with pytest.raises(Problem, match="is not what was drawn"):
        questions.pinned(of, build, settings.gate, settings.seed)


def test_two_that_draw_at_once_agree(run, places, tmp_path, monkeypatch):
    build = shutil.copytree(places["build"] / "catalogue", tmp_path / "build" / "catalogue").parent
    of, settings = Catalogue.load(build / "catalogue", places["data"]), config.load(places["params"])
    draw = questions._draw

    def outrun(*arguments):
        monkeypatch.setattr(questions, "_draw", draw)
        questions.pinned(*arguments[:1], build, *arguments[1:])
        return draw(*arguments)

    monkeypatch.setattr(questions, "_draw", outrun)
    monkeypatch.setattr(questions.os, "getpid", iter([1, 2]).__next__)
    _, key = questions.pinned(of, build, settings.gate, settings.seed)
    assert [path.name for path in (build / "gate" / "questions").iterdir()] == [key]


def test_a_split_without_products_is_a_sentence(run, places):
    of, settings = Catalogue.load(places["build"] / "catalogue", places["data"]), config.load(places["params"])
    with pytest.raises(Problem, match="no product is in the split 'val'"):
        questions.pinned(of, places["build"], replace(settings.gate, split="val"), settings.seed)
