"""The part of the report on alignments: how often words point at the right patch, and two products to look at."""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote

from fashionvl.stages.gallery_page import counts, skills
from fashionvl.stages.pages.parts import Metrics, absent


def alignments(kinds: Mapping[str, Metrics], sheets: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """What words point at, for every kind of patches.

    kinds   build/metrics/alignment.json: of the stage `align`
    sheets  by kind: the address of a drawing and the name of its file
    """
    if not kinds:
        return absent("No words were aligned with patches here.")
    parts = []
    for kind, metrics in kinds.items():
        sources = {key.partition(".")[0]: "" for key in metrics}
        folder = f"../alignment/{quote(kind)}"
        drawn = "".join(
            f'<a href="{folder}/pictures/{quote(file)}"><img class="sheet" src="{source}"'
            f' alt="What the words of {escape(file)} point at"></a>'
            for source, file in sheets.get(kind, ())
        )
        parts += [
            f"<h3>{escape(kind)}</h3>{counts(metrics, sources)}{skills(metrics)}",
            f'<div class="wide">{drawn}</div>' if drawn else "",
            f'<p><a href="{folder}/report.html">All pictures, word by word</a></p>',
        ]
    return "".join(parts)
