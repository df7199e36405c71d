import pytest
import torch

from fashionvl.tasks.apart import deal, joined


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2)


def test_no_two_of_a_group_are_in_one_batch(generator):
    group = torch.arange(200) // 5
    for _ in range(20):
        for batch in group[deal(torch.arange(200), group, batch=32, generator=generator)]:  # 6 batches, groups of 5
            assert len(batch.unique()) == 32


def test_a_group_larger_than_there_are_batches_is_spread_evenly(generator):
    group = torch.arange(40).clamp(max=10)  # 30 are one group
    dealt = group[deal(torch.arange(40), group, batch=10, generator=generator)]
    assert all(7 <= (batch == 10).sum() <= 8 for batch in dealt)


def test_every_product_is_dealt_once_and_another_rest_is_left_out_each_time(generator):
    products, group = torch.arange(100, 203), torch.arange(203)
    rests = []
    for _ in range(5):
        dealt = deal(products, group, batch=10, generator=generator)
        assert dealt.shape == (10, 10)
        assert len(dealt.unique()) == 100
        rests.append(tuple(sorted(set(products.tolist()) - set(dealt.flatten().tolist()))))
    assert len(set(rests)) == 5


def test_products_of_different_groups_meet_by_chance(generator):
    group = torch.arange(40)
    met = torch.zeros(40, 40)
    for _ in range(300):
        for batch in deal(torch.arange(40), group, batch=10, generator=generator):
            met[batch[:, None], batch] += 1 / 300
    off = met[~torch.eye(40, dtype=torch.bool)]
    assert off.mean() == pytest.approx(9 / 39, abs=1e-4)
    assert off.std() < 2 * (0.23 * 0.77 / 300) ** 0.5


def test_products_that_say_the_same_are_one_group():
    pad, first, end = 0, 2, 3
    ids = torch.tensor(
        [
            [first, 7, 8, end, pad, pad],
            [first, 8, 7, 8, end, pad],  # the same pieces in another order, one twice
            [first, 7, 9, end, pad, pad],
            [first, 7, 9, end, pad, pad],
            [first, end, pad, pad, pad, pad],  # nothing
            [first, end, pad, pad, pad, pad],
        ]
    )
    group = joined(torch.tensor([0, 1, 2, 0, 4, 5]), ids, without=[pad, first, end])
    assert group[0] == group[1] == group[2] == group[3]  # 0 and 3 are of one group already
    assert len({*group.tolist()}) == 3


def test_joining_what_all_differs_changes_no_group():
    own = torch.tensor([3, 3, 1, 0, 1, 3])
    group = joined(own, torch.arange(12).view(6, 2) + 10, without=[0])
    assert torch.equal(group[:, None] == group, own[:, None] == own)
