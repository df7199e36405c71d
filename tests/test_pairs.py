import dataclasses

import pytest
import shop
import torch

from fashionvl.catalogue.problems import Problem
from fashionvl.tasks.pairs import Shop, by_length, draw_epoch


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def epoch(of, seed=0, **changes):
    return draw_epoch(
        Shop.of(of, "train"), **{"same_kind": 0.5, "mismatched": 0.5, "generator": chance(seed), **changes}
    )


def test_every_product_of_the_split_comes_once_and_no_other():
    of = shop.catalogue()
    pairs = epoch(of, mismatched=0.0)
    assert sorted(pairs.text.tolist()) == of.in_split("train").tolist()
    assert pairs.matched.all()


def test_a_negative_never_shares_the_group():
    of = shop.catalogue(products=60)
    group, product = torch.from_numpy(of.groups()), torch.tensor(of.pictures["product"].to_numpy())
    for seed in range(20):
        pairs = epoch(of, seed)
        same = group[pairs.text] == group[product[pairs.picture]]
        assert torch.equal(same, pairs.matched)
        assert (pairs.text == product[pairs.picture])[pairs.matched].all()
        assert (group[product[pairs.stranger]] != group[product[pairs.picture]]).all()


def test_half_the_pairs_are_mismatched_by_text_or_by_picture_alike():
    of = shop.catalogue(products=3000)
    train = Shop.of(of, "train")
    pairs = epoch(of)
    assert abs(pairs.matched.float().mean() - 0.5) < 0.04
    seen = torch.tensor(of.pictures["product"].to_numpy())[pairs.picture]
    once = (
        torch.bincount(pairs.text, minlength=3000)[train.products]
        + torch.bincount(seen, minlength=3000)[train.products]
    )
    assert abs(once.float().mean() - 2) < 1e-6


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (0.0, 0.25)])
def test_negatives_of_the_same_subcategory_are_as_many_as_asked_for(share, expected):
    of = shop.catalogue(products=3000)
    kinds = torch.from_numpy(of.kinds())
    train = Shop.of(of, "train")
    other = train.stranger(train.products, same_kind=share, generator=chance())
    assert abs((kinds[other] == kinds[train.products]).float().mean() - expected) < 0.05


def test_a_subcategory_of_one_group_borrows_negatives_from_others():
    of = shop.catalogue()
    of.products.loc[of.products["group_id"] == "g0", "sub_category"] = "only one"
    pairs = epoch(of, same_kind=1.0, mismatched=1.0)
    group, product = of.groups(), of.pictures["product"].to_numpy()
    assert (group[pairs.text] != group[product[pairs.picture]]).all()


def test_a_split_of_one_group_is_a_sentence():
    of = shop.catalogue()
    of.products["group_id"] = "g"
    with pytest.raises(Problem, match="fewer than two groups"):
        Shop.of(of, "train")


def test_all_views_are_shown_in_time():
    of = shop.catalogue(products=12, views=3)
    seen = torch.cat([epoch(of, seed, mismatched=0.0).picture for seed in range(40)])
    assert set(seen.tolist()) == set(of.pictures_in("train").tolist())


def test_sorting_by_length_keeps_the_pairs_and_shortens_the_batches():
    of = shop.catalogue(products=600)
    lengths = torch.arange(600) % 37
    pairs = epoch(of)
    ordered = by_length(pairs, lengths, batch=8, generator=chance())
    rows = [
        sorted(zip(*(getattr(p, f.name).tolist() for f in dataclasses.fields(p)), strict=True))
        for p in (pairs, ordered)
    ]
    assert rows[0] == rows[1]

    def padded(of_pairs):
        return lengths[of_pairs.text][: len(of_pairs) // 8 * 8].view(-1, 8).max(dim=1).values.sum()

    assert padded(ordered) < 0.8 * padded(pairs)


def test_the_same_generator_draws_the_same_epoch():
    of = shop.catalogue()
    assert torch.equal(epoch(of, 3).picture, epoch(of, 3).picture)
    assert not torch.equal(epoch(of, 3).text, epoch(of, 4).text)
