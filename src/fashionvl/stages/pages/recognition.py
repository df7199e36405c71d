"""The part of the report on category and sub-category recognition: picture alone, text alone, both."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from fashionvl.catalogue.style import Markup, table
from fashionvl.metrics import sum_of_recognition
from fashionvl.stages.pages import published
from fashionvl.stages.pages.parts import NONE, Metrics, absent, cell, fold, hundred, note

TASKS = {"category": "Category", "sub_category": "Sub-category"}
COLUMNS = {"image": "picture only", "text": "text only", "both": "both"}
YARDSTICKS = {
    "majority": "the most common class",
    "tfidf": "TF-IDF, linear (text)",
    "pixels": "5 neighbours (12 x 16 pixels)",
}
SCORES = {
    "accuracy": "accuracy",
    "macro_f_all": Markup("macro-F<small>all classes</small>"),
    "macro_f_present": Markup("macro-F<small>present</small>"),
}
CONFUSIONS = 10  # listed


def recognition(
    system: str,
    metrics: Mapping[str, Metrics],
    yardsticks: Metrics | None,
    predictions: Mapping[str, pd.DataFrame],
    confusions: Mapping[str, str],
) -> str:
    """Both tasks of one system.

    metrics      by task; those that are not there were not run
    yardsticks   build/metrics/yardsticks.json, None where it was not made
    predictions  by task: what `examine` said, columns true, said_<c>, confidence_<c>
    confusions   by task: the address of a picture of the confusion matrix
    """
    parts = [
        note(
            "The text often names the class (“jeans”), so text and picture together prove little: the picture alone is"
            " the test. In per cent, with the 95 % interval over groups. Macro-F is the mean of F over classes, each"
            " counting alike: over all classes, those of training too (as the paper has it), and over those that the"
            " measured split holds."
        )
    ]
    for task, title in TASKS.items():
        parts.append(f"<h3>{title}</h3>")
        if task not in metrics:
            parts.append(absent(f"{system} has not been fine-tuned for this task."))
            continue
        parts += [_scores(system, task, metrics[task], yardsticks), _calibration(metrics[task])]
        if task in predictions:
            parts.append(confused(predictions[task]))
        if task in confusions:
            picture = f'<img class="matrix" src="{confusions[task]}" alt="Confusion matrix of {title.lower()}">'
            parts.append(fold("The confusion matrix: true classes down, said classes across", picture))
    parts.append(_sum(system, metrics))
    return "".join(parts)


def _scores(system: str, task: str, metrics: Metrics, yardsticks: Metrics | None) -> str:
    """Three columns of the model, three yardsticks, the paper."""
    rows: list[tuple[object, ...]] = [
        (f"{system}, {called}", *(cell(metrics, f"{column}.{score}") for score in SCORES))
        for column, called in COLUMNS.items()
    ]
    for name, called in YARDSTICKS.items() if yardsticks else ():
        rows.append((called, *(cell(yardsticks or {}, f"{task}.{name}.{score}") for score in SCORES)))
    accuracy, macro = published.RECOGNITION[task][published.OURS]
    rows.append((f"as published: {published.OURS}, Fashion-Gen", f"{accuracy:.1f}", f"{macro:.1f}", NONE))
    missing = "" if yardsticks else absent("The yardsticks were not measured.")
    return table(("", *SCORES.values()), rows, right=range(1, 4), pale=range(3, len(rows))) + missing


def _calibration(metrics: Metrics) -> str:
    """How far confidence is from being right, before and after its temperature."""
    rows = [
        (
            called,
            hundred(metrics[f"{column}.calibration_error_raw"]),
            hundred(metrics[f"{column}.calibration_error"]),
            f"{metrics[f'{column}.temperature']:.2f}",
        )
        for column, called in COLUMNS.items()
        if f"{column}.calibration_error" in metrics
    ]
    if not rows:
        return absent("Calibration was not measured.")
    said = "How far confidence is from the share that is right, in points, before and after its temperature is set:"
    return note(said) + table(("calibration error", "before", "after", "temperature"), rows, right=range(1, 4))


def confused(predictions: pd.DataFrame) -> str:
    """The commonest mistakes of text and picture together, and of the picture alone beside them."""
    wrong = predictions[predictions["true"] != predictions["said_both"]]
    if wrong.empty:
        return note("No mistake was made with text and picture.")
    counts = wrong.groupby(["true", "said_both"]).size().sort_values(ascending=False, kind="stable")
    of_class = predictions["true"].value_counts()
    alone = predictions.groupby(["true", "said_image"]).size()
    rows = [
        (true, said, count, int(of_class[true]), int(alone.get((true, said), 0)))
        for true, said, count in counts.head(CONFUSIONS).reset_index(name="count").itertuples(index=False)
    ]
    lead = f"The commonest of {len(wrong):,} mistakes on {len(predictions):,} pictures, text and picture together:"
    return note(lead) + table(("it is", "it said", "times", "of", Markup("<small>picture<br>only</small>")), rows)


def _sum(system: str, metrics: Mapping[str, Metrics]) -> str:
    """SumCLS, where both tasks were run."""
    if any(task not in metrics for task in TASKS):
        return ""
    scores = ("accuracy", "macro_f_all")
    ours = sum_of_recognition({task: {score: metrics[task][f"both.{score}"] for score in scores} for task in TASKS})
    paper = published.sum_of_classes(published.OURS)
    text = f"{system} {ours:.1f}; as published, {published.OURS} on Fashion-Gen {paper:.1f}."
    return f"<h3>Both tasks added up (SumCLS, of 400)</h3><p>{escape(text)}</p>"


def surest_mistakes(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The wrong answers of text and picture with the highest confidence, at most one a group."""
    wrong = predictions[predictions["true"] != predictions["said_both"]]
    ranked = wrong.sort_values(["confidence_both", "product"], ascending=[False, True], kind="stable")
    return ranked.drop_duplicates("group").head(count)
