import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashionvl.patches.pyramid import KALEIDO, Level, Pyramid, edges

grids = st.sets(st.integers(1, 16), min_size=1, max_size=6).map(lambda sides: Pyramid(tuple(sorted(sides))))


def test_a_picture_is_55_patches_and_74_vectors():
    assert KALEIDO.patches == 1 + 4 + 9 + 16 + 25 == 55
    assert KALEIDO.vectors == 55 + 3 + 16 == 74
    assert (KALEIDO.turned, KALEIDO.greyed) == (slice(55, 58), slice(58, 74))
    assert KALEIDO.puzzles == ("rotation", "jigsaw", "camouflage", "grey", "blank")


def test_a_fixed_scale_is_64_patches_and_nothing_beside_them():
    fixed = Pyramid((8,))
    assert fixed.patches == fixed.vectors == 64
    assert fixed.levels == (Level(8, "blank"),)
    assert fixed.span("blank") == slice(0, 64)


@pytest.mark.parametrize(
    ("sides", "puzzles"),
    [
        ((1, 2, 3), ("rotation", "jigsaw", "camouflage")),  # the finest grid has one of its own
        ((1, 2, 7), ("rotation", "jigsaw", "blank")),
        ((6, 7), ("blank",)),
        ((1, 5, 7), ("rotation", "blank")),
        ((4,), ("grey",)),
    ],
)
def test_blank_is_played_on_5x5_or_else_on_a_finest_grid_that_plays_nothing(sides, puzzles):
    assert Pyramid(sides).puzzles == puzzles


def test_vectors_are_turned_and_grey_only_where_the_grid_is_there():
    assert Pyramid((1, 2)).vectors == 5 + 3
    assert Pyramid((4, 5)).vectors == 41 + 16
    assert Pyramid((2, 3)).vectors == 13


def test_levels_follow_one_another_without_gap():
    spans = [KALEIDO.span(name) for name in KALEIDO.puzzles]
    assert [(s.start, s.stop) for s in spans] == [(0, 1), (1, 5), (5, 14), (14, 30), (30, 55)]
    assert KALEIDO.levels_of().bincount().tolist() == [1, 4, 9, 16, 25]


@given(grids)
def test_every_patch_and_every_vector_is_in_one_part(pyramid):
    parts = [pyramid.span_of(index) for index in range(len(pyramid.levels))] + [pyramid.turned, pyramid.greyed]
    standing = [place for part in parts for place in range(part.start, part.stop)]
    assert standing == list(range(pyramid.vectors))
    for index in range(len(pyramid.levels)):
        assert (pyramid.levels_of()[pyramid.span_of(index)] == index).all()


@given(grids)
def test_a_puzzle_has_one_level_and_the_place_of_its_index(pyramid):
    assert len(set(pyramid.puzzles)) == len(pyramid.puzzles)
    for index, level in enumerate(pyramid.levels):
        if level.puzzle:
            assert pyramid.level(level.puzzle) == level
            assert pyramid.span(level.puzzle) == pyramid.span_of(index)


@given(grids)
def test_areas_of_a_level_sum_to_one(pyramid):
    area = pyramid.places()[:, 4]
    for index in range(len(pyramid.levels)):
        assert area[pyramid.span_of(index)].sum() == pytest.approx(1)
    assert len(area) == pyramid.patches


@given(grids)
def test_places_lie_inside_the_box_and_agree_with_their_area(pyramid):
    x1, x2, y1, y2, area = pyramid.places().T
    assert torch.allclose((x2 - x1) * (y2 - y1), area)
    assert pyramid.places().min() == 0
    assert pyramid.places().max() == 1


@given(st.integers(-50, 50), st.integers(0, 3000), st.integers(1, 9))
def test_exact_edges_lose_nothing_and_differ_by_one_pixel_at_most(start, length, side):
    lines = edges(start, start + length, side)
    widths = [b - a for a, b in itertools.pairwise(lines)]
    assert (lines[0], lines[-1]) == (start, start + length)
    assert sum(widths) == length
    assert max(widths) - min(widths) <= 1


def test_pyramids_of_the_same_sides_are_the_same():
    assert Pyramid((1, 2, 3, 4, 5)) == KALEIDO
    assert {KALEIDO: 1}[Pyramid((1, 2, 3, 4, 5))] == 1
    assert Pyramid((8,)) != KALEIDO


def test_a_puzzle_that_cannot_be_played_is_named_with_those_that_can():
    with pytest.raises(ValueError, match=r"\[8\] do not play 'rotation'; they play \['blank'\]"):
        Pyramid((8,)).span("rotation")
    with pytest.raises(ValueError, match="'sudoku'"):
        KALEIDO.level("sudoku")
