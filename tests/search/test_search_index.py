import json

import faiss
import numpy as np
import pandas as pd
import pytest

from fashionvl.catalogue.problems import Problem
from fashionvl.search import index as search
from fashionvl.search.facets import Facets
from fashionvl.search.order import composed, ordered

RECIPE = {"links": 16, "built": 80, "breadth": 64, "lists": 2.0, "probed": 0.2, "seed": 7}


def clustered(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Unit vectors around some centres."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(20, width))
    vectors = centres[draw.integers(20, size=count)] + 0.5 * draw.normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def made(kind: str, products: int = 800, views: int = 1) -> search.Index:
    vectors = clustered(products * views)
    flat_below = len(vectors) + 1 if kind == "flat" else 1
    engine = search.engine(vectors, flat_below=flat_below, above="hnsw" if kind == "hnsw" else "ivf", **RECIPE)
    assert search.kind_of(engine) == kind
    return search.Index(vectors, np.arange(products).repeat(views), engine)


def by_hand(index: search.Index, query: np.ndarray, allowed: np.ndarray) -> list[tuple[float, int]]:
    """All allowed products by their best view, the best first."""
    cosines = index.vectors @ query
    best = {}
    for picture, product in enumerate(index.product.tolist()):
        if allowed[product]:
            best[product] = max(best.get(product, -2.0), float(cosines[picture]))
    return sorted(((cosine, product) for product, cosine in best.items()), reverse=True)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("views", [1, 3])
def test_products_are_found_by_their_best_view(kind, views):
    index, queries = made(kind, views=views), clustered(5, seed=1)
    hits = search.search(index, queries, 10)
    for row, query in enumerate(queries):
        expected = by_hand(index, query, np.ones(800, bool))[:10]
        found = hits.product[row].tolist()
        assert len(set(found)) == 10
        assert len(set(found) & {product for _, product in expected}) >= (10 if kind == "flat" else 9)
        assert hits.cosine[row] == pytest.approx(index.vectors[hits.picture[row]] @ query, abs=1e-5)
        assert (index.product[hits.picture[row]] == hits.product[row]).all()
        assert (np.diff(hits.cosine[row]) <= 0).all()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("compared", [0, 10_000], ids=["by the engine", "one by one"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.4])
def test_a_filter_is_exact_whatever_the_index(kind, compared, share, monkeypatch):
    monkeypatch.setattr(search, "COMPARED", compared)
    index, queries = made(kind, views=2), clustered(5, seed=1)
    allowed = np.random.default_rng(2).random(800) < share
    hits = search.search(index, queries, 12, allowed)
    there = min(12, int(allowed.sum()))
    for row, query in enumerate(queries):
        found = hits.product[row]
        assert (found[there:] == search.NOBODY).all()
        assert allowed[found[:there]].all()
        expected = [product for _, product in by_hand(index, query, allowed)[:there]]
        if kind == "flat" or compared or there < 12:  # all that are allowed, or all compared
            assert found[:there].tolist() == expected
        assert np.isneginf(hits.cosine[row, there:]).all()


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_filter_far_from_the_query_is_answered_too(kind, monkeypatch):
    monkeypatch.setattr(search, "COMPARED", 0)
    index = made(kind, products=3000)
    query = index.vectors[:1]
    allowed = np.zeros(3000, bool)
    allowed[np.argsort(index.vectors @ query[0])[:40]] = True  # the farthest of all
    hits = search.search(index, query, 40, allowed)
    assert hits.product[0].tolist() == [product for _, product in by_hand(index, query[0], allowed)]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_recall_is_that_of_the_first_products(kind):
    index, queries = made(kind, products=3000), clustered(40, seed=3)
    assert search.recall(index, queries, 50) == pytest.approx(1.0, abs=0 if kind == "flat" else 0.05)
    index.engine.reset()
    index.engine.add(index.vectors[np.random.default_rng(0).permutation(3000)])  # an index of other pictures
    assert search.recall(index, queries, 50) < 0.2


def test_an_index_survives_its_file(tmp_path):
    for kind in ("flat", "hnsw", "ivf"):
        index, queries = made(kind), clustered(4, seed=1)
        faiss.write_index(index.engine, str(tmp_path / "index.faiss"))
        again = search.Index(index.vectors, index.product, faiss.read_index(str(tmp_path / "index.faiss")))
        assert search.kind_of(again.engine) == kind
        assert (search.search(again, queries, 5).product == search.search(index, queries, 5).product).all()


def test_blocks_change_nothing(monkeypatch):
    index, queries = made("flat", views=3), clustered(7, seed=1)
    whole = search.exact(index, queries, 9)
    monkeypatch.setattr(search, "BLOCK", 1)
    assert (search.exact(index, queries, 9).picture == whole.picture).all()
    assert search.exact(index, queries, 5000).product[0, 800:].tolist() == [search.NOBODY] * 4200


def products() -> pd.DataFrame:
    rows = [("Shoes", "Boots", "Red"), ("Shoes", "", "Blue"), ("Bags", "", None), ("Shoes", "Boots", "Blue")]
    attributes = [json.dumps({"colour": colour, "category": "?"} if colour else {}) for *_, colour in rows]
    names, kinds = [row[0] for row in rows], [row[1] for row in rows]
    return pd.DataFrame({"category": names, "sub_category": kinds, "attributes": attributes})


def test_filters_join_values_by_or_and_names_by_and():
    facets = Facets.of(products())
    assert facets.allowed({}) is None
    assert facets.allowed({"category": ["Shoes"]}).tolist() == [True, True, False, True]
    assert facets.allowed({"colour": ["Red", "Blue"]}).tolist() == [True, True, False, True]
    assert facets.allowed({"colour": ["Blue"], "sub_category": ["Boots"]}).tolist() == [False, False, False, True]
    assert facets.allowed({"colour": []}).tolist() == [False] * 4
    assert facets.counts() == {
        "category": {"Shoes": 3, "Bags": 1},
        "sub_category": {"Boots": 2},
        "colour": {"Blue": 2, "Red": 1},
    }


def test_what_cannot_be_filtered_by_is_one_sentence():
    facets = Facets.of(products())
    with pytest.raises(Problem, match="cannot be filtered by 'size'; they can by category, colour, sub_category"):
        facets.allowed({"size": ["L"]})
    with pytest.raises(Problem, match="no product has 'Purpel' as its colour; there are Blue, Red"):
        facets.allowed({"colour": ["Red", "Purpel"]})


def test_a_composed_query_lies_between_its_parts():
    text, picture = clustered(2)
    for share, expected in ((1.0, text), (0.0, picture)):
        assert composed(text, picture, share) == pytest.approx(expected, abs=1e-6)
    both = composed(text, picture, 0.5)
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-6)
    assert both @ text == pytest.approx(float(both @ picture), abs=1e-6)


def test_what_the_second_stage_has_seen_comes_first_by_both():
    cosine = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert ordered(np.array([0.0, 1.0, 2.0]), cosine, 0.0).tolist() == [2, 1, 0, 3, 4]
    assert ordered(np.array([0.0, 1.0, 2.0]), cosine, 15.0).tolist() == [0, 1, 2, 3, 4]
    assert ordered(np.empty(0), cosine, 15.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_a_query_of_no_numbers_finds_nobody_and_ends(kind):
    index = made(kind)
    queries = np.stack([np.full(16, np.nan, np.float32), clustered(1)[0]])
    found = search.search(index, queries, 5).product
    assert (found[0] == search.NOBODY).all()
    assert (found[1] != search.NOBODY).all()
