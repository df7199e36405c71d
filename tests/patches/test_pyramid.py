import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashionvl.patches import pyramid


def test_a_picture_is_55_patches_and_74_vectors():
    assert pyramid.PATCHES == 1 + 4 + 9 + 16 + 25 == 55
    assert pyramid.VECTORS == 55 + 3 + 16 == 74
    assert len(range(74)[pyramid.TURNED]) == 3
    assert len(range(74)[pyramid.GREYED]) == 16


def test_levels_follow_one_another_without_gap():
    spans = [pyramid.span(level.puzzle) for level in pyramid.PYRAMID]
    assert [(s.start, s.stop) for s in spans] == [(0, 1), (1, 5), (5, 14), (14, 30), (30, 55)]
    assert pyramid.levels().bincount().tolist() == [1, 4, 9, 16, 25]


def test_areas_of_a_level_sum_to_one():
    area = pyramid.places()[:, 4]
    for level in pyramid.PYRAMID:
        assert area[pyramid.span(level.puzzle)].sum() == pytest.approx(1)
    assert area.sum() == pytest.approx(5)


def test_places_lie_inside_the_box_and_agree_with_their_area():
    x1, x2, y1, y2, area = pyramid.places().T
    assert torch.allclose((x2 - x1) * (y2 - y1), area)
    assert pyramid.places().min() == 0
    assert pyramid.places().max() == 1


@given(st.integers(-50, 50), st.integers(0, 3000), st.integers(1, 9))
def test_exact_edges_lose_nothing_and_differ_by_one_pixel_at_most(start, length, side):
    lines = pyramid.edges(start, start + length, side)
    widths = [b - a for a, b in itertools.pairwise(lines)]
    assert (lines[0], lines[-1]) == (start, start + length)
    assert sum(widths) == length
    assert max(widths) - min(widths) <= 1


def test_an_unknown_puzzle_is_named():
    with pytest.raises(ValueError, match="'sudoku'"):
        pyramid.span("sudoku")
