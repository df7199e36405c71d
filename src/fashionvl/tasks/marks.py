"""How recognition is judged: the same marks for a model and for the yardsticks beside it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import softmax

from fashionvl import metrics
from fashionvl.catalogue.problems import Problem
from fashionvl.tasks.labels import Rows, answers_of_rows


def marks(rows: Rows, said: NDArray[np.object_], classes: Sequence[str], *, generator: Generator) -> dict[str, float]:
    """What was said of the rows of a split, judged.

    said     (n,) object   labels
    classes  those of the training split; `macro_f_all` is over them and over those that only the rows have, all of
             which count 0; `macro_f_present` over those that the rows have
    -> accuracy, accuracy.low and .high (95 %, over groups), macro_f_all, macro_f_present
    """
    right = (rows.true == said).astype(float)
    low, high = metrics.interval(right, rows.group, generator=generator)
    present = sorted(set(rows.true))
    return {
        "accuracy": metrics.accuracy(rows.true, said),
        "accuracy.low": low,
        "accuracy.high": high,
        "macro_f_all": metrics.macro_f(rows.true, said, sorted({*classes, *present})),
        "macro_f_present": metrics.macro_f(rows.true, said, present),
    }


def temperature_of(rows: Rows, scores: NDArray[np.float64], classes: Sequence[str]) -> float:
    """The temperature that suits the rows of a validation split, without those whose class was never learned.

    A split that has no other rows is a Problem.
    """
    answer = answers_of_rows(rows, classes)
    if not (answer >= 0).any():
        raise Problem("no row of the validation split is of a class that was learned: confidence cannot be calibrated")
    return metrics.temperature(scores[answer >= 0], answer[answer >= 0])


def table(
    rows: Rows,
    scores: Mapping[str, NDArray[np.float64]],
    classes: Sequence[str],
    temperatures: Mapping[str, float],
) -> pd.DataFrame:
    """One row a picture: product, picture, group, true, and by column said_<c> and confidence_<c>.

    scores  by column (n, classes)
    """
    found: dict[str, NDArray] = {"product": rows.product, "picture": rows.picture, "group": rows.group}
    found["true"] = rows.true
    for column, values in scores.items():
        found[f"said_{column}"] = said_by(values, classes)
        found[f"confidence_{column}"] = softmax(values / temperatures[column], axis=1).max(axis=1)
    return pd.DataFrame(found)


def marks_of_scores(
    rows: Rows,
    scores: Mapping[str, NDArray[np.float64]],
    classes: Sequence[str],
    temperatures: Mapping[str, float],
    *,
    generator: Generator,
) -> dict[str, float]:
    """-> by column: what `marks` gives, calibration_error, calibration_error_raw (of temperature 1), temperature."""
    found: dict[str, float] = {}
    for column, values in scores.items():
        said = said_by(values, classes)
        of_column = marks(rows, said, classes, generator=generator)
        for name, heat in (("calibration_error", temperatures[column]), ("calibration_error_raw", 1.0)):
            confidence = softmax(values / heat, axis=1).max(axis=1)
            of_column[name] = metrics.calibration_error(confidence, rows.true == said)
        of_column["temperature"] = temperatures[column]
        found |= {f"{column}.{name}": value for name, value in of_column.items()}
    return found


def said_by(scores: NDArray[np.float64], classes: Sequence[str]) -> NDArray[np.object_]:
    """scores (n, classes) -> (n,) object   the label of the highest"""
    return np.array(classes, dtype=object)[scores.argmax(axis=1)]
