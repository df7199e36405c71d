import pytest
import shop
import torch

from fashionvl import training
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import acquaint
from fashionvl.tasks.pairs import Shop
from fashionvl.words import rarity_of


@pytest.fixture
def of():
    return shop.catalogue(products=240)


@pytest.fixture
def desk(of, tmp_path):
    return shop.desk(tmp_path / "patches", of)


def model_for(desk):
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 1, "heads": 2, "inner": 64, "dropout": 0.0}
    return SingleStream(vocabulary=desk.words.vocabulary, dim=desk.store.dim, objectives=list(shop.OBJECTIVES), **sizes)


def likeness_of_own_and_other(model, of, desk):
    """Mean cosine of products of the validation split with their own text, and with that of another thing."""
    products = Shop.of(of, "val").products
    rarity = rarity_of(desk.texts.ids, vocabulary=desk.words.vocabulary, never=desk.words.special())
    seen = acquaint.look(model, acquaint.level_means(desk.store, torch.tensor(of.first_pictures())[products]))
    table = seen @ acquaint.read(model, desk.texts.ids[products], rarity).T
    title = of.products["title"].to_numpy()[products]
    other = torch.tensor(title[:, None] != title[None])
    return table.diagonal().mean().item(), table[other].mean().item()


def test_words_and_patches_that_belong_together_come_near_on_products_never_seen(of, desk):
    model = model_for(desk)
    said = acquaint.acquaint(model, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    assert said[-1] < 0.9 * said[0]
    own, other = likeness_of_own_and_other(model, of, desk)
    assert own > other + 0.2


def test_only_word_table_and_projections_change_and_words_outweigh_positions(of, desk):
    model, before = model_for(desk), model_for(desk).state_dict()
    acquaint.acquaint(model, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"words.word.weight"} | {f"patches.project.{level}.weight" for level in range(5)}
    assert model.words.word.weight.std().item() == pytest.approx(acquaint.SPREAD, rel=1e-4)


def test_the_same_seed_acquaints_alike(of, desk):
    models = [model_for(desk), model_for(desk)]
    for model in models:
        acquaint.acquaint(model, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    assert torch.equal(models[0].words.word.weight, models[1].words.word.weight)
