from dataclasses import replace

import numpy as np
import pytest
import shop
import torch

from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import matching, spoil
from fashionvl.tasks.pairs import Pairs


@pytest.fixture
def of():
    return shop.catalogue()


@pytest.fixture
def desk(of, tmp_path):
    return shop.desk(tmp_path / "patches", of)


@pytest.fixture
def model(desk):
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.0}
    return SingleStream(
        vocabulary=desk.words.vocabulary, dim=desk.store.dim, objectives=list(shop.OBJECTIVES), **sizes
    ).eval()


def every_pair(of):
    pictures, products = len(of.pictures), len(of.products)
    return np.repeat(np.arange(pictures), products), np.tile(np.arange(products), pictures)


def plain(model, desk, picture, product):
    """One pair by itself, all of it read, nothing re-used."""
    one = torch.tensor([product]), torch.tensor([picture])
    clean = replace(desk, objectives=["itm"], matched_only=[])
    asked = spoil.ask(
        clean, Pairs(*one, torch.tensor([True]), one[1], torch.tensor([False])), generator=torch.Generator()
    )
    with torch.no_grad():
        said = model.match(model.pooled(model(asked.batch)))[0]
    return (said[1] - said[0]).item()


def test_scores_are_those_of_each_pair_by_itself(of, desk, model):
    pictures, products = every_pair(of)
    scores = matching.score_pairs(model, desk, pictures, products)
    for row in range(0, len(scores), 397):
        assert scores[row] == pytest.approx(plain(model, desk, pictures[row], products[row]), abs=1e-4)


def test_the_order_of_pairs_changes_no_score(of, desk, model):
    pictures, products = every_pair(of)
    order = np.random.default_rng(0).permutation(len(pictures))
    scores = matching.score_pairs(model, desk, pictures, products)
    assert matching.score_pairs(model, desk, pictures[order], products[order]) == pytest.approx(scores[order], abs=1e-4)


def test_half_precision_makes_no_ties(of, desk, model):
    pictures, products = every_pair(of)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = matching.score_pairs(model, desk, pictures, products)
    said = {(int(p), desk.words.decode(desk.texts.ids[q].tolist())) for p, q in zip(pictures, products, strict=True)}
    assert len(np.unique(scores)) > 0.8 * len(said)
