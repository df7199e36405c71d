"""How numbers are said on the report, and the small drawings that several of its parts use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from fashionvl.catalogue.style import Markup, said, table
from fashionvl.stages.pages import published

Metrics = Mapping[str, float]

NONE = Markup("&ndash;")
WAYS = {"itr": "picture → text", "tir": "text → picture"}
MORE_STYLE = """
h3 { font-size: .95rem; margin: 1.4rem 0 .3rem }
small { color: var(--quiet); font-size: .75rem; white-space: nowrap; font-variant-numeric: tabular-nums }
td small, th small { display: block; line-height: 1.2 }
h4 { font-size: .9rem; font-weight: 500; margin: .9rem 0 .2rem }
.tiles em { display: block; font-style: normal; font-size: .8rem }
section { scroll-margin-top: 1rem }
td:first-child { min-width: 7rem }
.lead { font-size: 1.1rem; line-height: 1.55; margin: .8rem 0 1.2rem }
.lead b { font-weight: 600; white-space: nowrap }
nav { margin: 1.2rem 0; color: var(--quiet); line-height: 1.9 }
nav a { margin-right: .9rem; white-space: nowrap }
a { color: var(--p0) }
.range { display: grid; grid-template-columns: minmax(6.5rem, 30%) 1fr 8.5rem; gap: .6rem; align-items: center;
  margin: .3rem 0 }
.range > span { overflow-wrap: anywhere; line-height: 1.25 }
.range > div { position: relative; height: 1rem; background: var(--tile); border-radius: 3px }
.range i { position: absolute; top: calc(50% - 1.5px); height: 3px; background: var(--p0); opacity: .55 }
.range b { position: absolute; top: calc(50% - 4.5px); width: 9px; height: 9px; margin-left: -4.5px;
  border-radius: 50%; background: var(--p0) }
.range u { position: absolute; top: -.3rem; bottom: -.3rem; width: 1px; background: var(--quiet) }
.range em { font-style: normal; font-variant-numeric: tabular-nums }
.range.p1 { background: none } .range.p1 i, .range.p1 b { background: var(--p1) }
.range.unsure b { background: var(--paper); border: 2px solid var(--p0) }
@media (max-width: 34rem) { .range { grid-template-columns: 1fr auto; gap: .1rem .6rem; margin: .6rem 0 }
  .range > div { grid-row: 2; grid-column: 1 / 3 } }
details { margin: .6rem 0 } summary { cursor: pointer; color: var(--quiet) }
pre { overflow-x: auto; background: var(--tile); border-radius: 6px; padding: .7rem .8rem; font-size: .8rem }
"""


@dataclass(frozen=True)
class Row:
    """One system of the tables.

    name   of its folders and of build/metrics/<name>.json
    label  what it is called here
    ours   True for a single-stream system of the table of papers, False for what it is compared with
    """

    name: str
    label: str
    ours: bool


def rows_of(systems: Sequence[str], baselines: Sequence[str], towers: Sequence[str] = ()) -> list[Row]:
    """Every system as it was pre-trained, then fine-tuned for retrieval; then CLIP's family; the baselines last."""
    found = []
    for name in systems:
        found += [Row(name, f"{name}, pre-trained", True), Row(f"{name}-retrieval", f"{name}, fine-tuned", True)]
    found += [Row(name, f"{name}, dual encoder", False) for name in towers]
    return found + [Row(name, name if "baseline" in name else f"{name} (baseline)", False) for name in baselines]


def hundred(value: float, digits: int = 1) -> str:
    """A share in points of a hundred."""
    return f"{100 * value:.{digits}f}"


def ends(low: float, high: float) -> str:
    """The two ends of an interval, both in points of a hundred already."""
    return f"[{low:.1f}, {high:.1f}]"


def cell(metrics: Metrics, key: str) -> Markup:
    """A share in points of a hundred with its 95 % interval below, where there is one; a dash where it is missing."""
    if key not in metrics:
        return NONE
    below = ""
    if f"{key}.low" in metrics:
        below = f"<small>{ends(100 * metrics[f'{key}.low'], 100 * metrics[f'{key}.high'])}</small>"
    return Markup(f"{hundred(metrics[key])}{below}")


def absent(sentence: str) -> str:
    """The one quiet sentence that stands where something was not measured."""
    return f'<p class="quiet absent">{escape(sentence)}</p>'


def note(sentence: str) -> str:
    """A quiet paragraph."""
    return f'<p class="quiet">{escape(sentence)}</p>'


def fold(summary: str, body: str) -> str:
    """Something that is opened by those who want it."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def dots(
    rows: Sequence[tuple[str, float, float, float]],
    scale: tuple[float, float],
    *,
    signed: bool = False,
    second: Sequence[int] = (),
) -> str:
    """Dots with their intervals on one scale, one line each, the numbers beside them.

    rows    label, value, low, high, all in the units of the scale
    signed  True for differences: a line stands at zero, and what holds zero is drawn hollow
    second  the rows drawn in the second colour
    """
    start, stop = scale

    def at(value: float) -> float:
        return min(100.0, max(0.0, 100 * (value - start) / (stop - start)))

    lines = []
    for number, (label, value, low, high) in enumerate(rows):
        kind = "range" + (" p1" if number in second else "") + (" unsure" if signed and low <= 0 <= high else "")
        zero = f'<u style="left:{at(0):.1f}%"></u>' if signed else ""
        bar = (
            f'<i style="left:{at(low):.1f}%;width:{at(high) - at(low):.1f}%"></i><b style="left:{at(value):.1f}%"></b>'
        )
        number_said = f"{value:+.1f}" if signed else f"{value:.1f}"
        lines.append(
            f'<div class="{kind}"><span>{said(label)}</span><div>{zero}{bar}</div>'
            f"<em>{number_said} <small>{signed_ends(low, high) if signed else ends(low, high)}</small></em></div>"
        )
    return f'<div class="ranges">{"".join(lines)}</div>'


def signed_ends(low: float, high: float) -> str:
    """The two ends of the interval of a difference."""
    return f"[{low:+.1f}, {high:+.1f}]"


def published_tables() -> str:
    """All that the paper printed of the tasks measured here, behind one line."""
    ways = [f"{way}.R@{at}" for way in WAYS for at in (1, 5, 10)]
    first = [
        (name, *(f"{cells[key]:.2f}" for key in ways), f"{published.sum_of_recalls(name):.2f}")
        for name, cells in published.RETRIEVAL.items()
    ]
    head = ("Table 2", *(f"{way.upper()} R@{at}" for way in WAYS for at in (1, 5, 10)), "SumR")
    second = []
    for name, cells in published.CAPTIONING.items():
        classes = [f"{x:.2f}" for task in published.RECOGNITION for x in published.RECOGNITION[task][name]]
        captions = [NONE if cells is None else f"{cells[key]:.1f}" for key in published.CAPTIONS]
        second.append((name, *classes, *captions))
    names = ("Table 3", "CR acc.", "CR macro-F", "SUB acc.", "SUB macro-F", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
    both = table(head, first, right=range(1, 8)) + table(names, second, right=range(1, 9))
    return fold("As published: Tables 2 and 3 of the Kaleido-BERT paper, on Fashion-Gen", both)
