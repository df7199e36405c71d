"""The parts of the report that are looked at: found and missed, said well and badly, surely wrong."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from fashionvl.catalogue.style import figure
from fashionvl.stages.pages.captioning import best_and_worst, told
from fashionvl.stages.pages.parts import WAYS, absent, note
from fashionvl.stages.pages.recognition import TASKS, surest_mistakes

Look = Callable[[int], str]  # the index of a picture -> its address

CASES = 4  # hits and misses of each direction, good and bad captions
MISTAKES = 8  # of each task
LONGEST = 170  # characters of a text
NOBODY = -1
MORE_STYLE = """
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); gap: .8rem }
.case { display: flex; gap: .8rem; border: 1px solid var(--line); border-radius: 6px; padding: .7rem;
  font-size: .85rem; line-height: 1.4; border-left: 3px solid var(--p2); min-width: 0 }
.case.miss { border-left-color: var(--p1) }
.case > div { min-width: 0; overflow-wrap: anywhere } .case p { margin: 0 0 .4rem }
.case figure { flex: none; width: 84px; font-size: .72rem } .case figure img { height: 100px; width: 84px }
.case .beside { display: flex; gap: .6rem; margin-top: .4rem }
.tall { grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)) }
.tall figure { display: flex; gap: .7rem } .tall figure img { flex: none; width: 84px; height: 112px }
.tall figcaption { min-width: 0 }
.matrix { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px }
.sheet { display: block; width: 860px; height: auto; border: 1px solid var(--line); border-radius: 6px;
  margin-bottom: .8rem }
"""


def found_and_missed(
    ranks: pd.DataFrame | None, texts: Sequence[str], of_picture: Sequence[int] | np.ndarray, look: Look
) -> str:
    """Queries of both directions: those whose answer came first, and those that missed, spread over the split.

    ranks       of the stage `evaluate`; `first`, where it is there, is the best wrong candidate of each query: a
                product (ITR) or a picture (TIR), -1 for none
    texts       of every product
    of_picture  the product of every picture
    """
    if ranks is None:
        return absent("Retrieval was not measured, so there is nothing to look at.")
    protocol = "full" if (ranks["protocol"] == "full").any() else "sampled"
    among = {"full": "the whole split", "sampled": "some hundred candidates"}[protocol]
    shown = ranks[(ranks["protocol"] == protocol) & (ranks["draw"] == 0)]
    parts = [
        note(
            f"Asked among {among}; queries are spread evenly over the split, nobody chose them. Where another of"
            " the same group came first, that counts as right."
        )
    ]
    if "first" not in ranks:
        parts.append(absent("Which wrong answer came first was not kept, so misses show only what was right."))
    for way, called in WAYS.items():
        rows = shown[shown["direction"] == way].drop_duplicates("group")
        hit = rows["rank"] == 1
        cases = [
            _case(row, texts, of_picture, look)
            for part in (rows[hit], rows[~hit])
            for row in spread(part, CASES).to_dict("records")
        ]
        parts.append(f'<h3>{called.capitalize()}</h3><div class="cases">{"".join(cases)}</div>')
    return "".join(parts)


def spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most so many rows, evenly spaced."""
    number = min(count, len(rows))
    return rows.iloc[[at * len(rows) // number for at in range(number)]]


def _case(row: Mapping, texts: Sequence[str], of_picture: Sequence[int] | np.ndarray, look: Look) -> str:
    """One query: what was asked, what is right, and the best of what is wrong."""
    hit, wrong = row["rank"] == 1, int(row.get("first", NOBODY))
    kind = f'<div class="case{"" if hit else " miss"}">'
    right = "<b>Right, and first</b>" if hit else f"<b>Right, at rank {row['rank']:,}</b>"
    place = "Best wrong answer" if hit else "Ranked first instead"
    own = _clip(texts[row["product"]])
    if row["direction"] == "itr":
        other = "" if wrong == NOBODY else f'<p class="quiet">{place}: {_clip(texts[wrong])}</p>'
        asked = figure(look(row["picture"]), "The picture that was asked with", "asked")
        return f"{kind}{asked}<div><p>{right}: {own}</p>{other}</div></div>"
    pictures = figure(look(row["picture"]), f"The right picture: {texts[row['product']][:60]}", right)
    if wrong != NOBODY:
        pictures += figure(look(wrong), f"A wrong picture: {texts[of_picture[wrong]][:60]}", place)
    return f'{kind}<div><p>“{own}”</p><div class="beside">{pictures}</div></div></div>'


def _clip(text: str) -> str:
    return escape(text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …")


def captions(table: pd.DataFrame | None, look: Look) -> str:
    """Captions that share most words with the text of the catalogue, and least."""
    if table is None or table.empty:
        return absent("No captions were made of this split by a fine-tuned system.")
    good, bad = best_and_worst(table, CASES)
    parts = [
        note(
            "By overlap: twice the number of different words that caption and text share, over those of both. It is"
            " simple and only chooses what is shown here."
        )
    ]
    for title, rows in (("Most overlap", good), ("Least overlap", bad)):
        figures = (figure(look(row["picture"]), "What is described", told(row)) for row in rows.to_dict("records"))
        parts.append(f'<h3>{title}</h3><div class="grid tall">{"".join(figures)}</div>')
    return "".join(parts)


def sure_and_wrong(predictions: Mapping[str, pd.DataFrame], look: Look) -> str:
    """The mistakes of recognition that were made with the highest confidence, text and picture together."""
    if not predictions:
        return absent("Recognition was not measured, so there is nothing to look at.")
    parts = [note("Text and picture together. Where the catalogue is wrong itself, it may show here.")]
    for task, title in TASKS.items():
        if task not in predictions:
            continue
        rows = surest_mistakes(predictions[task], MISTAKES).to_dict("records")
        figures = [
            figure(
                look(row["picture"]),
                f"{row['true']}, taken for {row['said_both']}",
                f"<b>{escape(row['true'])}</b><br>said {escape(row['said_both'])}, {row['confidence_both']:.0%} sure",
            )
            for row in rows
        ]
        body = f'<div class="grid">{"".join(figures)}</div>' if figures else note("No mistake was made.")
        parts.append(f"<h3>{title}</h3>{body}")
    return "".join(parts)
