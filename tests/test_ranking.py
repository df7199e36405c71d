"""Fine-tuning over groups of candidates: blocks, their losses, and how much a likeness counts."""

import numpy as np
import pytest
import shop
import torch
from torch.nn import functional as F

from fashionvl import losses, training
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import matching, ranking
from fashionvl.tasks.pairs import Shop


@pytest.fixture
def of():
    return shop.catalogue(products=96)


@pytest.fixture
def desk(of, tmp_path):
    whole = shop.desk(tmp_path / "patches", of)
    return ranking.Desk(whole.words, whole.texts, whole.store, 0.0, 0.0)


def model_of(desk, **more):
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.0}
    return SingleStream(
        vocabulary=desk.words.vocabulary, dim=desk.store.dim, objectives=["itm"], **sizes, **more
    ).eval()


def test_an_epoch_shows_every_product_once_but_for_a_last_block_that_is_not_full(of):
    train = Shop.of(of, "train")
    blocks = ranking.blocks_of(train, block=6, same_kind=0.5, generator=torch.Generator().manual_seed(0))
    shown = blocks.flatten()
    assert len(shown.unique()) == len(shown) == len(train.products) // 6 * 6
    assert set(shown.tolist()) <= set(train.products.tolist())


def test_blocks_of_one_sub_category_are_harder_than_mixed_ones(of):
    train = Shop.of(of, "train")
    kinds = [
        (train.kind[ranking.blocks_of(train, block=4, same_kind=share, generator=torch.Generator().manual_seed(1))])
        for share in (0.0, 1.0)
    ]
    mixed, alike = ((kind == kind[:, :1]).float().mean().item() for kind in kinds)
    assert alike > 0.9 > mixed


def test_the_scores_of_a_block_are_those_of_its_pairs_one_by_one(of, desk):
    model, train = model_of(desk), Shop.of(of, "train")
    blocks = train.products[:8].view(2, 4)
    question = ranking.ask(desk, train, blocks, generator=torch.Generator().manual_seed(2))
    found = ranking.scores_of(model, question)
    seen = _views(desk, train, blocks, question)
    for block in range(2):
        for row in range(4):
            for column in range(4):
                pair = np.array([seen[block, row]]), np.array([int(blocks[block, column])])
                alone = matching.score_pairs(model, desk, *pair)[0]
                assert found[block, row, column].item() == pytest.approx(alone, abs=1e-4)


def _views(desk, train, blocks, question):
    """Which view of each product a question shows."""
    products = blocks.flatten()
    seen = torch.empty(len(products), dtype=torch.int64)
    for row, product in enumerate(products.tolist()):
        views = train.first[product] + torch.arange(int(train.views[product]))
        distance = (desk.store.clean(views).float() - question.pictures.patches[row].float()).abs().amax(dim=(1, 2))
        seen[row] = views[distance.argmin()]
    return seen.view_as(blocks).numpy()


def test_parts_of_a_step_hold_other_blocks_and_words_and_vectors_are_left_out(of, desk):
    train, chance = Shop.of(of, "train"), training.chance_of(3)
    draw = ranking.drawing(desk, train, blocks=4, block=4, same_kind=0.5, chance=chance)
    parts = [draw(1, part, 2) for part in range(2)]
    assert all(part.counts == {"rank": 16.0} for part in parts)
    assert torch.equal(draw(1, 0, 2).pictures.patches, parts[0].pictures.patches), "draw is not a pure function"
    assert not torch.equal(parts[0].group, parts[1].group)
    spoiled = ranking.Desk(desk.words, desk.texts, desk.store, 0.5, 0.5)
    question = ranking.ask(spoiled, train, train.products[:64].view(16, 4), generator=torch.Generator().manual_seed(0))
    special = torch.tensor(desk.words.special())
    words = desk.texts.ids[train.products[:64]]
    pieces = (~torch.isin(words, special)).sum()
    assert (question.words == desk.words.mask).sum() / pieces == pytest.approx(0.5, abs=0.06)
    assert (question.words[:, 0] == desk.words.id_of("[CLS]")).all()
    zero = (question.pictures.patches == 0).all(dim=1)  # the same numbers in all patches
    assert zero.float().mean() == pytest.approx(0.5, abs=0.06)


def test_steps_go_through_the_epochs_without_a_gap_and_parts_share_a_step(of, desk):
    train, chance = Shop.of(of, "train"), training.chance_of(3)
    draw = ranking.drawing(desk, train, blocks=3, block=8, same_kind=0.5, chance=chance)
    in_epoch = len(train.products) // 8
    shown = torch.cat([draw(step, 0, 1).group for step in range(in_epoch)])  # three epochs
    assert len(shown) == 3 * in_epoch * 8
    counts = shown.unique(return_counts=True)[1]
    assert counts.max() <= 3 * 2, "two products a group, each once an epoch"
    whole, parts = draw(1, 0, 1), [draw(1, part, 2) for part in range(2)]
    assert torch.equal(torch.cat([part.group for part in parts]), whole.group)
    with pytest.raises(Problem, match="4 processes and micro-batches share 3 blocks"):
        draw(0, 0, 4)


def test_a_split_smaller_than_a_block_is_one_block(of, desk):
    few = Shop.of(shop.catalogue(products=12), "train")
    draw = ranking.drawing(desk, few, blocks=2, block=64, same_kind=0.5, chance=training.chance_of(0))
    assert draw(5, 0, 1).block == len(few.products)


def alike_of(group):
    group = torch.tensor(group)
    return group[:, :, None] == group[:, None, :]


def test_losses_of_groups_against_cases_worked_by_hand():
    scores = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 1.0, 3.0], [-1.0, 0.0, 0.0]]])
    alone = alike_of([[0, 1, 2]])
    rows = scores[0]
    by_hand = sum(-rows[i].log_softmax(0)[i] for i in range(3))
    assert losses.multiclass(scores, alone).item() == pytest.approx(by_hand.item(), rel=1e-6)
    # 1 + 1 - 2 = 0; 1 + 3 - 1 = 3; 1 + 0 - 0 = 1
    assert losses.triplet(scores, alone, margin=1.0).item() == pytest.approx(4.0)
    right = F.softplus(-torch.tensor([2.0, 1.0, 0.0]))
    wrong = F.softplus(torch.tensor([[0.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])).mean(dim=1)
    assert losses.binary(scores, alone).item() == pytest.approx(((right + wrong) / 2).sum().item(), rel=1e-6)


@pytest.mark.parametrize("loss", list(ranking.LOSSES))
def test_products_of_one_group_are_no_wrong_answers_of_each_other(loss):
    scores = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    alike = alike_of([[0, 0, 1, 2], [3, 4, 5, 5]])
    ranking.LOSSES[loss](scores, alike, margin=5.0).backward()
    off = alike & ~torch.eye(4, dtype=torch.bool)
    assert (scores.grad[off] == 0).all()
    assert (scores.grad.diagonal(dim1=1, dim2=2) < 0).all()


def test_a_group_that_fills_a_whole_block_costs_nothing_but_binarys_yes():
    scores = torch.zeros(1, 3, 3)
    alike = alike_of([[7, 7, 7]])
    assert losses.multiclass(scores, alike).item() == 0
    assert losses.triplet(scores, alike, margin=1.0).item() == 0
    assert losses.binary(scores, alike).isfinite()


def test_the_likeness_finds_products_it_never_saw_and_changes_nothing_else(of, desk):
    model = model_of(desk, likeness=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    said = ranking.acquaint(model, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    assert said[-1] < 0.9 * said[0]
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("likeness.") for name in changed)
    model.eval()
    val = of.in_split("val")
    pictures = of.first_pictures()[val]
    pairs = np.repeat(pictures, len(val)), np.tile(val, len(val))
    found = matching.glances(model, desk, *pairs).reshape(len(val), len(val))
    title = of.products["title"].to_numpy()[val]
    other = title[:, None] != title[None]
    assert found.diagonal().mean() > found[other].mean() + 2


def test_a_pair_scores_its_head_and_its_likeness(of, desk):
    with_likeness = model_of(desk, likeness=True)
    without = model_of(desk)
    without.load_state_dict(
        {name: tensor for name, tensor in with_likeness.state_dict().items() if not name.startswith("likeness.")}
    )
    ranking.acquaint(with_likeness, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    with_likeness.eval()
    pairs = np.array([0, 5, 9, 9]), np.array([0, 3, 4, 1])
    both = matching.score_pairs(with_likeness, desk, *pairs)
    head = matching.score_pairs(without, desk, *pairs)
    assert both - head == pytest.approx(matching.glances(with_likeness, desk, *pairs), abs=1e-5)
    means = with_likeness.level_means(desk.store.pictures(pairs[0]))
    told = with_likeness.likeness(desk.texts.ids[pairs[1]], means)
    assert told.detach().numpy() == pytest.approx(matching.glances(with_likeness, desk, *pairs), abs=1e-4)


def test_padding_never_counts_in_a_likeness(of, desk):
    model = model_of(desk, likeness=True)
    ranking.acquaint(model, desk, Shop.of(of, "train"), chance=training.chance_of(1))
    ids = desk.texts.ids[:3]
    longer = torch.cat([ids, torch.full((3, 5), desk.words.pad)], dim=1)
    assert torch.allclose(model.likeness.read(ids), model.likeness.read(longer), atol=1e-6)


def test_what_is_right_more_often_counts_more():
    draw = np.random.default_rng(0)
    truth = np.zeros((400, 11))
    truth[:, 0] = 1.0
    sharp, blunt = (truth * gap + draw.normal(size=truth.shape) for gap in (4.0, 0.5))
    assert ranking.balance(sharp, blunt) < 0.5
    assert ranking.balance(blunt, sharp) > 2.0
    both = truth * 2 + draw.normal(size=truth.shape)
    assert ranking.balance(both, truth * 2 + draw.normal(size=truth.shape)) == pytest.approx(1.0, abs=0.25)
    holes = np.where(draw.random(truth.shape) < 0.3, np.nan, 1.0)
    holes[:, 0] = 1.0
    assert np.isfinite(ranking.balance(sharp * holes, blunt * holes))
