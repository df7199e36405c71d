import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, top_k_accuracy_score

from fashionvl import metrics


def classes(most=6):
    return st.lists(st.tuples(st.integers(0, most - 1), st.integers(0, most - 1)), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(classes())
def test_accuracy_and_macro_f_are_scikit_learns(rows):
    true, said = np.array(rows).T
    assert metrics.accuracy(true, said) == pytest.approx(accuracy_score(true, said))
    present = sorted(set(true))
    for names in (list(range(6)), list(range(9)), present):
        theirs = f1_score(true, said, labels=names, average="macro", zero_division=0)
        assert metrics.macro_f(true, said, names) == pytest.approx(theirs)


def test_a_class_that_nobody_has_and_nobody_says_counts_nothing_but_a_place():
    true = np.array(["a", "a", "b"], dtype=object)
    assert metrics.macro_f(true, true, ["a", "b"]) == 1.0
    assert metrics.macro_f(true, true, ["a", "b", "c", "d"]) == 0.5


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 8), st.integers(1, 40), st.integers(1, 8))
def test_recall_is_scikit_learns_top_k_accuracy(seed, many, queries, at):
    draw = np.random.default_rng(seed)
    scores, answer = draw.random((queries, many)), draw.integers(many, size=queries)
    ranks = metrics.rank_among(scores, np.arange(many) == answer[:, None])
    at = min(at, many - 1) if many > 2 else 1
    if many == 2:  # scikit-learn takes two columns for one score
        theirs = accuracy_score(answer, scores.argmax(axis=1))
    else:
        theirs = top_k_accuracy_score(answer, scores, k=at, labels=range(many))
    assert metrics.recall(ranks, at) == pytest.approx(theirs)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_the_mean_gap_of_the_bins(rows):
    confidence, right = (np.array(part) for part in zip(*rows, strict=True))
    slow = 0.0
    for number in range(15):
        ends = confidence * 15 > number, confidence * 15 <= number + 1
        inside = (ends[0] | ((number == 0) & (confidence == 0))) & ends[1]
        if inside.any():
            slow += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metrics.calibration_error(confidence, right) == pytest.approx(slow)


def test_who_is_as_sure_as_he_is_right_has_no_calibration_error():
    draw = np.random.default_rng(0)
    confidence = draw.random(200_000)
    assert metrics.calibration_error(confidence, draw.random(200_000) < confidence) < 0.01
    assert metrics.calibration_error(np.ones(100), np.zeros(100, dtype=bool)) == 1.0


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def drawn(temperature, rows=4000, seed=0):
    """Scores that are `temperature` times too sure of the answers drawn from them."""
    draw = np.random.default_rng(seed)
    honest = draw.normal(size=(rows, 5)) * 2
    answer = (softmax(honest).cumsum(axis=1) < draw.random((rows, 1))).sum(axis=1)
    return honest * temperature, answer


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_and_is_the_best_there_is(temperature):
    scores, answer = drawn(temperature)
    found = metrics.temperature(scores, answer)
    assert found == pytest.approx(temperature, rel=0.1)
    surprise = {t: log_loss(answer, softmax(scores / t), labels=range(5)) for t in (found, 0.97 * found, 1.03 * found)}
    assert min(surprise, key=surprise.__getitem__) == found
    right = scores.argmax(axis=1) == answer
    errors = [metrics.calibration_error(softmax(scores / t).max(axis=1), right) for t in (found, 1.0)]
    assert errors[0] < 0.03
    assert temperature == 1.0 or errors[0] < errors[1]


def test_a_temperature_has_ends_where_all_are_right_or_all_are_wrong():
    scores = np.eye(3)
    assert metrics.temperature(scores, np.arange(3)) == pytest.approx(1 / metrics.HOTTEST, rel=0.01)
    assert metrics.temperature(scores, np.array([1, 2, 0])) == pytest.approx(metrics.HOTTEST, rel=0.01)


# Tables 2 and 3 of Kaleido-BERT: FashionBERT, ImageBERT, OSCAR, Kaleido-BERT
RECALLS = {
    "itr.R@1": (23.96, 22.76, 23.39, 27.99),
    "itr.R@5": (46.31, 41.89, 44.67, 60.09),
    "itr.R@10": (52.12, 50.77, 52.55, 68.37),
    "tir.R@1": (26.75, 24.78, 25.10, 33.88),
    "tir.R@5": (46.48, 45.20, 49.14, 60.60),
    "tir.R@10": (55.74, 55.90, 56.68, 68.59),
}
CR, F_CR = (0.9125, 0.9077, 0.9179, 0.9507), (0.705, 0.699, 0.727, 0.714)
SUB, F_SUB = (0.8527, 0.8011, 0.8423, 0.8807), (0.620, 0.575, 0.591, 0.636)


@pytest.mark.parametrize(
    ("model", "sum_r", "sum_cls"), [(0, 251.36, 309.02), (1, 241.30, 298.28), (2, 251.53, 307.82), (3, 319.52, 318.14)]
)
def test_the_papers_cells_give_the_papers_sums(model, sum_r, sum_cls):
    recalls = {name: cells[model] / 100 for name, cells in RECALLS.items()}
    assert metrics.sum_of_recalls(recalls) == pytest.approx(sum_r)
    found = {
        "category": {"accuracy": CR[model], "macro_f_all": F_CR[model], "macro_f_present": 9.0},
        "sub_category": {"accuracy": SUB[model], "macro_f_all": F_SUB[model]},
    }
    assert metrics.sum_of_recognition(found) == pytest.approx(sum_cls)


@pytest.mark.parametrize(("cells", "sum_cap"), [((5.7, 12.8, 32.9, 32.6), 84.0), ((3.3, 9.8, 29.7, 30.1), 72.9)])
def test_the_papers_captions_give_the_papers_sum(cells, sum_cap):
    scores = dict(zip(("bleu4", "meteor", "rouge_l", "cider"), cells, strict=True))
    assert metrics.sum_of_caption_scores(scores) == pytest.approx(sum_cap)
