import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashionvl.patches.cutting import cut, patch_boxes
from fashionvl.patches.pyramid import KALEIDO, Pyramid, cells


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_patches_of_a_level_join_to_the_crop_when_sizes_divide():
    picture = noise(100, 90)
    for level in KALEIDO.levels:
        side = 60 // level.side
        tiles = cut(KALEIDO, picture, (10, 20, 70, 80), side)[KALEIDO.span(level.puzzle)]
        joined = tiles.reshape(level.side, level.side, side, side, 3).swapaxes(1, 2).reshape(60, 60, 3)
        assert np.array_equal(joined, np.asarray(picture)[20:80, 10:70])


def test_each_patch_is_the_crop_resized_by_pillow():
    picture, box = noise(171, 256), (9, 31, 160, 250)
    tiles = cut(KALEIDO, picture, box, 64)
    places = [place for level in KALEIDO.levels for place in patch_boxes(box, level)]
    for tile, place in zip(tiles, places, strict=False):
        assert np.array_equal(tile, picture.crop(place).resize((64, 64), Image.Resampling.BILINEAR))


def test_a_turn_back_gives_the_upright_patch():
    tiles = cut(KALEIDO, noise(80, 50), (0, 0, 80, 50), 32)
    for quarter, turned in enumerate(tiles[KALEIDO.turned], start=1):
        assert np.array_equal(np.rot90(turned, quarter), tiles[0])  # np.rot90 turns counter-clockwise


def test_turns_are_clockwise():
    picture = Image.new("RGB", (40, 40))
    picture.paste((255, 0, 0), (0, 0, 20, 20))  # red at the top left
    tiles = cut(KALEIDO, picture, (0, 0, 40, 40), 8)[KALEIDO.turned]
    red = [tuple(int(i) for i in np.argwhere(tile[..., 0] > 128).mean(axis=0) // 4) for tile in tiles]
    assert red == [(0, 1), (1, 1), (1, 0)]  # top right, bottom right, bottom left


def test_grey_patches_are_level_four_as_pillow_makes_grey():
    tiles = cut(KALEIDO, noise(171, 256), (0, 0, 171, 256), 64)
    for clean, grey in zip(tiles[KALEIDO.span("grey")], tiles[KALEIDO.greyed], strict=True):
        assert np.array_equal(grey, Image.fromarray(clean).convert("L").convert("RGB"))


def test_a_patch_shows_nothing_of_its_neighbours():
    picture, box = noise(120, 120), (0, 0, 120, 120)
    before = cut(KALEIDO, picture, box, 48)[KALEIDO.span("camouflage")]
    place = patch_boxes(box, KALEIDO.levels[2])[4]
    picture.paste((0, 0, 0), place)
    after = cut(KALEIDO, picture, box, 48)[KALEIDO.span("camouflage")]
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [index == 4 for index in range(9)]


@pytest.mark.parametrize("sides", [(8,), (1, 2), (4, 6)])
def test_other_grids_are_cut_clean_then_turned_then_grey(sides):
    pyramid, picture, box = Pyramid(sides), noise(120, 96), (8, 0, 104, 96)
    tiles = cut(pyramid, picture, box, 24)
    assert len(tiles) == pyramid.vectors
    places = [place for level in pyramid.levels for place in patch_boxes(box, level)]
    for tile, place in zip(tiles, places, strict=False):
        assert np.array_equal(tile, picture.crop(place).resize((24, 24), Image.Resampling.BILINEAR))
    for quarter, turned in enumerate(tiles[pyramid.turned], start=1):
        assert np.array_equal(np.rot90(turned, quarter), tiles[0])
    for index, grey in enumerate(tiles[pyramid.greyed]):
        clean = tiles[pyramid.span("grey").start + index]
        assert np.array_equal(grey, Image.fromarray(clean).convert("L").convert("RGB"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(5, 60), st.integers(5, 60))
def test_patches_of_a_level_cover_the_box_once(left, top, width, height):
    box = (left, top, left + width, top + height)
    for level in KALEIDO.levels:
        counts = np.zeros((100, 100), dtype=int)
        for x1, y1, x2, y2 in patch_boxes(box, level):
            counts[y1:y2, x1:x2] += 1
        inside = np.zeros_like(counts)
        inside[top : top + height, left : left + width] = 1
        assert np.array_equal(counts, inside)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 200), (4, 4)])
def test_a_picture_narrower_than_the_grid_still_gives_74_tiles_from_inside(size):
    box = (0, 0, *size)
    for level in KALEIDO.levels:
        places = patch_boxes(box, level)
        assert len(places) == len(cells(level.side))
        for x1, y1, x2, y2 in places:
            assert 0 <= x1 < x2 <= size[0]
            assert 0 <= y1 < y2 <= size[1]
    assert cut(KALEIDO, noise(*size), box, 8).shape == (74, 8, 8, 3)
