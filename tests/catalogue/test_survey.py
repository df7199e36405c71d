"""The numbers of the data report, counted by hand on a few products."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from fashionvl.catalogue.intake import Intake
from fashionvl.catalogue.rules import Rejection
from fashionvl.catalogue.survey import near_duplicates, survey

TEXTS = ["red coat", "red coat", "blue shoe with laces", "green hat"]


@pytest.fixture
def facts() -> dict:
    products = pd.DataFrame(
        {
            "product_id": list("1234"),
            "title": TEXTS,
            "description": "",
            "category": ["Coats", "Coats", "Shoes", ""],
            "sub_category": ["A", "A", "B", "C"],
            "attributes": "",
            "group_id": ["g", "h", "i", "i"],
            "split": ["train", "test", "train", "train"],
        }
    )
    pictures = pd.DataFrame(
        {
            "product": [0, 0, 1, 2, 3],
            "path": list("abcde"),
            "view": "main",
            "width": 10,
            "height": 10,
            "sha256": ["s", "t", "s", "u", "v"],
            "phash": ["0" * 16, "f" * 16, "0" * 16, "ff" + "0" * 14, "fe" + "0" * 14],
        }
    )
    rejected = [Rejection(6, "5", "picture", "missing picture", "there is no such file", "x")]
    return survey(Intake(products, pictures, rejected, Counter({"r": 2}), 6), TEXTS, near_duplicate_bits=4)


def test_rows_products_and_splits_are_counted(facts):
    expected = {"rows": 6, "rows_accepted": 5, "rows_set_aside": 1, "products": 4, "pictures": 5, "groups": 3}
    expected |= {"products_train": 3, "products_val": 0, "products_test": 1, "pictures_train": 4, "pictures_test": 1}
    assert {name: facts[name] for name in expected} == expected
    assert facts["set_aside"] == {"missing picture": 1}
    assert facts["repaired"] == {"r": 2}


def test_texts_are_measured_in_words(facts):
    assert (facts["words_max"], facts["words_median"], facts["words_mean"]) == (4, 2, 2.5)
    assert facts["text_lengths"] == [[0, 1, 0], [1, 2, 0], [2, 3, 3], [3, 4, 0], [4, 5, 1]]
    assert facts["texts_different"] == 3


def test_what_leaks_into_training_is_counted(facts):
    assert facts["texts_of_test_in_train"] == 1
    assert facts["pictures_of_test_in_train"] == 1
    assert facts["exact_duplicate_pictures"] == 1
    assert facts["near_duplicates_of_test_in_train"] == 1
    assert facts["near_duplicate_pictures"] == 4
    assert facts["near_duplicate_examples"] == [[3, 4]]


def test_classes_of_one_split_are_kept_and_named(facts):
    assert facts["classes"]["category"] == [
        {"name": "Coats", "train": 1, "val": 0, "test": 1},
        {"name": "Shoes", "train": 1, "val": 0, "test": 0},
    ]
    assert facts["category_classes_in_one_split"] == 1
    assert facts["products_without_category"] == 1
    remarks = " ".join(facts["remarks"])
    assert "Shoes (1 in train)" in remarks
    assert "B (1 in train), C (1 in train)" in remarks
    assert "No product is in the split val" in remarks


def test_one_picture_used_ten_thousand_times_is_counted_quickly():
    phash = np.array(["0" * 16] * 10_000 + ["f" * 16])
    split = np.array(["train"] * 9_000 + ["val"] * 1_001)
    found = near_duplicates(phash, split, 4)
    assert found["near_duplicate_pictures"] == 10_000
    assert found["near_duplicates_of_val_in_train"] == 1_000
