"""What the registered model makes of a table: rows of a kind together, answers in order, bad rows named."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from fashionvl.catalogue.problems import Problem
from flows import packing
from flows.pyfunc_model import FashionVLModel

SHOE = b"the bytes of a picture"
IN_BASE64 = base64.b64encode(SHOE).decode()


class Library:
    """Answers with what it was asked, and keeps it."""

    def __init__(self):
        self.asked = []

    def match(self, pictures, texts, *, probability):
        self.asked.append(("match", pictures, texts))
        return np.array([len(text) + probability / 2 for text in texts])

    def embed(self, picture=None, text=None):
        self.asked.append(("embed", picture, text))
        return np.array([[len(each)] for each in (picture or text)], np.float32)

    def classify(self, picture=None, text=None, *, task, top):
        self.asked.append(("classify", picture, text))
        return [[(task, 1 / top)] for _ in (picture or text)]

    def caption(self, pictures, *, mode, beam):
        if mode not in ("causal", "mask_all"):
            raise Problem(f"there is no mode {mode!r}")
        return [f"{mode} {beam}" for _ in pictures]


@pytest.fixture
def model() -> FashionVLModel:
    made = FashionVLModel()
    made.model = Library()
    return made


def asked(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["task", "picture", "text"])


def test_answers_come_in_order_although_rows_of_a_kind_are_asked_together(model):
    table = asked(
        ("match", IN_BASE64, "boots"),
        ("embed", None, "coat"),
        ("match", IN_BASE64, "hat"),
        ("classify", None, "boots"),
        ("caption", IN_BASE64, "is not read"),
        ("embed", IN_BASE64, None),
    )
    said = model.predict(None, table, {"head": "category", "top": 2, "beam": 3})
    assert said == [5.0, [4.0], 3.0, [["category", 0.5]], "causal 3", [float(len(SHOE))]]
    assert model.model.asked[0] == ("match", [SHOE, SHOE], ["boots", "hat"])
    assert [each[0] for each in model.model.asked] == ["match", "embed", "classify", "embed"]
    assert model.predict(None, table[:1], {"probability": True}) == [5.5]
    assert model.predict(None, table[:0]) == []


def test_a_picture_is_a_path_or_bytes(model, tmp_path):
    file = tmp_path / "shoe.jpg"
    file.write_bytes(SHOE)
    model.predict(None, asked(("match", str(file), "a"), ("match", IN_BASE64, "b"), ("match", SHOE, "c")))
    assert model.model.asked[0][1] == [Path(file), SHOE, SHOE]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("sing", IN_BASE64, "boots"), r"row 1: there is no task 'sing'; there are \['match'"),
        ((None, IN_BASE64, "boots"), "row 1: there is no task None"),
        (("match", IN_BASE64, None), "row 1: match needs a text"),
        (("match", None, None), "row 1: match needs a picture and a text"),
        (("caption", None, "boots"), "row 1: caption needs a picture"),
        (("embed", None, float("nan")), "row 1: embed needs a picture, a text, or both"),
        (
            ("caption", "no/where.jpg", None),
            "row 1: 'no/where.jpg' is neither a picture's path nor its bytes in base64",
        ),
    ],
)
def test_a_bad_row_is_a_sentence_that_names_it(model, row, sentence):
    with pytest.raises(MlflowException, match=sentence) as caught:
        model.predict(None, asked(("embed", None, "coat"), row))
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_what_the_library_refuses_is_its_own_sentence(model):
    with pytest.raises(MlflowException, match="there is no mode 'loud'"):
        model.predict(None, asked(("caption", IN_BASE64, None)), {"mode": "loud"})


def test_what_is_needed_is_pinned_to_what_is_here():
    needed = packing.requirements(Path(__file__).parents[2])
    assert {"mlflow==3.17.2", "torch==2.13.0"} <= set(needed)
    assert all(name and version for name, version in (line.split("==") for line in needed))


def test_the_example_is_small_and_fits_the_signature():
    from mlflow.models.utils import _enforce_schema

    example = packing.example()
    assert len(example.to_json()) < 1000
    assert list(_enforce_schema(example, packing.signature().inputs)["task"]) == ["match", "embed"]
    assert [spec.name for spec in packing.signature().params] == ["head", "top", "probability", "mode", "beam"]
