"""The head of the report: what this is, in words that need no table, and the data it stands on."""

from collections.abc import Mapping, Sequence
from html import escape

from fashionvl.catalogue.product import SPLITS
from fashionvl.catalogue.style import table
from fashionvl.stages.pages.parts import Metrics, Row, note
from fashionvl.stages.pages.recognition import TASKS


def best_row(rows: Sequence[Row], metrics: Mapping[str, Metrics]) -> Row | None:
    """The system that the headline speaks of: the first of our rows, fine-tuned where it was; None without any."""
    ours = [row for row in rows if row.ours and row.name in metrics]
    first = ours[0].name.removesuffix("-retrieval") if ours else ""
    return next((row for row in reversed(ours) if row.name in (first, f"{first}-retrieval")), None)


def opening(
    rows: Sequence[Row], metrics: Mapping[str, Metrics], recognised: Mapping[str, Metrics], facts: Metrics, split: str
) -> str:
    """Two sentences and the headline numbers.

    metrics     of retrieval, by the name of the system
    recognised  of recognition, by task
    facts       build/metrics/catalogue.json
    """
    first = (
        f"A model has read the pictures and texts of {facts['products_train']:,} products of this catalogue and learned"
        " which belong together."
    )
    row = best_row(rows, metrics)
    if row is None:
        return f'<p class="lead">{escape(first)} Nothing has been measured yet.</p>'
    second = _headline(metrics[row.name], row.name)
    other = next((each for each in rows if not each.ours and each.name in metrics), None)
    held = {} if other is None else {other.label: metrics[other.name]}
    tiles = _tiles(metrics[row.name], held, recognised)
    quiet = (
        f"On the {facts[f'products_{split}']:,} products of the {split} split. Below stands how sure each number is."
    )
    return f'<p class="lead">{escape(first)} {second}</p><div class="tiles">{tiles}</div>{note(quiet)}'


def _headline(found: Metrics, name: str) -> str:
    """How often the right one comes first, of 100, in one sentence."""
    protocol = "full" if "full.tir.R@1" in found else "sampled"
    many = found["full.gallery"] if protocol == "full" else found["sampled.candidates"]
    to_picture, to_text = (round(100 * found[f"{protocol}.{way}.R@1"]) for way in ("tir", "itr"))
    in_ten = round(100 * found[f"{protocol}.tir.R@10"])
    return (
        f"Of 100 texts it has never seen, the right picture among {many:,.0f} comes first for <b>{to_picture}</b> and"
        f" is among the first ten for <b>{in_ten}</b>; of 100 pictures, the right text comes first for"
        f" <b>{to_text}</b> ({escape(name)})."
    )


def _tiles(found: Metrics, held: Mapping[str, Metrics], recognised: Mapping[str, Metrics]) -> str:
    """The headline numbers as tiles; below each, small, what it is held against."""
    tiles = []
    for protocol, among in (("full", "whole split"), ("sampled", "some hundred")):
        for way, called in (("tir", "picture of a text first"), ("itr", "text of a picture first")):
            key = f"{protocol}.{way}.R@1"
            if key in found:
                below = [f"{label}: {100 * other[key]:.0f}" for label, other in held.items() if key in other]
                tiles.append((f"{100 * found[key]:.0f}", f"of 100: {called}, {among}", ", ".join(below)))
    for task, title in TASKS.items():
        if task in recognised:
            both, image = (100 * recognised[task][f"{column}.accuracy"] for column in ("both", "image"))
            tiles.append((f"{both:.0f}", f"of 100: {title.lower()} recognised", f"by the picture alone: {image:.0f}"))
    return "".join(
        f"<div><b>{number}</b>{escape(called)}<em>{escape(below)}</em></div>" for number, called, below in tiles
    )


def data(facts: Metrics) -> str:
    """The catalogue in one table, what to beware of, and where more is said."""
    rows = [(split, facts[f"products_{split}"], facts[f"pictures_{split}"]) for split in SPLITS]
    rows.append(("all", facts["products"], facts["pictures"]))
    said = (
        f"{facts['rows']:,} rows came in and {facts['rows_set_aside']:,} were set aside; {facts['groups']:,} groups of"
        f" products, {facts['category_classes']} categories, {facts['sub_category_classes']} sub-categories,"
        f" {facts['words_mean']:.0f} words a text. No group is in two splits;"
        f" {facts['near_duplicates_of_test_in_train']:,} test pictures have a near duplicate in train, and"
        f" {facts['sub_category_classes_unseen_in_training']} sub-categories are not in train at all."
    )
    link = (
        '<p><a href="../catalogue/report.html">The data report</a> shows broken rows, copies, leaks and pictures.</p>'
    )
    return table(("split", "products", "pictures"), rows) + f"<p>{escape(said)}</p>{link}"


def contents(sections: Mapping[str, str]) -> str:
    """The headings as links; by anchor."""
    links = "".join(f'<a href="#{escape(anchor)}">{escape(title)}</a> ' for anchor, title in sections.items())
    return f"<nav>{links}</nav>"
