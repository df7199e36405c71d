"""What recognition asks for: the classes of a task, and which of them every product and picture is of.

The classes are those of the training split. A product without a label is left out; one whose label the training split
lacks stays, and whatever is said of it is wrong.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem

TASKS = ("category", "sub_category")  # CR and SUB of Kaleido-BERT; columns of the catalogue
NO_LABEL = -1
UNKNOWN = -2  # a label that no training product has


def classes(catalogue: Catalogue, task: str) -> list[str]:
    """The labels of the training split, sorted; the number of a class is its place here.

    A catalogue whose training products have none is a Problem; `is_asked` tells beforehand.
    """
    found = sorted(set(_labels(catalogue, task)[catalogue.in_split("train")]) - {""})
    if not found:
        raise Problem(f"no product of the training split has a {task}: there is nothing to recognise")
    return found


def is_asked(catalogue: Catalogue, task: str) -> bool:
    """True where a training product has a label of this task, so that it can be learned."""
    return bool((_labels(catalogue, task)[catalogue.in_split("train")] != "").any())


def why_not(catalogue: Catalogue, task: str) -> str | None:
    """Why a catalogue cannot teach a task, of whatever kind; None where it can."""
    if task not in TASKS or is_asked(catalogue, task):
        return None
    return f"no product of the training split has a {task}"


def answers(catalogue: Catalogue, task: str, classes: Sequence[str]) -> NDArray[np.int64]:
    """-> (N,) int64   the class of every product; NO_LABEL, or UNKNOWN where it is none of these classes."""
    return _numbers(_labels(catalogue, task), classes)


def answers_of_rows(rows: "Rows", classes: Sequence[str]) -> NDArray[np.int64]:
    """-> (n,) int64   the same of the rows of a split."""
    return _numbers(rows.true, classes)


def numbers_of(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Labels that a user gives -> (n,) int64   their classes; a Problem that names the first that is none of them."""
    number = {name: at for at, name in enumerate(classes)}
    for label in labels:
        if label not in number:
            near = difflib.get_close_matches(label, classes, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise Problem(f"{label!r} is none of the {len(classes)} classes that were learned{hint}")
    return np.array([number[label] for label in labels], dtype=np.int64)


@dataclass(frozen=True)
class Rows:
    """What is recognised of a split: a row a picture whose product has a label.

    picture (n,) int64   product (n,) int64   group (n,) int64
    true    (n,) object  the label
    """

    picture: NDArray[np.int64]
    product: NDArray[np.int64]
    group: NDArray[np.int64]
    true: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.picture)


def rows_of(catalogue: Catalogue, task: str, split: str) -> Rows:
    """The rows of a split; a split without a labelled product is a Problem."""
    labels, pictures = _labels(catalogue, task), catalogue.pictures_in(split)
    product = catalogue.pictures["product"].to_numpy()[pictures]
    kept = labels[product] != ""
    if not kept.any():
        raise Problem(f"no product of the split {split!r} has a {task}: recognition cannot be measured on it")
    product = product[kept]
    return Rows(pictures[kept], product, catalogue.groups()[product], labels[product])


def without_label(catalogue: Catalogue, task: str, split: str) -> int:
    """How many products of a split are left out because they have no label."""
    return int((_labels(catalogue, task)[catalogue.in_split(split)] == "").sum())


def never_learned(rows: Rows, classes: Sequence[str]) -> dict[str, int]:
    """The labels that training lacks -> how many rows have them, all of which count as wrong; by name."""
    known, names = set(classes), [str(name) for name in rows.true]
    return {name: names.count(name) for name in sorted(set(names) - known)}


def _numbers(labels: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    number = {"": NO_LABEL, **{name: at for at, name in enumerate(classes)}}
    return np.array([number.get(label, UNKNOWN) for label in labels], dtype=np.int64)


def _labels(catalogue: Catalogue, task: str) -> NDArray[np.object_]:
    if task not in TASKS:
        raise Problem(f"there is no recognition task {task!r}; there are {list(TASKS)}")
    return catalogue.products[task].to_numpy(dtype=object)
