"""Whether a model reads what belongs to what: the true text of a picture against the same text with one attribute
changed, in the manner of SugarCrepe (Hsieh et al. 2023), on the catalogue's own attributes.

`replace` says another value of the kind instead, `swap` lets two values of a kind change places, `add` puts another
value beside the true one. Chance is one half.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

CHANGES = ("replace", "swap", "add")
TIE = 1e-6  # sums of the same words in another order differ by less
Forms = Sequence[Sequence[str]]  # of a kind: phrases of one form can stand in each other's place

# What texts say of kinds that few catalogues have a column for; colours and patterns are those of the catalogue.
SLEEVE: Forms = (
    ("long-sleeved", "short-sleeved", "sleeveless"),
    ("long sleeves", "short sleeves", "elbow-length sleeves"),
)
NECKLINE: Forms = (
    ("v-neck", "round neck", "square neck", "boat neck", "polo neck", "turtleneck", "crew neck"),
    ("v-shaped neckline", "round neckline", "square neckline", "boat neckline", "scoop neckline"),
)


@dataclass(frozen=True)
class Foil:
    """A true text and a false one that differs by one attribute.

    row     the number of the text that it was made of
    kind    of attribute
    change  one of CHANGES
    """

    row: int
    kind: str
    change: str
    right: str
    wrong: str


def foils(
    texts: Sequence[str],
    kinds: Mapping[str, Forms],
    *,
    true: Sequence[Sequence[str]],
    generator: Generator,
) -> list[Foil]:
    """One foil for every text, kind and change that the text gives occasion for.

    kinds  the phrases of each kind of attribute, found in whatever case
    true   for each text, what is true of its product beyond it (the values of its attributes): never part of a foil
    """
    made = []
    for row, (text, also) in enumerate(zip(texts, true, strict=True)):
        for kind, forms in kinds.items():
            found = _mentions(text, forms)
            if not found:
                continue
            at = int(generator.integers(len(found)))
            other = _other(found[at].group().lower(), forms, [m.group() for m in found] + list(also), generator)
            wrong = {
                "replace": other and _everywhere(text, found[at].group(), other),
                "swap": _swapped(text, found, forms, generator),
                "add": other and f"{text[: found[at].end()]} and {other}{text[found[at].end() :]}",
            }
            made += [Foil(row, kind, change, text, wrong[change]) for change in CHANGES if wrong[change]]
    return made


def judged(made: Sequence[Foil], right: NDArray, wrong: NDArray) -> dict[str, dict[str, dict[str, float]]]:
    """How often the true text scores higher, by change and kind and over all kinds; a tie is half right.

    right (n,) float, wrong (n,) float   the scores of both texts of each foil with the picture
    -> change -> kind or "all" -> accuracy, foils; only for what there is
    """
    won = won_by(right, wrong)
    told: dict[str, dict[str, dict[str, float]]] = {}
    for change in CHANGES:
        of_change = np.array([foil.change == change for foil in made], dtype=bool)
        for kind in ["all", *sorted({foil.kind for foil in made if foil.change == change})]:
            rows = of_change & np.array([kind in ("all", foil.kind) for foil in made], dtype=bool)
            if rows.any():
                told.setdefault(change, {})[kind] = {"accuracy": float(won[rows].mean()), "foils": int(rows.sum())}
    return told


def won_by(right: NDArray, wrong: NDArray) -> NDArray[np.float64]:
    """1 where the true text scores higher, 0 where the other does, .5 where what parts them is rounding alone."""
    gap = np.asarray(right, dtype=np.float64) - np.asarray(wrong, dtype=np.float64)
    return np.where(np.abs(gap) < TIE, 0.5, (gap > 0).astype(float))


def _mentions(text: str, forms: Forms) -> list[re.Match[str]]:
    """Where phrases stand in the text, the longest at each place."""
    phrases = sorted({phrase for form in forms for phrase in form if phrase}, key=lambda x: (-len(x), x))
    if not phrases:
        return []
    return list(re.finditer(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)", text, re.IGNORECASE))


def _other(phrase: str, forms: Forms, true: Sequence[str], generator: Generator) -> str:
    """Another phrase of the same form that says less or more than nothing that is true; "" where there is none."""
    said = [_words(one) for one in true]
    form = next(form for form in forms if phrase in [one.lower() for one in form])
    free = [one.lower() for one in form if not any(_words(one) <= known or known <= _words(one) for known in said)]
    return free[int(generator.integers(len(free)))] if free else ""


def _words(phrase: str) -> set[str]:
    """`blue` is part of `dark blue`: what says the one does not make the other false."""
    return set(re.findall(r"\w+", phrase.lower()))


def _everywhere(text: str, phrase: str, other: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", lambda _: other, text, flags=re.IGNORECASE)


def _swapped(text: str, found: Sequence[re.Match[str]], forms: Forms, generator: Generator) -> str:
    """Two phrases of one form change places; "" where no two different ones stand in the text."""
    lower = [[one.lower() for one in form] for form in forms]
    pairs = [
        (a, b)
        for i, a in enumerate(found)
        for b in found[i + 1 :]
        if a.group().lower() != b.group().lower()
        and any(a.group().lower() in form and b.group().lower() in form for form in lower)
    ]
    if not pairs:
        return ""
    a, b = pairs[int(generator.integers(len(pairs)))]
    return text[: a.start()] + b.group() + text[a.end() : b.start()] + a.group() + text[b.end() :]
