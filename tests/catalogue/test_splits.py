"""Splits: as given, else by the hash of the group; no group is divided."""

from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.splits import draw_split, settle_splits

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def settle(rows: list[tuple[str, str]]) -> tuple[list[str], dict[str, int]]:
    given_, group = (pd.Series([row[at] for row in rows], dtype="str") for at in (0, 1))
    split, moved = settle_splits(given_, group, SHARES)
    return list(split), {rule: int(mask.sum()) for rule, mask in moved.items() if mask.any()}


def test_the_draw_has_about_the_shares():
    counts = Counter(draw_split(f"group {i}", SHARES) for i in range(5000))
    assert abs(counts["train"] - 4000) < 150
    assert abs(counts["val"] - 500) < 90


def test_the_draw_is_fixed_for_ever():
    drawn = {
        "group 0": "train",
        "group 2": "train",
        "group 1": "val",
        "group 10": "val",
        "group 5": "test",
        "group 27": "test",
    }
    assert {name: draw_split(name, SHARES) for name in drawn} == drawn


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.lists(st.sampled_from("ijklm")))
def test_adding_products_moves_none(old, new):
    before, _ = settle([("", group) for group in old])
    after, _ = settle([("", group) for group in [*old, *new]])
    assert after[: len(before)] == before


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "train", "val", "test"]), st.sampled_from("abc")), min_size=1))
def test_no_group_is_divided(rows):
    split, _ = settle(rows)
    for group in "abc":
        assert len({side for side, (_, name) in zip(split, rows, strict=True) if name == group}) <= 1


def test_given_splits_are_kept():
    assert settle([("train", "a"), ("val", "b"), ("test", "c")]) == (["train", "val", "test"], {})


def test_a_group_on_both_sides_goes_where_most_of_it_is():
    split, moved = settle([("test", "a"), ("train", "a"), ("test", "a")])
    assert split == ["test"] * 3
    assert moved == {"group on several sides of the split moved to one": 1}
    assert settle([("test", "a"), ("train", "a")])[0] == ["train"] * 2


def test_a_missing_split_is_the_groups_or_drawn():
    split, moved = settle([("val", "a"), ("", "a"), ("", "b")])
    assert split == ["val", "val", draw_split("b", SHARES)]
    assert moved == {"missing split taken from the group": 1, "missing split drawn": 1}


@pytest.mark.parametrize("shares", [{"train": 0.5}, {"train": 0.9, "dev": 0.1}, {"train": 1.5, "val": -0.5}, {}])
def test_shares_that_do_not_make_one_are_told(shares):
    with pytest.raises(Problem, match="shares of train, val, test"):
        settle_splits(pd.Series(["train"]), pd.Series(["a"]), shares)
