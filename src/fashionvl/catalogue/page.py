"""The data report as one page that needs nothing else: numbers, bars, tables and a few small pictures."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.product import SPLITS, Catalogue
from fashionvl.catalogue.rules import Rejection
from fashionvl.catalogue.style import figure, page, section, table, thumb

SAMPLE = 24  # pictures shown
PAIRS = 6  # near duplicates shown
SHOWN = 100  # classes and rows of a table
THUMB = 112  # pixels of the longer side


def write_page(
    path: Path, facts: dict[str, Any], catalogue: Catalogue, rejected: Sequence[Rejection], max_megapixels: float
) -> None:
    """Write the report.

    facts           what `survey` found
    rejected        the rows set aside, the first of which are shown
    max_megapixels  as for the picture door
    """
    parts = [
        _headline(facts),
        section("Remarks", _list(facts["remarks"]) if facts["remarks"] else "<p>Nothing stands out.</p>"),
        section("Splits", _split_table(facts)),
        section("Rows set aside", _rules(facts["set_aside"], "Every row was accepted.") + _examples(rejected)),
        section("Rows repaired", _rules(facts["repaired"], "No row needed a repair.")),
        section("Categories", _classes(facts["classes"]["category"])),
        section("Sub-categories", _classes(facts["classes"]["sub_category"])),
        section("Length of the texts, in words", _lengths(facts)),
        section("Copies and leaks", _copies(facts)),
        section("Foreground", _foreground(facts)),
        section("Nearly the same pictures", _pairs(facts, catalogue, max_megapixels)),
        section("Sample", _sample(catalogue, max_megapixels)),
    ]
    path.write_text(page("Data report", "".join(parts)), encoding="utf-8", errors="backslashreplace")


def _headline(facts: dict[str, Any]) -> str:
    source = facts["source"]
    tiles = (
        ("products", facts["products"]),
        ("pictures", facts["pictures"]),
        ("groups", facts["groups"]),
        ("rows set aside", facts["rows_set_aside"]),
    )
    columns = ", ".join(f"{ours} from {theirs}" for ours, theirs in source["columns"].items() if ours != theirs)
    said = [f"{facts['rows']:,} rows of {', '.join(source['files'])} ({source['kind']})."]
    said += [f"Read: {columns}."] if columns else []
    said += [f"Not read: {', '.join(source['ignored_columns'])}."] if source["ignored_columns"] else []
    boxes = "".join(f"<div><b>{value:,}</b>{escape(name)}</div>" for name, value in tiles)
    return f'<p class="quiet">{escape(" ".join(said))}</p><div class="tiles">{boxes}</div>'


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _split_table(facts: dict[str, Any]) -> str:
    rows = [(split, facts[f"products_{split}"], facts[f"pictures_{split}"]) for split in SPLITS]
    return table(("split", "products", "pictures"), rows)


def _rules(counts: dict[str, int], none: str) -> str:
    if not counts:
        return f"<p>{escape(none)}</p>"
    return _bars([(rule, (count,)) for rule, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))])


def _bars(rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Horizontal bars of one or several parts, all on one scale."""
    longest = max((sum(parts) for _, parts in rows), default=0) or 1
    lines = []
    for name, parts in rows:
        pieces = "".join(
            f'<i class="p{at}" style="width:{100 * part / longest:.2f}%"></i>' for at, part in enumerate(parts) if part
        )
        numbers = f"{sum(parts):,}"
        lines.append(f'<div class="bar"><span>{escape(name)}</span><u>{pieces}</u><em>{numbers}</em></div>')
    return f'<div class="bars">{"".join(lines)}</div>'


def _classes(table: Sequence[dict[str, Any]]) -> str:
    if not table:
        return "<p>The catalogue names none.</p>"
    legend = "".join(f'<i class="p{at}"></i>{split} ' for at, split in enumerate(SPLITS))
    bars = _bars([(row["name"], [row[split] for split in SPLITS]) for row in table[:SHOWN]])
    rest = f"<p>and {len(table) - SHOWN} more</p>" if len(table) > SHOWN else ""
    return f'<p class="legend">{legend}</p>{bars}{rest}'


def _lengths(facts: dict[str, Any]) -> str:
    said = (
        f"mean {facts['words_mean']}, median {facts['words_median']}, 95% below {facts['words_p95'] + 1}, "
        f"longest {facts['words_max']}; {facts['texts_different']:,} different texts"
    )
    bars = _bars(
        [
            (f"{start} to {stop - 1}" if stop - start > 1 else f"{start}", (n,))
            for start, stop, n in facts["text_lengths"]
        ]
    )
    return f"<p>{escape(said)}</p>{bars}"


def _foreground(facts: dict[str, Any]) -> str:
    said = (
        f"On {facts['foreground_looked_at']} pictures, what differs in colour from the border was found on "
        f"{facts['foreground_found_share']:.0%}; its box covers {facts['foreground_box_share']:.0%} of the picture, "
        f"its mean distance from the background is {facts['foreground_contrast']:.0f} (CIE76; below 15 it is faint)."
    )
    return f"<p>{escape(said)}</p>"


def _copies(facts: dict[str, Any]) -> str:
    rows: list[tuple[str, int]] = [
        ("pictures whose file stands in the catalogue before", facts["exact_duplicate_pictures"]),
        ("pictures that have a near duplicate", facts["near_duplicate_pictures"]),
    ]
    for split in ("val", "test"):
        rows += [
            (f"texts of {split} that stand in train too", facts[f"texts_of_{split}_in_train"]),
            (f"picture files of {split} that stand in train too", facts[f"pictures_of_{split}_in_train"]),
            (f"pictures of {split} with a near duplicate in train", facts[f"near_duplicates_of_{split}_in_train"]),
        ]
    return table(("what", "count"), rows)


def _examples(rejected: Sequence[Rejection]) -> str:
    if not rejected:
        return ""
    rows = [(f"{one.row}", one.product_id, one.field, one.reason, one.value[:80]) for one in rejected[:20]]
    more = f'<p class="quiet">The first {len(rows)} of {len(rejected):,}; all stand in rejected.csv.</p>'
    return table(("row", "product", "field", "reason", "value"), rows) + more


def _pairs(facts: dict[str, Any], catalogue: Catalogue, max_megapixels: float) -> str:
    pairs = facts["near_duplicate_examples"][:PAIRS]
    if not pairs:
        return "<p>None found.</p>"
    figures = "".join(
        f'<div class="pair">{"".join(_figure(catalogue, at, max_megapixels) for at in pair)}</div>' for pair in pairs
    )
    return f'<div class="grid">{figures}</div>'


def _sample(catalogue: Catalogue, max_megapixels: float) -> str:
    count = len(catalogue.pictures)
    chosen = sorted({at * count // min(SAMPLE, count) for at in range(min(SAMPLE, count))})
    return f'<div class="grid">{"".join(_figure(catalogue, at, max_megapixels) for at in chosen)}</div>'


def _figure(catalogue: Catalogue, at: int, max_megapixels: float) -> str:
    picture = catalogue.pictures.iloc[at]
    product = catalogue.products.iloc[picture["product"]]
    image = open_rgb(catalogue.root, picture["path"], max_megapixels=max_megapixels)
    title = product["title"] or product["description"][:60]
    caption = f"<b>{escape(title)}</b><br>{escape(product['product_id'])}, {product['split']}"
    return figure(thumb(image, THUMB), title, caption)
