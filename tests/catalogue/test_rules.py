"""Rules for one row: what is repaired, what is set aside, and under which name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashionvl.catalogue.rules import FIELDS, CleanRow, RawRow, Rejection, clean_row, read_attributes, tidy


def raw(**cells: str) -> RawRow:
    return RawRow(1, dict.fromkeys(FIELDS, "") | {"product_id": "1", "image_path": "a.jpg"} | cells, {})


@pytest.mark.parametrize(
    ("text", "clean", "rule"),
    [
        ("a plain text, 20 den & more", "a plain text, 20 den & more", None),
        ("caf\udce9", "café", "byte that is not UTF-8 read as cp1252"),
        ("\udc80 5", "€ 5", "byte that is not UTF-8 read as cp1252"),
        ("Men&#39;s &amp; women", "Men's & women", "HTML entity decoded"),
        ("soft<br/>wool <b>knit</b>", "soft wool knit", "HTML tag removed"),
        ("size < 40 and > 30", "size < 40 and > 30", None),
        ("a\x00b\x1b\u200bc", "abc", "control character removed"),
        (" two  words\n", "two words", "white space tidied"),
        ("naïve 連衣裙 👗", "naïve 連衣裙 👗", None),
        ("a\ud800b", "ab", "control character removed"),
    ],
)
def test_a_text_is_tidied_by_a_named_rule(text, clean, rule):
    assert tidy(text)[0] == clean
    assert (rule in tidy(text)[1]) if rule else tidy(text)[1] == []


@given(st.text(alphabet=st.characters(), max_size=60))
def test_a_tidy_text_has_no_byte_that_cannot_be_written(text):
    clean, _ = tidy(text)
    clean.encode("utf-8")
    assert clean == " ".join(clean.split())
    assert not any(ord(character) < 32 for character in clean)


@pytest.mark.parametrize(
    ("text", "pairs", "rule"),
    [
        ("", {}, None),
        ("{}", {}, None),
        ('{"colour": "Black", "size": 40}', {"colour": "Black", "size": "40"}, None),
        ('{"a": null, "b": ["x", "y"], "c": {"d": 1}, "e": NaN}', {"b": "x, y", "c": "d 1"}, None),
        ("{'colour': 'Black'}", {"colour": "Black"}, "attributes read as a Python dict"),
        ("colour: black", {}, "attributes that are not a JSON object left out"),
        ("[1, 2]", {}, "attributes that are not a JSON object left out"),
        ("[" * 100_000, {}, "attributes that are not a JSON object left out"),
        ('{"a": "x&amp;y"}', {"a": "x&y"}, "HTML entity decoded"),
        ('{"a": "\\ud800x"}', {"a": "x"}, "control character removed"),
    ],
)
def test_attributes_become_a_json_object_of_texts(text, pairs, rule):
    found, rules = read_attributes(text, {})
    assert json.loads(found or "{}") == pairs
    assert (rule in rules) if rule else rules == []


def test_a_column_of_its_own_wins_over_the_attributes_column():
    assert json.loads(read_attributes('{"colour": "a", "size": "1"}', {"colour": "b"})[0]) == {
        "colour": "b",
        "size": "1",
    }
    assert json.loads(read_attributes("", {"colour": ""})[0] or "{}") == {}


@pytest.mark.parametrize(
    ("cells", "field", "rule"),
    [
        ({"product_id": "  "}, "product_id", "no product id"),
        ({"product_id": ".."}, "product_id", "unusable product id"),
        ({"product_id": "x" * 201}, "product_id", "unusable product id"),
        ({"image_path": ""}, "picture", "no picture"),
        ({"split": "holdout"}, "split", "unknown split"),
    ],
)
def test_a_row_that_cannot_be_used_is_set_aside_with_its_value(cells, field, rule):
    found = clean_row(raw(**cells))
    assert isinstance(found, Rejection)
    assert (found.field, found.rule) == (field, rule)
    assert found.value == next(iter(cells.values()))


@pytest.mark.parametrize(
    ("given", "split"), [("Validation", "val"), ("dev", "val"), ("TRAIN", "train"), ("test", "test"), ("", "")]
)
def test_split_names_are_translated(given, split):
    found = clean_row(raw(split=given))
    assert isinstance(found, CleanRow)
    assert found.cells["split"] == split
    assert ("split name translated" in found.repairs) == (given != split)


def test_a_path_separator_in_an_id_is_written_otherwise():
    found = clean_row(raw(product_id="12/34\\5"))
    assert isinstance(found, CleanRow)
    assert found.cells["product_id"] == "12%2F34%5C5"
    assert "path separator in a product id written as %2F or %5C" in found.repairs
