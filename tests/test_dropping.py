import math

import pytest
import torch

from fashionvl import dropping


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def draws(generator, rows=16, patches=196):
    return torch.rand(rows, patches, generator=generator)


def test_a_cut_off_leaves_what_the_paper_counts():
    assert [dropping.kept_of(196, least) for least in (0.0, 0.3, 0.5)] == [196, 137, 98]
    assert dropping.kept_of(100, 0.9) == 10  # 100 * (1 - 0.9) is less in floating point
    assert dropping.kept_of(4, 0.99) == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_no_valid_patch_is_hidden_and_no_visible_one_is_called_hidden(generator, share):
    hidden = draws(generator) < share
    keep, valid = dropping.keep_visible(hidden, draws(generator), least=0.3)
    assert torch.equal(valid, ~hidden.gather(1, keep))


def test_as_many_are_kept_as_the_fullest_picture_shows_up_to_the_cut_off(generator):
    hidden = torch.ones(3, 196, dtype=torch.bool)
    for row, visible in enumerate((10, 40, 25)):
        hidden[row, :visible] = False
    keep, valid = dropping.keep_visible(hidden, draws(generator, 3), least=0.5)
    assert keep.shape == (3, 40)
    assert valid.sum(dim=1).tolist() == [10, 40, 25]
    keep, valid = dropping.keep_visible(hidden, draws(generator, 3), least=0.9)
    assert keep.shape == (3, 19)
    assert valid.sum(dim=1).tolist() == [10, 19, 19]


def test_kept_patches_are_distinct_and_visible_ones_come_first(generator):
    keep, valid = dropping.keep_visible(draws(generator) < 0.6, draws(generator), least=0.3)
    assert all(len(row.unique()) == len(row) for row in keep)
    assert (valid.int().diff(dim=1) <= 0).all()


def test_what_is_dropped_of_the_visible_is_random_and_differs_between_pictures(generator):
    """A published implementation keeps the same indices of every picture of a batch."""
    hidden = torch.zeros(400, 20, dtype=torch.bool)
    keep, _ = dropping.keep_visible(hidden, draws(generator, 400, 20), least=0.5)
    assert len({tuple(sorted(row.tolist())) for row in keep}) > 390
    often = torch.bincount(keep.flatten(), minlength=20) / 400
    assert (often - 0.5).abs().max() < 5 * math.sqrt(0.25 / 400)


@pytest.mark.parametrize("shown", [1, 7])
def test_a_picture_that_is_hidden_whole_still_shows_something(generator, shown):
    hidden = torch.ones(8, 196, dtype=torch.bool)
    keep, valid = dropping.keep_visible(hidden, draws(generator, 8), least=0.5, shown=shown)
    assert keep.shape == (8, shown)
    assert valid.all()
    hidden[0] = False
    keep, valid = dropping.keep_visible(hidden, draws(generator, 8), least=0.5, shown=shown)
    assert valid.sum(dim=1).tolist() == [98] + 7 * [shown]


def test_random_keeping_is_keeping_visible_of_nothing_hidden(generator):
    order = draws(generator)
    keep, valid = dropping.keep_visible(torch.zeros(16, 196, dtype=torch.bool), order, least=0.5)
    assert torch.equal(keep, dropping.keep_random(order, least=0.5))
    assert valid.all()


def test_what_is_looked_at_most_is_kept():
    looks = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.4, 0.1, 0.3, 0.2]])
    assert dropping.keep_attended(looks, least=0.5).tolist() == [[1, 3], [0, 2]]


def test_the_share_that_is_not_seen_counts_what_may_not_be_looked_at():
    keep = torch.arange(6).expand(2, 6)
    valid = torch.arange(6) < torch.tensor([[6], [3]])
    assert dropping.hidden_share(keep, valid, rows=2, patches=12).tolist() == [0.5, 0.75]
    assert dropping.hidden_share(keep, None, rows=2, patches=12).tolist() == [0.5, 0.5]
    assert dropping.hidden_share(None, None, rows=2, patches=12).tolist() == [0, 0]
