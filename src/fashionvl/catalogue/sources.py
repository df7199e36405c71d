"""Where a catalogue comes from: a CSV or parquet file, Fashion-Gen's HDF5 files, or a saved Hugging Face dataset.

Every reader yields the rows of its source as texts; which column means what is said by `catalogue.columns`.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fashionvl.catalogue import containers
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.rules import FIELDS, SPLIT_NAMES, RawRow

MANDATORY = ("product_id", "image_path")
LONGEST_CELL = 1_000_000  # characters
ROWS_AT_ONCE = 1024
TABLES = (".csv", ".tsv", ".parquet")
HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True)
class Source:
    """One catalogue on disk: `kind` is csv, parquet, hdf5 or dataset; paths of pictures are relative to `root`."""

    kind: str
    files: tuple[Path, ...]
    root: Path


@dataclass(frozen=True)
class Unreadable:
    """A row that cannot be read: why, and what stands there."""

    reason: str
    value: str


@dataclass(frozen=True)
class Table:
    """What a reader hands on.

    columns   as the source names them
    rows      one list of texts a row, in the order of `columns`
    defaults  ours: theirs, where the layout of the source is known
    """

    columns: list[str]
    rows: Iterator[list[str] | Unreadable]
    defaults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """An opened source: the rows still to be read, and the columns that nobody asked for."""

    source: Source
    columns: dict[str, str]  # ours: theirs, those that are read
    ignored: list[str]
    rows: Iterator[RawRow]


def find_source(path: Path) -> Source:
    """The one catalogue at `path`: a file, a saved dataset, or a folder that holds exactly one of either."""
    if path.is_file():
        return Source(_kind(path), (path,), path.parent)
    if not path.is_dir():
        raise Problem(f"{path} does not exist; it should be a catalogue file or a folder that holds one")
    if containers.is_saved_dataset(path):
        return Source("dataset", (path,), path)
    entries = sorted(path.iterdir())
    named = [entry for entry in entries if entry.name in ("catalogue.csv", "catalogue.parquet") and entry.is_file()]
    tables = named or [entry for entry in entries if entry.suffix.lower() in TABLES and entry.is_file()]
    found = [Source(_kind(table), (table,), path) for table in tables]
    found += [Source("dataset", (entry,), path) for entry in entries if containers.is_saved_dataset(entry)]
    files = tuple(entry for entry in entries if entry.suffix.lower() in HDF5 and entry.is_file())
    found += [Source("hdf5", files, path)] if files else []
    if len(found) == 1:
        return found[0]
    what = "none" if not found else " and ".join(", ".join(file.name for file in source.files) for source in found)
    raise Problem(
        f"{path} should hold exactly one of catalogue.csv, catalogue.parquet, Fashion-Gen *.h5 files or a saved "
        f"dataset folder; there is {what}"
    )


def _kind(file: Path) -> str:
    kinds = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".h5": "hdf5", ".hdf5": "hdf5"}
    if file.suffix.lower() not in kinds:
        raise Problem(f"{file} is no catalogue; one ends in {', '.join(kinds)} or is a folder")
    return kinds[file.suffix.lower()]


def open_source(source: Source, columns: Mapping[str, str]) -> Reading:
    """Start reading; raises Problem if the columns do not fit (see `choose_columns`)."""
    table = _READERS[source.kind](source)
    chosen = choose_columns(table, columns, ", ".join(file.name for file in source.files))
    used = set(chosen.values())
    return Reading(
        source, chosen, [name for name in table.columns if name and name not in used], _raw_rows(table, chosen)
    )


def choose_columns(table: Table, wanted: Mapping[str, str], where: str) -> dict[str, str]:
    """Which column is which.

    wanted  ours: theirs, e.g. {"product_id": "sku", "attributes.colour": "color_name"}; an empty name ignores a column
    ->      ours: theirs, for every column that is there

    Without a group a product is its own group, without a view a picture is "main", without a split one is drawn by
    group; category, sub-category and attributes are empty where they are missing. Raises Problem for an unknown name of
    ours, for a named column that is not there, and for a missing product id or picture.
    """
    seen = f"the columns of {where} are {', '.join(name for name in table.columns if name) or 'none'}"
    for ours, theirs in wanted.items():
        if ours not in FIELDS and not (ours.startswith("attributes.") and ours != "attributes."):
            allowed = f"{', '.join(FIELDS)} or attributes.NAME"
            raise Problem(f"catalogue.columns in params.yaml names {ours!r}, which is none of {allowed}")
        if theirs and theirs not in table.columns:
            raise Problem(f"catalogue.columns maps {ours} to a column {theirs!r}, which is not there; {seen}")
    doubled = sorted({name for name in table.columns if name and table.columns.count(name) > 1})
    if doubled:
        raise Problem(f"the column {doubled[0]!r} stands twice; {seen}")
    known = {name: name for name in FIELDS} | dict(table.defaults) | dict(wanted)
    chosen = {ours: theirs for ours, theirs in known.items() if theirs and theirs in table.columns}
    for name in MANDATORY:
        if name not in chosen:
            example = f"{{{name}: {_likely(name, table.columns)}}}"
            how = f"say which it is in params.yaml, e.g. `catalogue: {{columns: {example}}}`"
            raise Problem(f"no column is the {name}; {seen}; {how}")
    return chosen


def _likely(name: str, columns: list[str]) -> str:
    """The column that looks most like ours, for the example in a message."""
    hints = {"product_id": ("sku", "id"), "image_path": ("image", "photo", "picture", "file", "path")}[name]
    matches = [column for hint in hints for column in columns if hint in column.lower()]
    return (matches or [column for column in columns if column] or ["theirs"])[0]


def _raw_rows(table: Table, chosen: Mapping[str, str]) -> Iterator[RawRow]:
    place = {ours: table.columns.index(theirs) for ours, theirs in chosen.items()}
    plain = {name: place.get(name) for name in FIELDS}
    extra = {name.removeprefix("attributes."): at for name, at in place.items() if name.startswith("attributes.")}
    for number, cells in enumerate(table.rows, start=1):
        if isinstance(cells, Unreadable):
            yield RawRow(number, {"row": cells.value}, {}, fault=cells.reason)
        else:
            fields = {name: "" if at is None else cells[at] for name, at in plain.items()}
            yield RawRow(number, fields, {name: cells[at] for name, at in extra.items()})


def read_csv(source: Source) -> Table:
    """A CSV file: UTF-8 (a byte that is not is escaped, and repaired later) or UTF-16 with its mark; comma, semicolon,
    tab or bar between cells, whichever splits the header most."""
    rows = _csv_rows(source.files[0])
    header = next(rows, None)
    if header is None or isinstance(header, Unreadable):
        raise Problem(f"{source.files[0]} is empty: its first line should name the columns")
    return Table([name.strip() for name in header], _of_width(rows, len(header)))


def _csv_rows(file: Path) -> Iterator[list[str] | Unreadable]:
    with file.open("rb") as raw:
        wide = raw.read(2) in (b"\xff\xfe", b"\xfe\xff")
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    csv.field_size_limit(LONGEST_CELL)
    with file.open(encoding=encoding, errors=errors, newline="") as lines:
        first = lines.readline(LONGEST_CELL)
        lines.seek(0)
        delimiter = max(",;\t|", key=first.count)
        reader = csv.reader(lines, delimiter=delimiter)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Unreadable(f"the line is not CSV ({error})", f"line {reader.line_num} of the file")
                continue
            if cells:  # a blank line is no row
                yield cells


def _of_width(rows: Iterator[list[str] | Unreadable], width: int) -> Iterator[list[str] | Unreadable]:
    for cells in rows:
        if isinstance(cells, list) and len(cells) != width:
            yield Unreadable(f"the row has {len(cells)} cells, the header {width}", " | ".join(cells))
        else:
            yield cells


def read_parquet(source: Source) -> Table:
    """A parquet file; numbers become texts, null becomes empty, lists and structs become JSON."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(source.files[0])
    except (pyarrow.ArrowException, OSError) as error:
        raise Problem(f"{source.files[0]} cannot be read as parquet ({str(error).splitlines()[0]})") from None
    columns = file.schema_arrow.names
    inside = [
        cell.name
        for cell in file.schema_arrow
        if pyarrow.types.is_struct(cell.type) and cell.type.get_field_index("bytes") >= 0
    ]
    if inside:
        raise Problem(
            f"the column {inside[0]} of {source.files[0]} holds the pictures themselves; save it as a dataset that can "
            "be read row by row: datasets.load_dataset('parquet', data_files=...).save_to_disk(FOLDER)"
        )

    def rows() -> Iterator[list[str] | Unreadable]:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            yield from (
                list(map(as_text, cells)) for cells in zip(*(c.to_pylist() for c in batch.columns), strict=True)
            )

    return Table(columns, rows())


def read_hdf5(source: Source) -> Table:
    """Fashion-Gen's files: one row a view, byte strings in latin-1, the picture in the row. Of several files each is
    one split, said by its name."""
    files = source.files
    splits = [_split_of(file) for file in files] if len(files) > 1 else [""]
    columns = containers.hdf5_columns(files[0])
    for file in files[1:]:
        if containers.hdf5_columns(file) != columns:
            raise Problem(f"{files[0].name} and {file.name} do not have the same columns")
    named = len(files) > 1 and "split" not in columns

    def rows() -> Iterator[list[str] | Unreadable]:
        for file, split in zip(files, splits, strict=True):
            for cells in containers.hdf5_rows(file, columns, ROWS_AT_ONCE):
                yield [*cells, split] if named else cells

    return Table([*columns, "split"] if named else columns, rows(), containers.FASHION_GEN)


def _split_of(file: Path) -> str:
    words = file.stem.lower().replace("-", "_").replace(".", "_").split("_")
    named = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    if len(named) != 1:
        raise Problem(
            f"there are several HDF5 files, so each should name its split (train, val, test); {file.name} does not"
        )
    return named.pop()


def read_dataset(source: Source) -> Table:
    """A saved Hugging Face dataset; its one picture column is the picture, of several splits each gives its name."""
    columns, pictures, rows = containers.dataset_rows(source.files[0], source.root, ROWS_AT_ONCE, as_text)
    defaults = {"image_path": pictures[0]} if len(pictures) == 1 and "image_path" not in columns else {}
    return Table(columns, rows, defaults)


def as_text(value: Any) -> str:
    """A cell of a typed table as text: 12.0 and 12 alike, nothing for null, JSON for what is nested."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


_READERS: dict[str, Callable[[Source], Table]] = {
    "csv": read_csv,
    "parquet": read_parquet,
    "hdf5": read_hdf5,
    "dataset": read_dataset,
}
