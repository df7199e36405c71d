"""How pages look: one column, readable on a phone, light or dark as the reader has it, their pictures inside."""

import base64
import io
from collections.abc import Collection, Sequence
from html import escape

from PIL import Image

STYLE = """
:root { color-scheme: light dark; --ink: #22252a; --quiet: #6a7078; --line: #e3e5e8; --paper: #fff; --tile: #f5f6f7;
  --p0: #3f6c8f; --p1: #c98b3c; --p2: #7d9a5b }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --quiet: #9aa1a9; --line: #33373d; --paper: #17191c;
  --tile: #202327; --p0: #6f9fc4; --p1: #d9a35c; --p2: #9cba79 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 56rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem; margin: .5rem 0 }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line) }
ul { padding-left: 1.2rem } li { margin: .3rem 0; overflow-wrap: anywhere }
.quiet { color: var(--quiet); overflow-wrap: anywhere }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem }
.tiles div { background: var(--tile); border-radius: 6px; padding: .6rem .8rem; color: var(--quiet) }
.tiles b { display: block; font-size: 1.4rem; font-weight: 600; color: var(--ink) }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--quiet); font-weight: 500 }
.pale td { color: var(--quiet) }
.number { text-align: right; font-variant-numeric: tabular-nums }
th:not(:first-child):has(+ th), th:last-child { white-space: nowrap }
.bar { display: grid; grid-template-columns: minmax(7rem, 30%) 1fr 4rem; gap: .6rem;
  align-items: center; margin: .15rem 0 }
.bar span { overflow-wrap: anywhere; line-height: 1.25 }
.bar u { display: flex; height: .8rem; text-decoration: none }
.bar em { font-style: normal; text-align: right; color: var(--quiet); font-variant-numeric: tabular-nums }
.p0 { background: var(--p0) } .p1 { background: var(--p1) } .p2 { background: var(--p2) }
.legend { color: var(--quiet) }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 .8rem }
.legend i:first-child { margin-left: 0 }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .8rem }
.grid:has(.pair) { grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem }
figure { margin: 0; font-size: .8rem; line-height: 1.35; color: var(--quiet); overflow-wrap: anywhere }
figure img { display: block; height: 112px; max-width: 100%; object-fit: contain; margin-bottom: .3rem }
figure b { color: var(--ink); font-weight: 500 }
"""


def address(image: Image.Image, *, quality: int) -> str:
    """A picture as the data address of a JPEG, so that a page needs no other file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


class Markup(str):
    """Text that is markup already: it is not escaped again."""


def said(value: object) -> str:
    """A value as markup: Markup as it is, numbers in groups of three digits, everything else escaped."""
    if isinstance(value, Markup):
        return value
    return f"{value:,}" if isinstance(value, (int, float)) else escape(str(value))


def page(title: str, body: str, more_style: str = "") -> str:
    """A whole page; `body` is markup."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}{more_style}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def section(title: str, body: str, anchor: str = "") -> str:
    """A part of a page under its heading; links reach it by `anchor`."""
    name = f' id="{escape(anchor)}"' if anchor else ""
    return f"<section{name}><h2>{escape(title)}</h2>{body}</section>"


def table(
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    right: Collection[int] = (),
    pale: Collection[int] = (),
) -> Markup:
    """A table that scrolls sideways in a box of its own; numbers stand to the right.

    right  columns that hold numbers as text
    pale   rows that stand back
    """
    first = rows[0] if rows else head
    numbers = {at for at, value in enumerate(first) if at in right or isinstance(value, (int, float))}

    def line(tag: str, cells: Sequence[object]) -> str:
        return "".join(
            f"<{tag}{' class=number' if at in numbers else ''}>{said(value)}</{tag}>" for at, value in enumerate(cells)
        )

    body = "".join(
        f"<tr{' class=pale' if at in pale else ''}>{line('td', cells)}</tr>" for at, cells in enumerate(rows)
    )
    return Markup(f'<div class="wide"><table><tr>{line("th", head)}</tr>{body}</table></div>')


def figure(source: str, alt: str, caption: str) -> str:
    """A picture with words below it; `caption` is markup."""
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{caption}</figcaption></figure>'


def thumb(image: Image.Image, side: int) -> str:
    """A small JPEG as a data address, `side` pixels on its longer side at most."""
    image.thumbnail((side, side))
    return address(image, quality=72)
