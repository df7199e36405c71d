"""Captions are scored as by COCO's scorers: cases worked by hand, and texts that would put lines out of step."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fashionvl import metrics
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import scorers

needs_java = pytest.mark.skipif(scorers.why_not() is not None, reason=scorers.why_not() or "")

SCORES = ["bleu4", "meteor", "rouge_l", "cider", "sumcap"]
LINES = ["a red dress with long sleeves", "blue jeans with two pockets", "black leather boots and a low heel"]
ODD = [
    "",
    "two\nlines\r\nof\x0btext\u2028and\x85more\tthan one",
    'A man, in "Grün" (café) - T-shirt!',
    "棉 Ärmel naïve 100% ||| |",
    "\ud800 \U0001f600 \0",
    "...",
    " ",
]


def test_the_sum_of_caption_scores_is_the_papers_sum():
    cells = {"bleu4": 5.7, "meteor": 12.8, "rouge_l": 32.9, "cider": 32.6}
    assert metrics.sum_of_caption_scores(cells) == pytest.approx(84.0)


@needs_java
def test_tokens_are_small_letters_without_punctuation():
    # COCO's list names "-LRB-" and the tokens are in small letters, so brackets stay: every published score has them.
    assert scorers.tokens_of(["A man, in a (new) T-shirt.", "That's 100% cotton!"]) == [
        "a man in a -lrb- new -rrb- t-shirt",
        "that 's 100 % cotton",
    ]


@needs_java
def test_odd_characters_put_no_caption_out_of_step():
    captions = [line for odd in ODD for line in (odd, "a plain shirt")]
    found = scorers.tokens_of(captions)
    assert found[1::2] == ["a plain shirt"] * len(ODD)
    assert found[0] == ""
    assert found[2] == "two lines of text and more than one"
    assert found[4] == "a man in grün -lrb- café -rrb- t-shirt"
    assert found[6].startswith("棉 ärmel naïve 100 %")
    assert scorers.tokens_of(["", ""]) == ["", ""]


@needs_java
def test_tokens_are_those_of_the_package():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = [*LINES, 'A man, in "Grün" (café) - T-shirt!', "can't, won't; U.S. size 1/2 -- 3.5cm & more..."]
    theirs = PTBTokenizer().tokenize({n: [{"caption": line}] for n, line in enumerate(captions)})
    assert scorers.tokens_of(captions) == [theirs[n][0] for n in range(len(captions))]


@needs_java
def test_the_packages_folder_is_not_written_to():
    import pycocoevalcap

    folder = Path(pycocoevalcap.__path__[0]) / "tokenizer"
    before = folder.stat().st_mtime_ns
    scorers.tokens_of(LINES)
    assert folder.stat().st_mtime_ns == before


@needs_java
def test_two_at_once_do_not_disturb_each_other():
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(scorers.tokens_of, ([*LINES] * 50, [line.upper() for line in LINES] * 50))
    assert one == other == LINES * 50


@needs_java
@pytest.mark.slow
def test_identical_captions_get_all_there_is():
    found = scorers.score(LINES, LINES)
    assert list(found) == SCORES
    assert found["bleu4"] == pytest.approx(100)
    assert found["rouge_l"] == pytest.approx(100)
    assert found["cider"] == pytest.approx(1000)  # 10 on its own scale
    assert found["meteor"] == pytest.approx(100)
    assert found["sumcap"] == pytest.approx(1300)


@needs_java
@pytest.mark.slow
def test_captions_without_a_common_word_get_nothing():
    found = scorers.score(["zebra crossing", "old iron bridge"], ["a red dress", "blue jeans with pockets"])
    assert found == pytest.approx(dict.fromkeys(SCORES, 0.0), abs=1e-3)


@needs_java
@pytest.mark.slow
def test_a_case_worked_by_hand():
    # 5 of 6 words, in order, one left out: BLEU is the brevity penalty alone (n-grams 5/5, 4/4, 3/3, 2/2).
    found = scorers.score(["a red dress with long", LINES[1]], [LINES[0], LINES[1]])
    assert found["bleu4"] == pytest.approx(100 * math.exp(1 - 11 / 10), abs=1e-3)
    precision, recall = 1.0, 5 / 6
    of_one = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert found["rouge_l"] == pytest.approx(100 * (of_one + 1) / 2)


@needs_java
@pytest.mark.slow
def test_empty_and_odd_captions_are_scored_and_cost_the_others_nothing():
    found = scorers.score(["", LINES[1], *ODD], [LINES[0], LINES[1], *ODD])
    assert all(math.isfinite(value) for value in found.values())
    nothing_said = scorers.score(["", ""], LINES[:2])
    assert nothing_said == pytest.approx(dict.fromkeys(SCORES, 0.0), abs=1e-3)


@needs_java
@pytest.mark.slow
def test_meteor_is_that_of_the_package():
    from pycocoevalcap.meteor.meteor import Meteor

    said, right = ["a crimson dress long sleeves", "", "boots of leather"], LINES
    right_of, said_of = ({n: [line] for n, line in enumerate(lines)} for lines in (right, said))
    theirs = Meteor().compute_score(right_of, said_of)[0]
    assert scorers.score(said, right)["meteor"] == pytest.approx(100 * theirs)


def test_without_java_captioning_is_not_measured_and_the_reason_is_a_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert scorers.score(LINES, LINES) is None
    assert "Java" in scorers.why_not()


@needs_java
def test_a_java_that_breaks_is_one_sentence(tmp_path, monkeypatch):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Problem, match="ended with 1 \\(no memory\\)"):
        scorers.score(LINES, LINES)


def test_captions_and_references_come_in_pairs():
    with pytest.raises(ValueError, match="one each"):
        scorers.score(LINES, LINES[:2])
    with pytest.raises(ValueError, match="at least one"):
        scorers.score([], [])
