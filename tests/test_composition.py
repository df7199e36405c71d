import numpy as np
import pytest

from fashionvl.tasks import composition
from fashionvl.tasks.composition import NECKLINE, SLEEVE, Foil

COLOURS = ("Black", "White", "Blue", "Dark Blue", "Red")
KINDS = {"colour": [COLOURS], "sleeve": SLEEVE, "neckline": NECKLINE}


def made_of(text, also=(), seed=0, kinds=KINDS):
    foils = composition.foils([text], kinds, true=[also], generator=np.random.default_rng(seed))
    return {(foil.kind, foil.change): foil.wrong for foil in foils}


def test_one_attribute_is_replaced_wherever_it_is_named():
    wrong = made_of("Black dress. The black comes with long sleeves.")
    assert wrong["sleeve", "replace"].startswith("Black dress. The black comes with ")
    assert wrong["sleeve", "replace"].split("with ")[1] in ("short sleeves.", "elbow-length sleeves.")
    replaced = wrong["colour", "replace"]
    assert "lack" not in replaced
    first, second = replaced.split(" dress. The ")
    assert second == f"{first} comes with long sleeves."


def test_two_values_change_places():
    assert made_of("a black dress with a white collar")["colour", "swap"] == "a white dress with a black collar"
    assert ("colour", "swap") not in made_of("a black dress with a black collar")
    assert ("sleeve", "swap") not in made_of("long-sleeved, with short sleeves")  # no two of one form


def test_another_value_is_added_beside_the_true_one():
    wrong = made_of("a red v-neck top")
    assert wrong["colour", "add"] in [
        f"a red and {other} v-neck top" for other in ("black", "white", "blue", "dark blue")
    ]
    assert wrong["neckline", "add"].startswith("a red v-neck and ")


def test_what_a_text_does_not_say_cannot_be_changed():
    assert made_of("a nice top") == {}
    assert {kind for kind, _ in made_of("a blackish white top")} == {"colour"}


@pytest.mark.parametrize("seed", range(20))
def test_a_foil_says_nothing_that_is_true(seed):
    wrong = made_of("a dark blue dress", also=["Red"], seed=seed)
    assert wrong["colour", "replace"] in ("a black dress", "a white dress")  # blue would be as good as true
    assert wrong["colour", "add"] in ("a dark blue and black dress", "a dark blue and white dress")


def test_where_nothing_else_is_known_no_foil_is_made():
    assert made_of("a red top", kinds={"colour": [("Red",)]}) == {}
    assert made_of("a red top", kinds={"colour": [()]}) == {}


def test_the_same_draws_make_the_same_foils():
    texts = ["a black dress with a white collar", "red top with long sleeves"] * 5

    def make(seed):
        return composition.foils(texts, KINDS, true=[()] * 10, generator=np.random.default_rng(seed))

    assert make(1) == make(1)
    assert make(1) != make(2)


def test_the_true_text_must_score_higher_and_who_cannot_tell_is_right_half_the_time():
    made = [Foil(0, kind, change, "", "") for kind, change in [("colour", "add"), ("colour", "add"), ("sleeve", "add")]]
    told = composition.judged(made, np.array([1.0, 0.5, 0.2]), np.array([0.5, 0.5 + 1e-8, 0.1]))
    assert told == {
        "add": {
            "all": {"accuracy": pytest.approx(2.5 / 3), "foils": 3},
            "colour": {"accuracy": 0.75, "foils": 2},
            "sleeve": {"accuracy": 1.0, "foils": 1},
        }
    }
    assert composition.judged([], np.empty(0), np.empty(0)) == {}
