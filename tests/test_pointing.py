"""Laws of judging what words point at."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionvl.catalogue import Catalogue
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.tasks import pointing
from fashionvl.tasks.pointing import judge, patch_boxes, skills, truth_of, union_area

GRID = np.array([[0, 0, 60, 60], [0, 0, 60, 60]])


def catalogue(tmp_path) -> Catalogue:
    products = pd.DataFrame({"product_id": ["a", "b"]})
    pictures = pd.DataFrame({"product": [0, 0, 1], "view": ["front", "back", "front"], "width": 60, "height": 60})
    return Catalogue(products, pictures, tmp_path)


def parts(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=pointing.TRUTH)


def pairs(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["picture", "text", "level", "patch"])


def test_truth_is_of_one_word_in_one_view_and_small(tmp_path):
    known = parts(
        ("a", "front", "hem", 0, 50, 20, 60),
        ("a", "back", "hem", 0, 0, 60, 60),  # too large
        ("b", "front", "sleeve", 0, 0, 16, 20),
        ("b", "front", "sleeve", 44, 0, 60, 20),  # both together are too large
        ("c", "front", "hem", 0, 0, 5, 5),  # of no product of this catalogue
    )
    truth = truth_of(catalogue(tmp_path), known)
    assert truth[["picture", "text"]].to_numpy().tolist() == [[0, "hem"]]
    assert truth["share"].tolist() == [pytest.approx(200 / 3600)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2), min_size=1, max_size=5))
def test_the_area_of_a_union_is_what_is_painted(found):
    boxes = np.array([(x, y, x + width, y + height) for x, y, width, height in found])
    painted = np.zeros((20, 20), dtype=bool)
    for left, top, right, bottom in boxes:
        painted[top:bottom, left:right] = True
    assert union_area(boxes) == painted.sum()


def test_the_patches_of_a_level_tile_its_box():
    boxes = patch_boxes(np.array([[3, 5, 50, 72]]), 4)[0]
    assert boxes[0, :2].tolist() == [3, 5]
    assert boxes[-1, 2:].tolist() == [50, 72]
    assert boxes[1, 0] == boxes[0, 2]  # row-major: the second stands right of the first
    assert union_area(boxes) == 47 * 67 == sum(union_area(box[None]) for box in boxes)


def test_a_pair_hits_where_its_patch_overlaps_any_box_of_its_word(tmp_path):
    truth = truth_of(
        catalogue(tmp_path), parts(("a", "front", "cuff", 2, 2, 8, 8), ("a", "front", "cuff", 52, 2, 58, 8))
    )
    said = pairs((0, "cuff", 2, 0), (0, "cuff", 2, 2), (0, "cuff", 2, 1), (0, "cuffs", 2, 0), (1, "cuff", 2, 0))
    judged = judge(said, truth, GRID, KALEIDO)
    assert judged["hit"].tolist() == [True, True, False]  # the other word and the other picture are not judged
    assert judged["chance"].tolist() == pytest.approx([2 / 9] * 3)
    assert set(judged["side"]) == {3}


def test_boxes_that_share_an_edge_do_not_overlap(tmp_path):
    truth = truth_of(catalogue(tmp_path), parts(("a", "front", "hem", 20, 20, 40, 40)))
    judged = judge(pairs(*((0, "hem", 2, patch) for patch in range(9))), truth, GRID, KALEIDO)
    assert judged["hit"].tolist() == [patch == 4 for patch in range(9)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_every_patch_tried_once_hits_as_often_as_chance_says(seed):
    draw = np.random.default_rng(seed)
    corner = draw.integers(0, 50, (3, 2))
    boxes = np.concatenate([corner, corner + draw.integers(1, 10, (3, 2))], axis=1)
    truth = pd.DataFrame(boxes, columns=pointing.CORNERS).assign(picture=0, text=["a", "b", "b"], share=0.01)
    every = [(0, word, level, patch) for word in "ab" for level in (2, 4) for patch in range((level + 1) ** 2)]
    table = skills(judge(pairs(*every), truth, GRID, KALEIDO), ["text", "side"])
    assert table["hit"].to_numpy() == pytest.approx(table["random"].to_numpy())
    assert table["skill"].to_numpy() == pytest.approx(0)


def test_an_oracle_has_the_skill_of_one_and_no_pairs_give_no_rows(tmp_path):
    truth = truth_of(catalogue(tmp_path), parts(("a", "front", "hem", 20, 20, 40, 40)))
    judged = judge(pairs((0, "hem", 2, 4), (0, "hem", 4, 12)), truth, GRID, KALEIDO)
    assert skills(judged, ["side"])["skill"].tolist() == [1.0, 1.0]
    assert len(skills(judge(pairs(), truth, GRID, KALEIDO), ["side"])) == 0
