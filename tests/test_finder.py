"""Search as it is served: both stages over a small catalogue, what each gives, and what is refused."""

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml
from PIL import Image

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.pretrained.finder import Finder, Query
from fashionvl.stages import contrast, index

PRODUCTS = 18
CLASSES = ["bag", "boot"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained dual encoder, its index, and every part of an untrained cross-encoder."""
    folder = tmp_path_factory.mktemp("finder")
    run = tiny.build(folder, PRODUCTS)
    tiny.fine_tune(run, "retrieval", 2)
    tiny.fine_tune(run, "captioning", 5)
    table = yaml.safe_load((folder / "params.yaml").read_text())
    table["contrast"]["baseline"] |= {"channels": [8, 16], "pixels": [32, 24], "width": 12}
    table["contrast"]["baseline"]["training"] |= {"epochs": 0.0, "least_steps": 30, "batch": 6}
    table["search"] |= {"first": 6, "cosine": 0.5}
    (folder / "params.yaml").write_text(yaml.safe_dump(table))
    contrast.main("baseline", **places(folder))
    index.main("baseline", **places(folder))
    return folder


def places(folder):
    here = {"params": folder / "params.yaml", "data": folder / "data", "build": folder / "build"}
    return here | {"work": folder / ".work"}


def load(folder, **search):
    settings = config.load(folder / "params.yaml")
    settings = replace(settings, search=replace(settings.search, **search))
    return Finder.load(folder / "build", folder / "data", settings=settings)


@pytest.fixture(scope="module")
def finder(folder) -> Finder:
    return load(folder)


@pytest.fixture(scope="module")
def of(folder) -> Catalogue:
    return Catalogue.load(folder / "build" / "catalogue", folder / "data")


def ids(answer) -> list[str]:
    return [found.product_id for found in answer.found]


def test_a_text_recalls_by_cosine(finder, of):
    answer = finder.find(text="a black bag", count=PRODUCTS, rerank=0)
    said = finder.dual.say(["a black bag"]).float().numpy()[0]
    cosines = pd.Series(finder.index.vectors @ said).groupby(of.pictures["product"].to_numpy()).max()
    best = cosines.sort_values(ascending=False)
    assert ids(answer) == of.products["product_id"].iloc[best.index].tolist()
    assert [found.recalled for found in answer.found] == pytest.approx(best.tolist(), abs=1e-5)
    assert all(found.reranked is None and found.why == () for found in answer.found)
    assert set(answer.seconds) == {"embed", "recall", "rerank", "explain"}
    assert answer.versions["recall"] == "baseline"
    first = answer.found[0]
    row = of.products.set_index("product_id").loc[first.product_id]
    assert (first.title, first.category) == (row["title"], row["category"])
    assert first.attributes == json.loads(row["attributes"])


def test_the_first_are_ranked_again_by_the_cross_encoder_and_the_cosine(finder, of):
    plain = finder.find(text="a black bag", count=PRODUCTS, rerank=0)
    answer = finder.find(text="a black bag", count=PRODUCTS)
    assert set(ids(answer)[:6]) == set(ids(plain)[:6])
    assert ids(answer)[6:] == ids(plain)[6:]
    scores = [found.reranked + 0.5 * found.recalled for found in answer.found[:6]]
    assert scores == sorted(scores, reverse=True)
    assert all(found.reranked is None for found in answer.found[6:])
    for found in answer.found[:6]:
        assert found.reranked == pytest.approx(finder.model.match(of.root / found.pictures[0], "a black bag"), abs=0.1)
    assert ids(finder.find(text="a black bag", count=3)) == ids(answer)[:3]


def test_a_picture_finds_its_own_product_however_it_comes(finder, of):
    path = of.root / of.pictures["path"].iloc[4]
    product = of.products["product_id"].iloc[of.pictures["product"].iloc[4]]
    for picture in (path, path.read_bytes(), Image.open(path), np.asarray(Image.open(path))):
        answer = finder.find(picture=picture, count=4, rerank=0)
        assert ids(answer)[0] == product
        assert answer.found[0].recalled == pytest.approx(1, abs=1e-2)
    again = finder.find(picture=path, count=6)
    texts = [of.texts(tiny.FIELDS)[finder.numbers[name]] for name in ids(again)]
    assert [found.reranked for found in again.found] == pytest.approx(finder.model.match(path, texts), abs=0.1)


def test_text_and_picture_are_one_query(finder, of):
    path, text = of.root / of.pictures["path"].iloc[2], "a black bag"
    answer = finder.find(text=text, picture=path, count=6)
    for found in answer.found:
        asked = finder.model.match(of.root / found.pictures[0], text)
        told = finder.model.match(path, of.texts(tiny.FIELDS)[finder.numbers[found.product_id]])
        assert found.reranked == pytest.approx((asked + told) / 2, abs=0.1)
    alone = [ids(finder.find(text=text, rerank=0)), ids(finder.find(picture=path, rerank=0))]
    assert ids(load(finder_folder(finder), text=1.0).find(text=text, picture=path, rerank=0)) == alone[0]
    assert ids(load(finder_folder(finder), text=0.0).find(text=text, picture=path, rerank=0)) == alone[1]


def finder_folder(finder):
    return finder.root.parent


def test_products_like_one_leave_it_out(finder, of):
    product = of.products["product_id"].iloc[3]
    answer = finder.find(product=product, count=PRODUCTS)
    assert sorted([*ids(answer), product]) == sorted(of.products["product_id"])
    assert answer.found[0].reranked is not None
    other = finder.find(product=product, text="a red dress", count=5)
    assert len(other.found) == 5


def test_filters_are_exact(finder, of):
    facets = finder.facets()
    category, many = next(iter(facets["category"].items()))
    answer = finder.find(text="something", count=PRODUCTS, where={"category": [category]})
    assert len(answer.found) == many
    assert {found.category for found in answer.found} == {category}
    colours = list(facets["colour"])[:2]
    answer = finder.find(text="something", count=PRODUCTS, where={"colour": colours})
    assert {found.attributes["colour"] for found in answer.found} == set(colours)
    with pytest.raises(Problem, match="no product has 'Nothing' as its category"):
        finder.find(text="something", where={"category": ["Nothing"]})


def test_many_at_once_answer_as_one_by_one(finder, of):
    path = of.root / of.pictures["path"].iloc[2]
    queries = [Query(text="a black bag"), Query(picture=path), Query(text="blue", picture=path)]
    queries += [Query(product=of.products["product_id"].iloc[3])]
    together = finder.find_many(queries, count=5)
    for query, answer in zip(queries, together, strict=True):
        alone = finder.find(text=query.text, picture=query.picture, product=query.product, count=5)
        assert ids(alone) == ids(answer)
    assert finder.find_many([]) == []


def test_a_budget_ends_the_second_stage_where_it_is_spent(folder):
    finder = load(folder, first=18)
    ticks = iter(range(10**6))
    slow = replace(finder, clock=lambda: float(next(ticks)))  # every look at the clock takes a second
    answer = slow.find(text="a black bag", count=PRODUCTS, budget=1.5)
    assert [found.reranked for found in answer.found] == [None] * PRODUCTS
    answer = slow.find(text="a black bag", count=PRODUCTS, budget=6.0)
    assert [found.reranked is None for found in answer.found] == [False] * 16 + [True] * 2
    answer = slow.find(text="a black bag", count=PRODUCTS, budget=1000.0)
    assert all(found.reranked is not None for found in answer.found)


def test_why_are_words_of_the_query_and_places_of_the_picture(finder, of):
    text = of.texts(tiny.FIELDS)[0]
    answer = finder.find(text=text, count=3, explain=True)
    assert any(found.why for found in answer.found)
    for found in answer.found:
        assert {why.word for why in found.why} <= set(finder.model.words.whole_words([text])[0])
        assert len({why.word for why in found.why}) == len(found.why)
        for why in found.why:
            left, top, right, bottom = why.box
            assert 0 <= left < right <= 1
            assert 0 <= top < bottom <= 1
    assert any(found.why for found in finder.find(product=of.products["product_id"].iloc[0], explain=True).found)
    finder.find(picture=of.root / of.pictures["path"].iloc[0], explain=True)


def test_pictures_without_cached_patches_are_ranked_the_same(folder, finder, tmp_path):
    store = folder / "build" / "patches" / "kaleido"
    shutil.copytree(folder / "build", tmp_path / "build")
    boxes = pd.read_parquet(store / "boxes.parquet")
    boxes["path"] = ["gone.jpg" if row % 2 else path for row, path in enumerate(boxes["path"])]
    boxes.to_parquet(tmp_path / "build" / "patches" / "kaleido" / "boxes.parquet")
    settings = config.load(folder / "params.yaml")
    other = Finder.load(tmp_path / "build", folder / "data", settings=settings)
    assert other.second.rows.min() == -1
    for one, two in zip(finder.find(text="blue").found, other.find(text="blue").found, strict=True):
        assert one.product_id == two.product_id
        assert one.reranked == (None if two.reranked is None else pytest.approx(two.reranked, abs=1e-2))


def test_one_product_and_none(finder, of):
    found = finder.product(of.products["product_id"].iloc[5])
    mine = of.pictures[of.pictures["product"] == 5]
    assert found.pictures == tuple(mine["path"])
    assert finder.product("nobody") is None


def test_without_a_cross_encoder_recall_answers(folder, tmp_path):
    for part in ("catalogue", "words", "runs/baseline", "index"):
        shutil.copytree(folder / "build" / part, tmp_path / "build" / part)
    finder = Finder.load(tmp_path / "build", folder / "data", settings=config.load(folder / "params.yaml"))
    assert finder.model is None
    assert len(finder.find(text="a bag", count=4, explain=True).found) == 4
    with pytest.raises(Problem, match="no cross-encoder is trained"):
        finder.find(text="a bag", rerank=5)


def test_what_the_stages_weighed_counts_if_it_was_of_these_two(folder):
    finder = load(folder, cosine=None)
    assert "has not weighed" in finder.versions["order"]
    assert finder.counts == 0
    mark = checkpoint.read_card(folder / "build" / "index" / "baseline")["model"]
    out = folder / "build" / "two_stage" / "baseline"
    out.mkdir(parents=True)
    checkpoint.write_card(out, {"recall": mark, "rerank": finder.second.mark(), "cosine": 7.5})
    assert load(folder, cosine=None).counts == 7.5
    checkpoint.write_card(out, {"recall": mark, "rerank": "of another model", "cosine": 7.5})
    assert load(folder, cosine=None).counts == 0
    shutil.rmtree(out)


def test_an_index_of_another_model_or_catalogue_is_refused(folder, tmp_path):
    shutil.copytree(folder / "build", tmp_path / "build")
    settings, card = config.load(folder / "params.yaml"), tmp_path / "build" / "index" / "baseline" / "card.json"
    said = json.loads(card.read_text())
    for key, why in (("model", "of another model"), ("data", "of another state of the catalogue")):
        card.write_text(json.dumps(said | {key: {}}))
        with pytest.raises(Problem, match=f"{why}.*run the stage `index` again"):
            Finder.load(tmp_path / "build", folder / "data", settings=settings)
    shutil.rmtree(card.parent)
    with pytest.raises(Problem, match="has no card"):
        Finder.load(tmp_path / "build", folder / "data", settings=settings)


def test_what_cannot_be_asked_is_one_sentence(finder):
    bomb = io.BytesIO()
    Image.new("L", (9000, 9000)).save(bomb, "PNG")
    for asked, why in (
        ({}, "has a text, a picture, both"),
        ({"text": "  "}, "text of the query is empty"),
        ({"text": 7}, "text of a query is a str, this is int"),
        ({"text": ["a"]}, "text of a query is a str, this is list"),
        ({"picture": [b"", b""]}, "picture 0 is list"),
        ({"product": "nobody"}, "no product 'nobody'"),
        ({"product": "x", "picture": b""}, "not both"),
        ({"picture": b"no picture"}, "not a picture"),
        ({"picture": bomb.getvalue()}, "more than 50 megapixels"),
        ({"text": "a", "count": 0}, "count must be 1 or more"),
        ({"text": "a", "budget": 0.0}, "budget above 0"),
        ({"text": "a", "where": {"size": ["L"]}}, "cannot be filtered by 'size'"),
    ):
        with pytest.raises(Problem, match=why):
            finder.find(**asked)
