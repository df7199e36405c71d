"""How pages look: one column, readable on a phone, light or dark as the reader has it, their pictures inside."""

import base64
import io

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
