"""The part of the report on retrieval: both protocols, both directions, every system beside the baseline and chance."""

from collections.abc import Mapping, Sequence
from html import escape

from fashionvl.catalogue.style import Markup, table
from fashionvl.metrics import RANKS, chance_recall
from fashionvl.stages.pages import published
from fashionvl.stages.pages.parts import (
    NONE,
    WAYS,
    Metrics,
    Row,
    absent,
    cell,
    dots,
    fold,
    hundred,
    note,
    published_tables,
    signed_ends,
)

Compared = Mapping[str, Mapping[str, Sequence[float]]]  # "a - b": protocol.direction.R@k: difference, low, high
PROTOCOLS = {"sampled": "Among some hundred candidates", "full": "Among the whole split"}


def retrieval(rows: Sequence[Row], metrics: Mapping[str, Metrics], compared: Compared | None) -> str:
    """Everything that was measured of retrieval.

    metrics   by the name of the system; those that are not there were not measured
    compared  of the stage `compare`: paired differences in points of a hundred, None where it was not run
    """
    measured = [row for row in rows if row.name in metrics]
    if not measured:
        return absent("Retrieval was not measured: no system of params.yaml has been evaluated.")
    lacking = [row.label for row in rows if row.name not in metrics]
    parts = [
        note(
            "Recall at K, in per cent: how often a right answer is among the first K. In brackets the 95 % interval, by"
            " a bootstrap over groups of products. A colour variant of the same group counts as right; ties count"
            " against us. Higher is better."
        ),
        *(absent(f"{label}: not run.") for label in lacking),
        _protocol("sampled", measured, metrics),
        f"{note(published.WARNING)}{published_tables()}",
        _protocol("full", measured, metrics),
        _sums(measured, metrics),
        f"<h3>One against another</h3>{differences(compared)}",
    ]
    return "".join(parts)


def _protocol(protocol: str, rows: Sequence[Row], metrics: Mapping[str, Metrics]) -> str:
    """One protocol: what it asks, R@1 drawn, and all recalls as a table for each direction."""
    title = f"<h3>{PROTOCOLS[protocol]}</h3>"
    rows = [row for row in rows if f"{protocol}.itr.R@1" in metrics[row.name]]
    if not rows:
        return title + absent("Not measured: the split is larger than evaluate.full_gallery_pairs allows.")
    first = metrics[rows[0].name]
    parts = [title, note(_asks(protocol, first))]
    for way, called in WAYS.items():
        key = f"{protocol}.{way}.R@1"
        drawn = [_dot(row, metrics[row.name], key) for row in rows]
        second = [at for at, row in enumerate(rows) if not row.ours]
        lines = [(row.label, *(cell(metrics[row.name], f"{protocol}.{way}.R@{at}") for at in RANKS)) for row in rows]
        lines.append(("chance", *(hundred(_chance(protocol, first, at)) for at in RANKS)))
        if protocol == "sampled":
            cells = published.RETRIEVAL[published.OURS]
            lines.append(
                (f"as published: {published.OURS}, Fashion-Gen", *(f"{cells[f'{way}.R@{at}']:.1f}" for at in RANKS))
            )
        pale = range(len(rows), len(lines))
        caption = f"{called.capitalize()}: the right answer comes first, of 100"
        parts.append(f"<p><b>{caption}</b></p>{dots(drawn, (0, 100), second=second)}")
        head = (called, *(f"R@{at}" for at in RANKS))
        parts.append(table(head, lines, right=range(1, 4), pale=pale))
    return "".join(parts)


def _dot(row: Row, found: Metrics, key: str) -> tuple[str, float, float, float]:
    """A recall and its interval, in points of a hundred."""
    return row.label, 100 * found[key], 100 * found[f"{key}.low"], 100 * found[f"{key}.high"]


def _asks(protocol: str, first: Metrics) -> str:
    """What the protocol asks, in one or two sentences."""
    if protocol == "full":
        return (
            f"Every product of the split is asked for among all {first['full.gallery']:,.0f}; chance is a little higher"
            " than listed where a group has several members."
        )
    return (
        f"{first['sampled.queries']:,.0f} queries in each of the draws, each among {first['sampled.candidates']:,.0f}"
        f" candidates of which one is right; {first['sampled.same_subcategory_share']:.0%} of the wrong ones are of the"
        f" query's own sub-category ({first['sampled.filled_queries_share']:.0%} of the queries were filled up from"
        " others). The lists are the same for every system."
    )


def _chance(protocol: str, first: Metrics, at: int) -> float:
    if protocol == "full":
        return chance_recall(int(first["full.gallery"]), at)
    return min(1.0, at * first["sampled.chance_R@1"])


def _sums(rows: Sequence[Row], metrics: Mapping[str, Metrics]) -> str:
    """SumR of both protocols."""
    lines: list[tuple[object, ...]] = []
    for row in rows:
        sums = [metrics[row.name].get(f"{protocol}.SumR") for protocol in PROTOCOLS]
        lines.append((row.label, *(NONE if value is None else f"{value:.1f}" for value in sums)))
    paper = (f"as published: {published.OURS}, Fashion-Gen", f"{published.sum_of_recalls(published.OURS):.1f}", NONE)
    return "<h3>All six recalls added up (SumR, of 600)</h3>" + table(
        ("system", "some hundred", "whole split"), [*lines, paper], right=(1, 2), pale=[len(lines)]
    )


def differences(compared: Compared | None) -> str:
    """The paired differences: R@1 drawn, and every recall as a table."""
    if not compared:
        return absent("Systems were not compared: the stage `compare` has not run, or there is one system only.")
    drawn: dict[str, list[tuple[str, float, float, float]]] = {pair: [] for pair in compared}
    lines = []
    for pair, found in compared.items():
        for key, (mean, low, high) in found.items():
            protocol, way, recall = key.split(".")
            if recall == f"R@{RANKS[0]}":
                drawn[pair].append((f"{WAYS[way]}, {_short(protocol)}", mean, low, high))
            clear = "first" if low > 0 else "second" if high < 0 else "not clear"
            number = Markup(f"{mean:+.1f} <small>{signed_ends(low, high)}</small>")
            lines.append((pair, _short(protocol), WAYS[way], recall, number, clear))
    reach = max([1.0, *(abs(end) for rows in drawn.values() for _, _, low, high in rows for end in (low, high))])
    charts = [
        f"<h4>{escape(pair)}</h4>{dots(rows, (-reach, reach), signed=True)}" for pair, rows in drawn.items() if rows
    ]
    head = ("first - second", "among", "", "", "difference", "better")
    return (
        note(
            "The first minus the second, on the very same lists, in points of a hundred: right of the line the first is"
            " better, left of it the second. Hollow: the 95 % interval holds zero, so the sign is not clear. Drawn"
            " is R@1 alone."
        )
        + "".join(charts)
        + fold("All differences, R@1, R@5 and R@10", table(head, lines, right=(4,)))
    )


def _short(protocol: str) -> str:
    return {"sampled": "some hundred", "full": "whole split"}[protocol]
