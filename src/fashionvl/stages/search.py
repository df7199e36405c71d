"""Search for many queries at once: python -m fashionvl.stages.search QUERIES.parquet OUT.parquet [--count 10]

QUERIES has a row a query, with one or more of the columns text, picture (a path, absolute or from the folder of
QUERIES) and product (an id), and may have where, as JSON: {"colour": ["Black"], "category": ["Shoes"]}. OUT has a row
for every product that was found: query (the row number), rank (1 is best), product_id, title, picture (its best view,
from the catalogue's folder), recalled (cosine) and reranked (log-odds, empty where it was not). A query that cannot be
answered has one row, with rank 0 and what is wrong in the column problem.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.pretrained.finder import Answer, Finder, Query
from fashionvl.stages import options, run
from fashionvl.stages.catalogue import every_few_seconds

AT_ONCE = 64  # queries that are embedded together
ASKED = ("text", "picture", "product")
COLUMNS = {"query": "int64", "rank": "int64", "product_id": "str", "title": "str", "picture": "str"}
COLUMNS |= {"recalled": "float64", "reranked": "float64", "problem": "str"}


def main(
    queries: Path,
    out: Path,
    *,
    count: int = 10,
    rerank: int | None = None,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Answer every query and write one table."""
    asked = read(queries)
    finder = Finder.load(build, data, settings=config.load(params))
    say, rows = every_few_seconds(), list[dict[str, Any]]()
    for at in range(0, len(asked), AT_ONCE):
        some = asked.iloc[at : at + AT_ONCE].to_dict("records")
        rows += list(_answered(finder, some, at, queries.absolute().parent, count=count, rerank=rerank))
        say(f"search  {at + len(some)}/{len(asked)} queries")
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    part = out.with_name(out.name + ".part")
    table.to_parquet(part, index=False)
    part.replace(out)
    failed = int((table["rank"] == 0).sum())
    print(f"search  {len(asked)} queries, {failed} of them could not be answered, in {out}", flush=True)


def read(file: Path) -> pd.DataFrame:
    """The queries of a table; a Problem where it is none."""
    try:
        table = pd.read_parquet(file)
    except FileNotFoundError:
        raise Problem(f"{file} does not exist") from None
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Problem(f"{file} cannot be read as parquet ({reason})") from None
    if not set(ASKED) & set(table.columns):
        there = ", ".join(map(str, table.columns)) or "none"
        raise Problem(f"{file} needs one or more of the columns text, picture and product; it has {there}")
    return table


def _answered(
    finder: Finder, rows: list[dict], first: int, folder: Path, *, count: int, rerank: int | None
) -> Iterator[dict[str, Any]]:
    """The rows that some queries come to; `first` is the number of the first of them."""
    numbers, good = list[int](), list[Query]()
    for number, row in enumerate(rows, first):
        try:
            good.append(finder.checked(query_of(row, folder)))
            numbers.append(number)
        except Problem as problem:
            yield {"query": number, "rank": 0, "problem": str(problem)}
    for number, answer in zip(numbers, finder.find_many(good, count=count, rerank=rerank), strict=True):
        yield from _rows(number, answer)


def query_of(row: dict[str, Any], folder: Path) -> Query:
    """One row as a query; paths of pictures are from `folder`. A Problem where `where` is not as it must be."""
    text, picture, product = (None if pd.isna(row.get(name)) else row[name] for name in ASKED)
    where: Any = row.get("where")
    try:
        asked = {} if _is_empty(where) else json.loads(where) if isinstance(where, str) else where
    except json.JSONDecodeError as error:
        raise Problem(f"where is not valid JSON ({error})") from None
    lists = isinstance(asked, dict) and all(isinstance(values, list) for values in asked.values())
    if not lists or not all(isinstance(value, str) for values in asked.values() for value in values):
        raise Problem('where must be like {"colour": ["Black", "White"]}')
    return Query(text, None if picture is None else folder / str(picture), product, asked)


def _is_empty(cell: Any) -> bool:
    nan = isinstance(cell, float) and cell != cell
    return cell is None or cell is pd.NA or nan or (isinstance(cell, str) and not cell.strip())


def _rows(number: int, answer: Answer) -> Iterator[dict[str, Any]]:
    for rank, found in enumerate(answer.found, 1):
        row = {"query": number, "rank": rank, "product_id": found.product_id, "title": found.title}
        yield row | {"picture": found.pictures[0], "recalled": found.recalled, "reranked": found.reranked}


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("queries", type=Path, help="a parquet file of queries")
    parser.add_argument("out", type=Path, help="where the answers go")
    parser.add_argument("--count", type=int, default=10, help="products that are found for each")
    parser.add_argument("--rerank", type=int, default=None, help="how many of the first are re-ranked")
    run(lambda: main(**vars(parser.parse_args())))
