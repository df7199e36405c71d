import math

import pytest
import torch

from fashionvl import losses
from fashionvl.masking import IGNORE


def test_kl_is_nought_for_a_shifted_answer_and_positive_otherwise():
    answer, counted = torch.rand(4, 3, 16), torch.ones(4, dtype=torch.bool)
    assert losses.drawn(answer + 5, answer, counted) == pytest.approx(0, abs=1e-5)
    assert losses.drawn(torch.randn(4, 3, 16), answer, counted) > 0


def test_kl_is_the_formula_of_the_paper():
    said, answer = torch.randn(2, 1, 4), torch.rand(2, 1, 4)
    p, q = answer.softmax(-1), said.softmax(-1)
    by_hand = (p * (p / q).log()).sum()
    assert losses.drawn(said, answer, torch.ones(2, dtype=torch.bool)) == pytest.approx(by_hand.item(), rel=1e-5)


def test_no_gradient_flows_into_the_target():
    said, answer = torch.randn(2, 2, 4, requires_grad=True), torch.rand(2, 2, 4, requires_grad=True)
    losses.drawn(said, answer, torch.ones(2, dtype=torch.bool)).backward()
    assert said.grad is not None
    assert answer.grad is None


def test_rows_that_do_not_count_add_nothing():
    said, answer = torch.randn(3, 2, 4), torch.rand(3, 2, 4)
    first = losses.drawn(said[:1], answer[:1], torch.tensor([True]))
    assert losses.drawn(said, answer, torch.tensor([True, False, False])) == pytest.approx(first.item(), rel=1e-5)
    ignored = losses.named(torch.randn(3, 7), torch.tensor([2, IGNORE, IGNORE]))
    assert ignored > 0
    assert losses.named(torch.randn(3, 7), torch.full((3,), IGNORE)) == 0


def test_cross_entropy_of_equal_scores_is_the_logarithm_of_the_classes():
    assert losses.named(torch.zeros(5, 24), torch.arange(5)) == pytest.approx(5 * math.log(24), rel=1e-5)
