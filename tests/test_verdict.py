"""A challenger is promoted when it is better for certain and nowhere worse than allowed; the rest stays as it is."""

import numpy as np
import pandas as pd
import pytest

from fashionvl.catalogue.problems import Problem
from fashionvl.tasks.verdict import MAIN, Bounds, markdown, values_of, verdict

PRODUCTS = 240
SLICES = ["category", "attributes.colour"]
BOUNDS = Bounds(least_gain=0.0, worst=0.02, worst_slice=0.05, least_slice=20)


def answered(hits, right=None, *, listed=11, products=PRODUCTS):
    """What a system answered: `hits` (n,) bool of both directions, `right` (n,) bool of the head for categories."""
    number = np.arange(products)
    about = {
        "product": [f"p{n}" for n in number],
        "group": [f"g{n // 2}" for n in number],
        "category": np.where(number % 4 < 2, "boots", "coats"),
        "attributes.colour": np.where(number < 12, "red", ""),
    }
    ranks = [
        pd.DataFrame({**about, "direction": way, "rank": np.where(hits, 1, 3), "listed": listed})
        for way in ("itr", "tir")
    ]
    rows = pd.DataFrame({**about, "task": "category", "column": "both", "right": hits if right is None else right})
    return values_of(pd.concat(ranks, ignore_index=True), rows if right is not False else rows[:0])


def some(share, seed=0, products=PRODUCTS):
    return np.random.default_rng(seed).random(products) < share


def judged(challenger, champion, bounds=BOUNDS, lost=()):
    return verdict(challenger, champion, bounds, slices=SLICES, lost=lost, generator=np.random.default_rng(0))


WEAK, RIGHT = some(0.4), some(0.8, 1)
STRONG = WEAK | some(0.3, 2)


def test_every_metric_has_one_value_a_product():
    table = answered(WEAK, RIGHT)
    assert set(table["metric"]) == {
        MAIN,
        *(f"sampled.{way}.R@{at}" for way in ("itr", "tir") for at in (1, 5, 10)),
        "category.both.accuracy",
    }
    assert (table.groupby("metric")["product"].nunique() == PRODUCTS).all()
    means = table.groupby("metric")["value"].mean()
    assert means[MAIN] == pytest.approx(WEAK.mean())
    assert means["sampled.tir.R@5"] == 1
    chance = table.groupby("metric")["chance"].first()
    assert chance["sampled.itr.R@5"] == pytest.approx(5 / 11)
    assert np.isnan(chance["category.both.accuracy"])


def test_the_main_number_is_the_mean_of_both_directions():
    ranks = pd.DataFrame(
        {"product": ["a", "a"], "group": ["g", "g"], "direction": ["itr", "tir"], "rank": [1, 2], "listed": [11, 5]}
    )
    table = values_of(ranks, pd.DataFrame(columns=["task", "column", "product", "group", "right"]))
    row = table[table["metric"] == MAIN].iloc[0]
    assert row["value"] == 0.5
    assert row["chance"] == pytest.approx((1 / 11 + 1 / 5) / 2)


def test_one_that_is_better_is_promoted_and_says_by_how_much():
    found = judged(answered(STRONG, RIGHT), answered(WEAK, RIGHT))
    assert found.promote
    main = found.table[0]
    assert main["gain"] == pytest.approx(STRONG.mean() - WEAK.mean())
    assert 0 < main["low"] < main["gain"] < main["high"]
    assert f"{100 * main['gain']:+.1f} points" in found.reasons[0]
    assert "none of 7 other metrics and 2 slices fell further than allowed" in found.reasons[1]
    assert {row["slice"] for row in found.table} == {"", "category=boots", "category=coats"}  # red has 6 groups only


def test_the_same_answers_change_nothing():
    found = judged(answered(WEAK, RIGHT), answered(WEAK, RIGHT))
    assert not found.promote
    assert "the same for every product" in found.reasons[0]


def test_a_gain_that_may_be_luck_is_none():
    lucky = WEAK.copy()
    lucky[np.flatnonzero(~WEAK)[:2]] = True
    lucky[np.flatnonzero(WEAK)[-1]] = False
    found = judged(answered(lucky, RIGHT), answered(WEAK, RIGHT))
    assert found.table[0]["gain"] > 0
    assert not found.promote
    assert "does not rise for certain" in found.reasons[0]


def test_one_that_is_worse_is_not_promoted():
    found = judged(answered(WEAK, RIGHT), answered(STRONG, RIGHT))
    assert not found.promote
    assert found.reasons[0].startswith(f"{MAIN} falls from")
    assert sum(reason.startswith(f"{MAIN} falls") for reason in found.reasons) == 1


def test_the_wanted_gain_can_be_set():
    sides = answered(STRONG, RIGHT), answered(WEAK, RIGHT)
    low = judged(*sides).table[0]["low"]
    assert judged(*sides, Bounds(least_gain=low - 0.001)).promote
    found = judged(*sides, Bounds(least_gain=low + 0.001))
    assert not found.promote
    assert f"its lower end must lie above {100 * (low + 0.001):g}" in found.reasons[0]


def test_a_head_that_got_worse_keeps_the_champion():
    found = judged(answered(STRONG, RIGHT & some(0.8, 5)), answered(WEAK, RIGHT))
    assert not found.promote
    assert found.reasons[1].startswith("category.both.accuracy falls from")
    assert "2 points are allowed" in found.reasons[1]
    assert judged(answered(STRONG, RIGHT & some(0.8, 5)), answered(WEAK, RIGHT), Bounds(worst=0.5)).promote


def test_a_slice_that_got_worse_keeps_the_champion():
    boots = np.arange(PRODUCTS) % 4 < 2
    found = judged(answered(np.where(boots, WEAK & some(0.5, 6), True), RIGHT), answered(WEAK, RIGHT))
    assert found.table[0]["low"] > 0
    assert not found.promote
    assert found.reasons[1].startswith(f"{MAIN} where category=boots falls from")


def test_a_fall_that_may_be_luck_is_forgiven():
    mixed = RIGHT.copy()
    mixed[np.flatnonzero(RIGHT)[::6]] = False
    mixed[np.flatnonzero(~RIGHT)[::2]] = True
    found = judged(answered(STRONG, mixed), answered(WEAK, RIGHT))
    row = next(row for row in found.table if row["metric"] == "category.both.accuracy")
    assert row["gain"] < -BOUNDS.worst
    assert row["high"] > 0
    assert found.promote


def test_intervals_of_slices_are_wider_where_there_are_more():
    both = judged(answered(STRONG, RIGHT), answered(WEAK, RIGHT)).table[-2]
    alone = verdict(
        answered(STRONG, RIGHT)[lambda t: t["category"] == "boots"],
        answered(WEAK, RIGHT)[lambda t: t["category"] == "boots"],
        BOUNDS,
        slices=["category"],
        generator=np.random.default_rng(0),
    ).table[-1]
    assert both["slice"] == alone["slice"] == "category=boots"
    assert both["gain"] == alone["gain"]
    assert both["high"] - both["low"] > alone["high"] - alone["low"]


def test_a_missing_head_is_named_and_not_compared():
    for sides, who in (((False, RIGHT), "challenger"), ((RIGHT, False), "champion")):
        found = judged(answered(STRONG, sides[0]), answered(WEAK, sides[1]))
        assert found.promote
        assert f"category.both.accuracy is not compared: the {who} has no head for it" in found.reasons


def test_one_that_lost_a_part_is_not_promoted_although_nobody_asked_for_it_today():
    found = judged(answered(STRONG, False), answered(WEAK, False), lost=["category"])
    assert not found.promote
    assert found.reasons[1] == "the champion has the part 'category', which the challenger lacks"


def test_a_first_system_is_promoted_above_chance_and_only_then():
    found = judged(answered(WEAK, RIGHT), None)
    assert found.promote
    assert "is above chance" in found.reasons[0]
    assert found.table[0]["champion"] == pytest.approx(1 / 11)
    assert next(row for row in found.table if row["metric"] == "category.both.accuracy")["gain"] is None
    spoiled = judged(answered(some(1 / 11, 3), RIGHT), None)
    assert not spoiled.promote
    assert "is not above chance for certain" in spoiled.reasons[0]
    assert not judged(answered(np.ones(PRODUCTS, bool), RIGHT, listed=1), None).promote  # one candidate is no question


def test_a_handful_of_groups_shows_nothing():
    found = judged(answered(np.ones(10, bool), products=10), answered(np.zeros(10, bool), products=10))
    assert not found.promote
    assert "only 5 groups" in found.reasons[0]


def test_answers_to_other_questions_are_refused():
    with pytest.raises(Problem, match="not asked the same"):
        judged(answered(WEAK, RIGHT), answered(WEAK, RIGHT)[lambda t: t["product"] != "p3"])


def test_the_table_is_markdown_with_as_many_cells_in_every_line():
    for champion in (answered(WEAK, RIGHT), None):
        page = markdown(judged(answered(STRONG, RIGHT), champion))
        assert page.startswith("**promoted**")
        lines = [line for line in page.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in lines} == {9}
        assert len(lines) > 8
