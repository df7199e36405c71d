"""A registered system as MLflow loads it: a table in, an answer for each row out.

It stands in the logged model as code, beside the library and a folder of safetensors, so that nothing is pickled.

    task     match | classify | caption | embed
    picture  the path of a picture, or the bytes of its file in base64
    text     what is to be matched, classified or embedded

Parameters, all optional: head (category, sub_category) and top of classify; probability of match; mode and beam of
caption. A row is answered as `fashionvl.load(...)` answers it: match with log-odds, embed with a list of numbers,
classify with [[name, probability], ...], caption with a text.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

PARAMS = {"head": "sub_category", "top": 5, "probability": False, "mode": "causal", "beam": 5}
NEEDED = {"match": ("picture", "text"), "caption": ("picture",)}  # the others take either side, or both


class FashionVLModel(mlflow.pyfunc.PythonModel):
    """What MLflow asks; all the work is done by the library."""

    def load_context(self, context: Any) -> None:
        """Find the weights; each part is read when it is first asked for."""
        import fashionvl  # the one beside this file, and not before it is on the path

        self.model = fashionvl.load(context.artifacts["system"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[Any]:
        """-> an answer a row, in order, each of what JSON knows; a bad row is a sentence that names it."""
        from fashionvl.catalogue.problems import Problem

        asked = {**PARAMS, **(params or {})}
        rows = [_row(number, cells) for number, cells in enumerate(model_input.to_dict("records"))]
        answers: list[Any] = [None] * len(rows)
        try:
            for kind in dict.fromkeys(_kind(row) for row in rows):
                numbers = [number for number, row in enumerate(rows) if _kind(row) == kind]
                sides = {side: [rows[number][side] for number in numbers] for side in kind[1]}
                for number, answer in zip(numbers, ANSWERS[kind[0]](self.model, sides, asked), strict=True):
                    answers[number] = answer
        except Problem as problem:
            raise _bad(str(problem)) from None
        return answers


def _match(model: Any, sides: dict[str, list], asked: dict[str, Any]) -> list[float]:
    return model.match(sides["picture"], sides["text"], probability=asked["probability"]).tolist()


def _classify(model: Any, sides: dict[str, list], asked: dict[str, Any]) -> list[list[list]]:
    named = model.classify(**sides, task=asked["head"], top=asked["top"])
    return [[list(pair) for pair in row] for row in named]


def _caption(model: Any, sides: dict[str, list], asked: dict[str, Any]) -> list[str]:
    return model.caption(sides["picture"], mode=asked["mode"], beam=asked["beam"])


def _embed(model: Any, sides: dict[str, list], asked: dict[str, Any]) -> list[list[float]]:
    return model.embed(**sides).tolist()


ANSWERS: dict[str, Callable[[Any, dict[str, list], dict[str, Any]], list]] = {
    "match": _match,
    "classify": _classify,
    "caption": _caption,
    "embed": _embed,
}


def _row(number: int, cells: dict[str, Any]) -> dict[str, Any]:
    """One row without its empty cells, the picture as a path or as bytes."""
    row = {name: cells[name] for name in ("task", "picture", "text") if not _empty(cells.get(name))}
    task = row.get("task")
    if task not in ANSWERS:
        raise _bad(f"row {number}: there is no task {task!r}; there are {list(ANSWERS)}")
    lacking = [side for side in NEEDED.get(task, ()) if side not in row]
    if lacking or not row.keys() & {"picture", "text"}:
        raise _bad(f"row {number}: {task} needs a {' and a '.join(lacking) or 'picture, a text, or both'}")
    if task == "caption":
        row.pop("text", None)
    if "picture" in row:
        row["picture"] = _picture(number, row["picture"])
    return row


def _kind(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Rows of one kind are answered together: the task, and the sides that are given."""
    return row["task"], tuple(side for side in ("picture", "text") if side in row)


def _empty(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def _picture(number: int, given: Any) -> Path | bytes:
    if isinstance(given, bytes):
        return given
    try:
        path = Path(given)
        if path.is_file():
            return path
    except (OSError, ValueError):  # base64 is longer than a name may be
        pass
    try:
        return base64.b64decode(given, validate=True)
    except ValueError:
        raise _bad(f"row {number}: {given[:200]!r} is neither a picture's path nor its bytes in base64") from None


def _bad(sentence: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(sentence)


mlflow.models.set_model(FashionVLModel())
