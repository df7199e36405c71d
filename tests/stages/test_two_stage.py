"""Two stages measured: the same ranks as by hand, the same queries as `evaluate`, and the batch search."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import contrast, evaluate, index, search, two_stage
from fashionvl.tasks import two_stage as task

PRODUCTS = 24


def places(folder):
    return {"params": folder / "params.yaml", "data": folder / "data", "build": folder / "build"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_stage")
    run = tiny.build(folder, PRODUCTS, aligned=False)
    tiny.fine_tune(run, "retrieval", 2)
    table = yaml.safe_load((folder / "params.yaml").read_text())
    table["contrast"]["baseline"] |= {"channels": [8, 16], "pixels": [32, 24], "width": 12}
    table["contrast"]["baseline"]["training"] |= {"epochs": 0.0, "least_steps": 3, "batch": 6}
    table["contrast"]["other"] = table["contrast"]["baseline"]
    table |= {"run_contrast": ["baseline", "other"]}
    table["search"] |= {"first": 4}
    table["evaluate"] |= {"queries": 8, "draws": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(table))
    for name in ("baseline", "other"):
        contrast.main(name, work=folder / ".work", **places(folder))
        evaluate.main(name, **places(folder))
    return folder


def test_recall_alone_ranks_as_evaluate_does_and_the_rest_is_paired(shop, capsys):
    two_stage.main("baseline", **places(shop))
    found = json.loads((shop / "build/metrics/baseline-two_stage.json").read_text())
    ranked = json.loads((shop / "build/metrics/baseline.json").read_text())
    for direction in ("itr", "tir"):
        for at in (1, 5, 10):
            assert found[f"recall.{direction}.R@{at}"] == ranked[f"full.{direction}.R@{at}"]
        assert found[f"recall.{direction}.ceiling"] >= found[f"both.{direction}.R@1"]
        ends = [found[f"both.{direction}.R@1{end}"] for end in (".low", "", ".high")]
        assert ends == sorted(ends)
    assert set(found["both - recall"]) == {f"full.{way}.R@{at}" for way in ("itr", "tir") for at in (1, 5, 10)}
    assert "both - other" in found
    table = pd.read_parquet(shop / "build/two_stage/baseline/ranks.parquet").set_index("way")
    recall, both = table.loc["recall"], table.loc["both"]
    hit = (both["rank"] <= 1).to_numpy(float)
    gain = 100 * (hit - (recall["rank"] <= 1).to_numpy(float))[(both["direction"] == "itr").to_numpy()].mean()
    assert found["both - recall"]["full.itr.R@1"][0] == pytest.approx(gain, abs=1e-3)
    assert (both["rank"] <= 4).eq(both["inside"]).all()
    card = checkpoint.read_card(shop / "build/two_stage/baseline")
    assert card["cosine"] >= 0
    assert "both.itr.R@1" in capsys.readouterr().out


def test_a_number_of_params_yaml_counts_instead_of_the_validation_split(shop, tmp_path):
    table = yaml.safe_load((shop / "params.yaml").read_text())
    table["search"]["cosine"] = 1e9  # whatever the cross-encoder says
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    two_stage.main("baseline", **places(shop) | {"params": tmp_path / "params.yaml"})
    found = json.loads((shop / "build/metrics/baseline-two_stage.json").read_text())
    assert found["both.itr.R@1"] == found["recall.itr.R@1"]
    table["search"]["rerank"] = None
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(config.ConfigError, match=r"run_search\.baseline must be search\.rerank"):
        two_stage.main("baseline", **places(shop) | {"params": tmp_path / "params.yaml"})
    table["run_search"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(Problem, match=r"search\.rerank is null"):
        two_stage.main("baseline", **places(shop) | {"params": tmp_path / "params.yaml"})


def asked(cosine, own, first):
    cosine, own = np.array(cosine), np.array(own, bool)
    some = np.arange(len(cosine))
    return task.Asked(some, some, cosine, own, task.first_of(cosine, own, first))


def test_what_is_not_recalled_stays_behind_what_is():
    one = asked([[0.9, 0.8, 0.7, 0.6]] * 3, [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]], 2)
    assert one.inside.tolist() == [True, False, True]
    assert task.ranks(one, np.array([[0.0, 1.0]] * 3)).tolist() == [1, 4, 2]
    assert task.ranks(one, one.recalled(one.cosine)).tolist() == [2, 4, 1]


def test_ties_count_against_us_at_the_edge_and_inside():
    one = asked([[0.5, 0.5, 0.5]], [[1, 0, 0]], 2)
    assert one.first.tolist() == [[1, 2]]
    assert task.ranks(one, np.zeros((1, 2))).tolist() == [3]
    whole = asked([[0.5, 0.5, 0.5]], [[1, 0, 0]], 3)
    assert task.ranks(whole, np.zeros((1, 3))).tolist() == [3]


def test_the_better_stage_counts_more():
    draw = np.random.default_rng(0)
    own = np.eye(40, dtype=bool)
    good, bad = own + 0.3 * draw.normal(size=(40, 40)), draw.normal(size=(40, 40))

    def weight(cosine, odds):
        one = asked(0.01 * cosine, own, 40)
        return task.balance([one], [one.recalled(odds)])

    assert weight(good, bad) > 10 * weight(bad, good)
    one = asked(good, own, 40)
    alone = asked([[0.5, 0.4]], [[1, 1]], 2)  # nothing wrong is recalled
    assert task.balance([alone], [alone.recalled(alone.cosine)]) is None
    assert task.balance([one, alone], [one.recalled(bad), alone.recalled(alone.cosine)]) is not None


def test_a_table_of_queries_is_answered(shop, tmp_path, capsys):
    of = Catalogue.load(shop / "build" / "catalogue", shop / "data")
    index.main("baseline", work=shop / ".work", **places(shop))
    (tmp_path / "me.jpg").write_bytes((of.root / of.pictures["path"][0]).read_bytes())
    colour = json.loads(of.products["attributes"][0])["colour"]
    rows = [
        {"text": "a black bag"},
        {"picture": "me.jpg"},
        {"text": "red", "picture": "me.jpg", "where": json.dumps({"colour": [colour]})},
        {"product": of.products["product_id"][1]},
        {"picture": "gone.jpg"},
        {"text": "red", "where": "[1"},
        {"text": "red", "where": '{"colour": "Red"}'},
        {},
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "queries.parquet")
    search.main(tmp_path / "queries.parquet", tmp_path / "out.parquet", count=3, **places(shop))
    found = pd.read_parquet(tmp_path / "out.parquet")
    good = found[found["rank"] > 0]
    assert good.groupby("query").size().to_dict() == {0: 3, 1: 3, 2: 3, 3: 3} | {2: len(good[good["query"] == 2])}
    assert good[good["query"] == 1].sort_values("recalled").iloc[-1]["product_id"] == of.products["product_id"][0]
    chosen = of.products.set_index("product_id").loc[good[good["query"] == 2]["product_id"], "attributes"]
    assert {json.loads(attributes)["colour"] for attributes in chosen} == {colour}
    bad = found[found["rank"] == 0].set_index("query")["problem"]
    assert bad.index.tolist() == [4, 5, 6, 7]
    for number, why in ((4, "no such file"), (5, "not valid JSON"), (6, "where must be like"), (7, "a query has")):
        assert why in bad[number]
    assert "8 queries, 4 of them could not be answered" in capsys.readouterr().out
    for table, why in ((None, "does not exist"), (pd.DataFrame({"a": [1]}), "it has a")):
        if table is not None:
            table.to_parquet(tmp_path / "other.parquet")
        with pytest.raises(Problem, match=why):
            search.main(tmp_path / "other.parquet", tmp_path / "out.parquet", **places(shop))
    (tmp_path / "other.parquet").write_text("no parquet")
    with pytest.raises(Problem, match="cannot be read as parquet"):
        search.main(tmp_path / "other.parquet", tmp_path / "out.parquet", **places(shop))


def test_a_filter_that_is_a_structure_counts_or_is_refused():
    asked = {"text": "red", "where": {"colour": ["Black"]}}
    assert search.query_of(asked, Path()).where == {"colour": ["Black"]}
    for none in (None, "", float("nan")):
        assert search.query_of({"text": "red", "where": none}, Path()).where == {}
    for wrong in ({"colour": np.array(["Black"])}, {"colour": None}, np.array(["Black", "White"]), 7):
        with pytest.raises(Problem, match="where must be like"):
            search.query_of({"text": "red", "where": wrong}, Path())
