import math

import numpy as np
import pytest
import shop as small
import torch
import torch.nn.functional as F

from fashionvl import losses, training, words
from fashionvl.models.two_towers import BagOfWords, TwoTowers
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.tasks import contrast
from fashionvl.tasks.pairs import Shop

SCALE = torch.tensor(10.0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def catalogue():
    return small.catalogue(products=48, views=2)


@pytest.fixture
def shop(catalogue):
    return Shop.of(catalogue, "train")


@pytest.fixture
def desk(catalogue):
    """Pictures that are noise around a colour of their product's own, so that they can be told apart."""
    texts = catalogue.texts(["title", "description"])
    vocabulary = words.learn(texts, vocabulary=120, slots=24)
    pictures = torch.from_numpy(catalogue.pictures_in("train"))
    colour = np.random.default_rng(0).integers(0, 256, size=(48, 1, 1, 3))
    of_product = catalogue.pictures["product"].to_numpy()[pictures.numpy()]
    pixels = np.broadcast_to(colour[of_product], (len(pictures), 40, 30, 3)).astype(np.uint8)
    return contrast.Desk(
        contrast.Album(torch.from_numpy(pixels.copy()), pictures),
        vocabulary.encode(texts).ids,
        vocabulary.pad,
        torch.tensor([1, 2, 2, 5]),
        16,
        12,
        0.1,
        True,
        0.2,
    )


def unit(rows, generator):
    return F.normalize(torch.randn(rows, 8, generator=generator), dim=-1)


def nce(pictures, texts, group):
    return losses.info_nce(pictures, texts, group=torch.tensor(group), scale=SCALE)


def test_info_nce_of_pictures_that_look_alike_is_the_logarithm_of_the_batch():
    same = torch.ones(6, 4) / 2
    assert nce(same, same, [0, 1, 2, 3, 4, 5]) == pytest.approx(6 * math.log(6), rel=1e-5)


def test_a_perfect_model_pays_almost_nothing():
    eye = torch.eye(5)
    assert losses.info_nce(eye, eye, group=torch.arange(5), scale=torch.tensor(50.0)) < 1e-4


def test_a_row_of_the_same_group_is_never_a_wrong_answer(generator):
    pictures, texts = unit(3, generator), unit(3, generator)
    alone = nce(pictures[:2], texts[:2], [0, 1])
    twin = nce(torch.cat([pictures[:2], pictures[:1]]), torch.cat([texts[:2], texts[:1]]), [0, 1, 0])
    from_one_side = F.cross_entropy(SCALE * pictures[:1] @ texts[:2].T, torch.tensor([0]))
    from_the_other = F.cross_entropy(SCALE * texts[:1] @ pictures[:2].T, torch.tensor([0]))
    first_row = (from_one_side + from_the_other) / 2
    third = SCALE * (pictures[1] @ torch.stack([texts[1], texts[0], texts[0]]).T)
    fourth = SCALE * (texts[1] @ torch.stack([pictures[1], pictures[0], pictures[0]]).T)
    second_row = -(third.log_softmax(0)[0] + fourth.log_softmax(0)[0]) / 2
    assert twin == pytest.approx((2 * first_row + second_row).item(), rel=1e-4)
    assert twin != pytest.approx(alone.item())


def test_a_batch_of_one_group_teaches_nothing(generator):
    assert nce(unit(4, generator), unit(4, generator), [7, 7, 7, 7]) == 0


def test_the_order_of_rows_does_not_matter(generator):
    pictures, texts, group = unit(6, generator), unit(6, generator), torch.tensor([0, 1, 1, 2, 3, 0])
    order = torch.randperm(6, generator=generator)
    again = losses.info_nce(pictures[order], texts[order], group=group[order], scale=SCALE)
    assert again == pytest.approx(losses.info_nce(pictures, texts, group=group, scale=SCALE).item(), rel=1e-5)


def test_an_epoch_shows_every_product_once(desk, shop):
    draw = contrast.drawing(desk, shop, batch=8, chance=training.chance_of(1))
    in_epoch = len(shop.products) // 8
    groups = torch.cat([draw(step, 0, 1).group for step in range(in_epoch)])
    assert torch.equal(groups.sort().values, shop.group[shop.products].sort().values)


def test_a_question_depends_on_seed_and_step_alone(desk, shop):
    def ask(seed, step):
        return contrast.drawing(desk, shop, batch=8, chance=training.chance_of(seed))(step, 0, 1)

    once, again = ask(1, 5), ask(1, 5)
    assert torch.equal(once.patches, again.patches)
    assert torch.equal(once.words, again.words)
    assert not torch.equal(once.words, ask(1, 6).words)
    assert not torch.equal(once.words, ask(2, 5).words)


def test_parts_are_disjoint_and_together_the_batch(desk, shop):
    draw = contrast.drawing(desk, shop, batch=8, chance=training.chance_of(1))
    parts = torch.cat([draw(2, part, 4).group for part in range(4)])
    assert torch.equal(parts, draw(2, 0, 1).group)


def test_every_picture_meets_the_text_of_its_own_product(desk, shop, generator):
    question = contrast.ask(desk, shop, shop.products, generator=generator)
    pictures = shop.first[shop.products]
    assert (question.patches[:, 0, :, 8, 6].int() - desk.album.of(pictures)[:, :, 0, 0].int()).abs().max() <= 1
    own = desk.ids[shop.products]
    assert torch.equal(question.words[question.words != desk.pad], own[question.words != desk.pad])
    left_out = ((question.words == desk.pad) & (own != desk.pad)).sum() / (own != desk.pad).sum()
    assert 0.1 < left_out < 0.3


def test_rare_words_count_more_and_padding_never():
    ids = torch.tensor([[1, 2, 3, 0], [1, 2, 0, 0], [1, 0, 0, 0]])
    rarity = words.rarity_of(ids, vocabulary=6, never=[0])
    assert rarity[0] == 0
    assert rarity[1] == 0  # stands in every text
    assert 0 < rarity[2] < rarity[3] < rarity[4]


def test_a_bag_knows_no_order_and_no_padding(generator):
    bag = BagOfWords(torch.tensor([0.0, 1, 2, 3, 4]), width=8)
    said = bag(torch.tensor([[1, 2, 3, 0, 0]]))
    torch.testing.assert_close(bag(torch.tensor([[0, 3, 1, 0, 2]])), said)
    assert not torch.allclose(bag(torch.tensor([[1, 2, 4, 0, 0]])), said)


def test_a_text_without_a_word_still_has_a_place():
    model = TwoTowers(channels=[4, 8], levels=1, width=8, rarity=torch.tensor([0.0, 1.0]))
    assert model.embed_texts(torch.zeros(2, 5, dtype=torch.int64)).isfinite().all()


def test_the_pyramid_has_the_projection_of_each_level_and_the_mean_of_its_patches(generator):
    tower = TwoTowers(channels=[4, 8], levels=3, width=5, rarity=torch.ones(3)).pictures
    vectors, levels = torch.rand(2, 4, 8, generator=generator), torch.tensor([0, 2, 2, 0])
    first, last = vectors[:, [0, 3]].mean(dim=1), vectors[:, [1, 2]].mean(dim=1)
    torch.testing.assert_close(tower.pool(vectors, levels), tower.projections[0](first) + tower.projections[2](last))


def test_a_picture_is_embedded_by_its_clean_patches(desk):
    model = TwoTowers(channels=[4, 8], levels=5, width=8, rarity=torch.ones(120))
    patches = contrast.clean_patches(desk.album, desk.album.pictures, pixels=16)
    assert patches.shape == (64, KALEIDO.patches, 3, 16, 16)
    embedded = contrast.embed_pyramids(model, desk.album, pixels=16)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(64))


def test_a_pair_is_scored_by_its_own_cosine(generator):
    pictures, texts = unit(3, generator), unit(2, generator)
    score = contrast.scorer(pictures, np.array([4, 6, 9]), texts, np.array([2, 5]))
    found = score(np.array([9, 4, 6]), np.array([2, 5, 5]))
    by_hand = [pictures[2] @ texts[0], pictures[0] @ texts[1], pictures[1] @ texts[1]]
    assert found == pytest.approx([float(value) for value in by_hand], abs=1e-6)
