"""The part of the report on regions: what some pictures are cut into, and by what."""

from collections.abc import Mapping
from html import escape

from fashionvl.config import Patches
from fashionvl.stages.pages.parts import note


def regions(drawn: Mapping[str, str], rows: Mapping[str, Patches]) -> str:
    """The sheet of each kind of patches with regions.

    drawn  data addresses by the kind
    rows   `patches` of params.yaml
    """
    parts = [
        f"<h3>{escape(kind)}</h3>{note(_said(rows[kind]))}"
        f'<div class="wide"><img class="sheet" src="{source}" alt="Regions of some pictures, {escape(kind)}"></div>'
        for kind, source in drawn.items()
    ]
    return "".join(parts)


def _said(row: Patches) -> str:
    """How regions are found, in a sentence."""
    assert row.regions is not None
    if row.regions.by == "segments":
        return (
            "Found without a detector: the box of the foreground, then parts of one colour; the classes are"
            f" {row.regions.classes} visual words without a meaning of their own (k-means). At most"
            f" {row.regions.most} a picture, the whole of it among them; what stands out most comes first."
        )
    named = "the detector learned here" if row.regions.detector == "scratch" else f"the detector {row.regions.detector}"
    return (
        f"Found by {named}: at most {row.regions.most} a picture, the whole of it among them; what it is surest of"
        " comes first, with the likeliest class."
    )
