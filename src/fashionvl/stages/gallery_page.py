"""The report of an alignment as one page that needs nothing else: numbers, then the gallery, word by word."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from fashionvl.catalogue.style import address, figure, page, section, table
from fashionvl.stages.gallery import LEVELS, Pointed, Shown, tile

MORE_STYLE = """
.words { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem .8rem;
  margin: .6rem 0 }
.words img, .photo img { width: 100%; height: auto; border-radius: 4px }
.photo { display: grid; grid-template-columns: minmax(6rem, 9rem) 1fr; gap: 1rem; margin: .6rem 0 }
.photo p { margin: 0 0 .5rem; overflow-wrap: anywhere }
figcaption b { font-size: .95rem }
mark { background: none; color: inherit; font-weight: 600; border-bottom: 2px solid var(--p1) }
h3 { font-size: .95rem; font-weight: 500; color: var(--quiet); margin: 1rem 0 .2rem }
.key i { display: inline-block; width: .9rem; height: .9rem; margin: 0 .35rem -.1rem 0 }
.key span { display: inline-block; margin-right: .9rem }
"""


def write_page(
    path: Path, kind: str, metrics: Mapping[str, float], shown: Sequence[Shown], names: Mapping[str, str]
) -> None:
    """Write the report.

    metrics  of the stage `align`: "<source>.<name>", and where the truth is known "<source>.<side>x<side>.<name>"
    names    how each source is called in a headline
    """
    parts = [counts(metrics, names), section("Hits", skills(metrics)), *(_picture(each, names) for each in shown)]
    if shown:
        parts.insert(2, section("Where words point", _key(shown)))
    text = page(f"What words point at: {kind}", "".join(parts), MORE_STYLE)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def counts(metrics: Mapping[str, float], names: Mapping[str, str]) -> str:
    """How much is aligned at all, by source."""
    rows = [
        (
            source,
            f"{metrics[f'{source}.pairs']:,.0f}",
            f"{metrics[f'{source}.words_per_picture']:.1f}",
            f"{metrics[f'{source}.products_with_any_share']:.0%}",
        )
        for source in names
    ]
    note = (
        '<p class="quiet">Words that are aligned with patches. caption: what the captioner says and the text holds;'
        " teacher: every word of the text, which the captioner is told.</p>"
    )
    return note + table(("source", "pairs", "words a picture", "products"), rows, right=range(1, 4))


def skills(metrics: Mapping[str, float]) -> str:
    """Hits beside those of random patches, where the truth is known."""
    rows = []
    for key in metrics:
        source, _, rest = key.partition(".")
        grid, _, what = rest.partition(".")
        if what == "hit":
            values = (metrics.get(f"{source}.{grid}.{name}") for name in ("hit", "random", "skill"))
            said = [("" if value is None else f"{100 * value:.1f}") for value in values]
            rows.append((source, grid, f"{metrics[f'{source}.{grid}.judged']:,.0f}", *said))
    if not rows:
        return (
            '<p class="quiet">This catalogue does not say which part of a picture a word means: nothing is judged.</p>'
        )
    note = (
        "Percent of the judged pairs whose patch overlaps the true box of the word, over words whose part covers less"
        " than 15 % of the picture. Random: the same of a patch drawn uniformly from the grid. Skill: (hit - random) /"
        " (100 - random)."
    )
    head = ("source", "grid", "judged", "hit", "random", "skill")
    return f'{table(head, rows, right=range(1, 6))}<p class="quiet">{escape(note)}</p>'


def _key(shown: Sequence[Shown]) -> str:
    pointed = [word for each in shown for row in each.rows for word in row.pointed]
    sides = [side for side, _ in max((word.patches for word in pointed), key=len, default=())]
    keys = [
        f'<i style="border: 3px solid {LEVELS[min(at, len(LEVELS) - 1)]}"></i>patch of {side} x {side}'
        for at, side in enumerate(sides)
    ]
    if any(word.truth for word in pointed):
        keys.append('<i style="border: 2px dashed currentColor"></i>true box')
    keys.append("<mark>underlined</mark> words are drawn below the text")
    keys.insert(-1, '<i style="background: linear-gradient(90deg, #ffb000, #d6002f)"></i>where the captioner looked')
    return f'<p class="quiet key">{" ".join(f"<span>{key}</span>" for key in keys)}</p>'


def _picture(shown: Shown, names: Mapping[str, str]) -> str:
    """One product: the photograph, its text with the aligned words marked, and a tile a word for each source."""
    photo = shown.image.copy()
    photo.thumbnail((300, 300))
    aligned = {word.text for row in shown.rows for word in row.pointed}
    text = " ".join(f"<mark>{escape(word)}</mark>" if word in aligned else escape(word) for word in shown.text)
    source = address(photo, quality=80)
    intro = (
        f'<div class="photo"><img src="{source}" alt="Photograph of {escape(shown.title, quote=True)}">'
        f'<div><p>{text}</p><p class="quiet">{escape(shown.name)}, {escape(shown.split)}</p></div></div>'
    )
    rows = "".join(
        f"<h3>{escape(names[row.source])}: {escape(' '.join(row.said))}</h3>"
        f'<div class="words">{"".join(_figure(shown, word) for word in row.pointed)}</div>'
        for row in shown.rows
    )
    return section(shown.title, intro + rows)


def _figure(shown: Shown, word: Pointed) -> str:
    chosen = ", ".join(f"{side} x {side}" for side, _ in word.patches)
    alt = f"Where the captioner looks for {word.text} on {shown.title}, and the chosen patches of {chosen}"
    hit = f"<br>{len(word.hits())} of {len(word.patches)} patches hit" if word.truth else ""
    return figure(address(tile(shown.image, word), quality=80), alt, f"<b>{escape(word.text)}</b>{hit}")
