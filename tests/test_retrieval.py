from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shop
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionvl import metrics
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import compare
from fashionvl.tasks import retrieval


def big(products=900, views=1):
    of = shop.catalogue(products=products, views=views)
    of.products["split"] = "test"
    return of


def lists_of(of, candidates=100, queries=1000, draws=2, seed=0):
    generator = np.random.default_rng(seed)
    return retrieval.candidate_lists(
        of, "test", queries=queries, candidates=candidates, draws=draws, generator=generator
    )


def oracle(of):
    groups, product = of.groups(), of.pictures["product"].to_numpy()
    return lambda pictures, products: (groups[product[pictures]] == groups[products]).astype(float)


def test_every_list_holds_one_right_answer_and_a_hundred_others():
    lists = lists_of(big())
    assert lists.candidates.shape[1] == 101
    assert (lists.candidates != retrieval.NOBODY).all()
    retrieval.check(lists, big())


def test_a_list_with_a_second_member_of_the_group_is_refused():
    of = big()
    lists = lists_of(of)
    row = int(np.flatnonzero(lists.direction == "itr")[0])
    groups = of.groups()
    lists.candidates[row, 1] = next(
        p for p in np.flatnonzero(groups == groups[lists.product[row]]) if p != lists.product[row]
    )
    with pytest.raises(AssertionError):
        retrieval.check(lists, of)


def test_an_oracle_finds_everything_and_rank_101_is_certain():
    of = big()
    lists = lists_of(of)
    assert (retrieval.sampled_ranks(lists, oracle(of)) == 1).all()
    against = retrieval.sampled_ranks(lists, lambda a, b: -oracle(of)(a, b))
    assert (against == 101).all()
    full = retrieval.full_ranks(of, "test", oracle(of), generator=np.random.default_rng(0))
    assert (full["rank"] == 1).all()


def test_a_random_scorer_lands_on_chance():
    of, draw = big(), np.random.default_rng(1)
    ranks = retrieval.sampled_ranks(lists_of(of, draws=5), lambda a, b: draw.random(len(a)))
    for at in (1, 5, 10):
        assert metrics.recall(ranks, at) == pytest.approx(metrics.chance_recall(101, at), abs=0.012)


def test_a_scorer_that_says_the_same_of_all_is_last():
    ranks = retrieval.sampled_ranks(lists_of(big()), lambda a, b: np.zeros(len(a)))
    assert (ranks == 101).all()


def test_candidates_are_of_the_same_subcategory_as_far_as_there_are_enough():
    of = big(products=900)
    assert lists_of(of).same_kind.min() == 1.0
    small = big(products=120)
    shares = lists_of(small).same_kind
    assert 0 < shares.max() < 0.5


def test_a_small_split_gives_shorter_lists_and_says_so():
    of = big(products=30)
    lists = lists_of(of)
    assert ((lists.candidates != retrieval.NOBODY).sum(axis=1) == 29).all()  # the other of the group is left out
    assert (retrieval.sampled_ranks(lists, oracle(of)) == 1).all()


def test_views_are_drawn_and_the_same_seed_draws_the_same_lists():
    of = big(products=200, views=3)
    one, other = lists_of(of, seed=4), lists_of(of, seed=4)
    assert np.array_equal(one.candidates, other.candidates)
    assert not np.array_equal(one.candidates, lists_of(of, seed=5).candidates)
    assert len(set(one.picture % 3)) == 3


def test_scores_that_are_no_numbers_rank_nothing():
    scores = np.array([0.1, np.nan, 0.3])
    with pytest.raises(Problem, match="1 of 3 scores are no numbers"):
        retrieval.looked_up(np.arange(3), np.arange(3), scores, 3)
    own = np.array([[True, False], [True, False]])
    with pytest.raises(Problem, match="the right answer of 1 queries has a score that is no number"):
        metrics.rank_among(np.array([[np.nan, 1.0], [0.5, np.nan]]), own)
    assert metrics.rank_among(np.array([[0.5, np.nan]]), own[:1]).tolist() == [1]  # one candidate only


def test_scores_are_looked_up_where_they_were_computed():
    of = big(products=60, views=2)
    lists = lists_of(of, candidates=20)
    pictures, products = retrieval.pairs_needed(lists)
    assert len(set(zip(pictures, products, strict=True))) == len(pictures)
    scores = np.random.default_rng(0).random(len(pictures))
    table = {(p, q): s for p, q, s in zip(pictures, products, scores, strict=True)}
    direct = retrieval.sampled_ranks(lists, lambda a, b: np.array([table[x] for x in zip(a, b, strict=True)]))
    looked_up = retrieval.sampled_ranks(lists, retrieval.looked_up(pictures, products, scores, len(of.products)))
    assert np.array_equal(direct, looked_up)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.data())
def test_a_tie_counts_against_us(scores, data):
    own = np.zeros(len(scores), dtype=bool)
    own[data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1).map(list))] = True
    rank = metrics.rank_among(np.array([scores], dtype=float), own[None])[0]
    best = max(s for s, o in zip(scores, own, strict=True) if o)
    assert rank == 1 + sum(s >= best and not o for s, o in zip(scores, own, strict=True))


def test_an_interval_over_groups_is_wider_than_over_rows():
    groups = np.repeat(np.arange(40), 25)
    values = (np.random.default_rng(0).random(40) < 0.5).astype(float)[groups]
    ends = [metrics.interval(values, g, generator=np.random.default_rng(1)) for g in (groups, np.arange(1000))]
    assert ends[0][1] - ends[0][0] > 3 * (ends[1][1] - ends[1][0])
    assert ends[0][0] < values.mean() < ends[0][1]


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw, held = np.random.default_rng(2), 0
    for _ in range(200):
        values = (draw.random(300) < 0.3).astype(float)
        low, high = metrics.interval(values, np.arange(300), generator=draw)
        held += low <= 0.3 <= high
    assert 0.9 <= held / 200 <= 0.99


def test_sum_of_recalls_is_the_papers_sum():
    cells = dict(enumerate([0.2799, 0.6009, 0.6837, 0.3388, 0.6060, 0.6859]))
    assert metrics.sum_of_recalls(cells) == pytest.approx(319.52)


def ranks_of(rank):
    rows = [("sampled", d, draw, p, p, p // 2) for d in ("itr", "tir") for draw in (0, 1) for p in range(40)]
    return pd.DataFrame(rows, columns=compare.KEYS).assign(rank=rank)


def test_a_comparison_is_paired_and_refuses_other_lists():
    found = compare.paired(ranks_of(1), ranks_of(3), 7, "a and b")
    assert found["sampled.itr.R@1"] == [100.0, 100.0, 100.0]
    assert found["sampled.tir.R@5"] == [0.0, 0.0, 0.0]
    other = ranks_of(1)
    other.loc[0, "picture"] = 99
    with pytest.raises(Problem, match="not evaluated on the same lists"):
        compare.paired(ranks_of(1), other, 7, "a and b")


def test_the_best_wrong_answer_is_named_and_is_never_of_the_querys_group():
    of = shop.catalogue()
    draw = np.random.default_rng(0)
    table = draw.random((len(of.pictures), len(of.products)))
    score = lambda pictures, products: table[pictures, products]  # noqa: E731
    ranks = retrieval.full_ranks(of, "test", score, generator=draw)
    groups, of_picture = of.groups(), of.pictures["product"].to_numpy()
    products, pictures = of.in_split("test"), of.pictures_in("test")
    for row in ranks.to_dict("records"):
        itr = row["direction"] == "itr"
        answers = products if itr else pictures
        scores = table[row["picture"], answers] if itr else table[answers, row["product"]]
        other = groups[answers if itr else of_picture[answers]] != groups[row["product"]]
        assert row["first"] == answers[other][scores[other].argmax()]
    lists = lists_of(of)
    alone = replace(
        lists, candidates=np.where(np.arange(lists.candidates.shape[1]) > 0, retrieval.NOBODY, lists.candidates)
    )
    assert (retrieval.sampled_firsts(alone, score) == retrieval.NOBODY).all()
    found = retrieval.sampled_firsts(lists, score)
    assert all(found[row] in lists.candidates[row, 1:] for row in range(len(found)))
