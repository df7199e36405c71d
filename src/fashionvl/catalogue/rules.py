"""The rules a row of a catalogue is repaired or set aside by; each has a name that it is counted under."""

import ast
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fashionvl.catalogue.product import SPLITS

LONGEST_ID = 200  # characters
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("testing",), "test"),
}
FIELDS = (
    "product_id",
    "image_path",
    "title",
    "description",
    "category",
    "sub_category",
    "attributes",
    "split",
    "group_id",
    "view",
)

_ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that was not UTF-8, as `surrogateescape` leaves it
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\ufeff\ud800-\udfff]")
_SPACES = re.compile(r"\s+")
_UNTIDY = re.compile("[^ -~\u00a1-\ud7ff]|[&<]|  |^ | $")  # where this finds nothing, no rule has anything to do


@dataclass(frozen=True)
class RawRow:
    """One row as its source holds it.

    number      1 for the first row below the header
    cells       every name of FIELDS; empty where the source has no such column
    attributes  what `catalogue.columns` brings in as `attributes.x`
    fault       why the row cannot be read at all, else empty; `cells` then holds what stands there
    """

    number: int
    cells: Mapping[str, str]
    attributes: Mapping[str, str]
    fault: str = ""


@dataclass(frozen=True)
class Rejection:
    """Why one row was set aside: a line of rejected.csv. `field` is a column, `picture` or `row`."""

    row: int
    product_id: str
    field: str
    rule: str
    reason: str
    value: str


@dataclass(frozen=True)
class CleanRow:
    """A row after the rules: tidy texts, attributes as JSON, and the names of the repairs."""

    number: int
    cells: dict[str, str]
    repairs: frozenset[str]


def clean_row(raw: RawRow) -> CleanRow | Rejection:
    """Apply every rule that needs one row only."""
    if raw.fault:
        return Rejection(raw.number, "", "row", "row cannot be read", raw.fault, " ".join(raw.cells.values()))
    cells, repairs = {}, set()
    for name in FIELDS:
        if name not in ("attributes", "image_path"):
            cells[name], rules = tidy(raw.cells[name])
            repairs.update(rules)
    cells["image_path"], rules = read_bytes(raw.cells["image_path"].strip())
    repairs.update(rules)
    cells["attributes"], rules = read_attributes(raw.cells["attributes"], raw.attributes)
    repairs.update(rules)

    product = cells["product_id"]
    if not product or product in (".", "..") or len(product) > LONGEST_ID:
        rule = "unusable product id" if product else "no product id"
        reason = f"a product id has 1 to {LONGEST_ID} characters and is not a dot"
        return Rejection(raw.number, product, "product_id", rule, reason, raw.cells["product_id"])
    cells["product_id"] = product.replace("/", "%2F").replace("\\", "%5C")
    if cells["product_id"] != product:
        repairs.add("path separator in a product id written as %2F or %5C")
    if not cells["image_path"]:
        return Rejection(raw.number, product, "picture", "no picture", "no picture is named", raw.cells["image_path"])

    split = cells["split"].lower()
    if split and split not in SPLIT_NAMES:
        reason = f"a split is one of {', '.join(SPLITS)}; `catalogue.columns: {{split: ''}}` ignores the column"
        return Rejection(raw.number, product, "split", "unknown split", reason, raw.cells["split"])
    if split != cells["split"] or SPLIT_NAMES.get(split, "") != split:
        repairs.add("split name translated")
    cells["split"] = SPLIT_NAMES.get(split, "")
    return CleanRow(raw.number, cells, frozenset(repairs))


def tidy(text: str) -> tuple[str, list[str]]:
    """One line of clean text, and the names of the rules that changed it."""
    if not _UNTIDY.search(text):
        return text, []
    text, rules = read_bytes(text)
    for name, change in _TEXT_RULES:
        changed = change(text)
        if changed != text:
            rules.append(name)
            text = changed
    return text, rules


def read_bytes(text: str) -> tuple[str, list[str]]:
    """The text with the bytes that were not UTF-8 read as cp1252, and the rule if it applied."""
    if not _ESCAPED.search(text):
        return text, []
    return _ESCAPED.sub(lambda found: _windows(ord(found.group()) - 0xDC00), text), [
        "byte that is not UTF-8 read as cp1252"
    ]


def _windows(byte: int) -> str:
    """The character of a byte in cp1252, or in latin-1 for the five bytes that cp1252 leaves open."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return bytes([byte]).decode("latin-1")


_TEXT_RULES = (
    ("HTML entity decoded", html.unescape),
    ("HTML tag removed", lambda text: _TAG.sub(" ", text)),
    ("control character removed", lambda text: _CONTROL.sub("", text)),
    ("white space tidied", lambda text: _SPACES.sub(" ", text).strip()),
)


def read_attributes(text: str, extra: Mapping[str, str]) -> tuple[str, list[str]]:
    """Attributes as a JSON object of texts with sorted keys ("" where there are none), and the rules applied.

    text   a JSON object; a Python dict is understood, anything else is left out
    extra  attributes from columns of their own; they win over `text`
    """
    found, rules = _parse(text) if text.strip() not in ("", "{}") else ({}, [])
    pairs, repairs = {}, set(rules)
    for key, value in [*found.items(), *extra.items()]:
        (name, of_name), (words, of_words) = tidy(str(key)), tidy(_as_text(value))
        repairs.update(of_name + of_words)
        if name and words:
            pairs[name] = words
    return json.dumps(pairs, ensure_ascii=False, sort_keys=True) if pairs else "", sorted(repairs)


def _parse(text: str) -> tuple[dict, list[str]]:
    try:
        value, rules = json.loads(text), []
    except (ValueError, RecursionError):
        try:
            value, rules = ast.literal_eval(text.strip()), ["attributes read as a Python dict"]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value, rules = None, []
    return (value, rules) if isinstance(value, dict) else ({}, ["attributes that are not a JSON object left out"])


def _as_text(value: object) -> str:
    if value is None or value != value:  # null and not-a-number say nothing
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_as_text, value)))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    return str(value)
