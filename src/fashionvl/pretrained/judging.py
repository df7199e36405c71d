"""Ask a challenger, and the champion if there is one, about the catalogue of today, and say which is better.

    python -m fashionvl.pretrained.judging CHALLENGER [CHAMPION] --out DIR

Each is a folder that save_pretrained wrote, or build/runs/<system>. A system looks at pictures and reads texts in its
own way, so that one which was trained on an older catalogue, with other words and another encoder, can be asked too.
DIR gets ranks.parquet and rows.parquet of each, verdict.md, and last verdict.json.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.product import text_of
from fashionvl.patches.store import Store
from fashionvl.pretrained.face import FashionVL
from fashionvl.pretrained.sight import Sight
from fashionvl.stages import encoding, options, questions, run
from fashionvl.tasks import labels, marks, matching, recognition, retrieval
from fashionvl.tasks.verdict import Bounds, Verdict, markdown, values_of, verdict

SHARD = 512  # pictures that are encoded between two lines of progress
SEEN = ("both", "image")  # what is shown to a head that names categories
SKILLS = (*labels.TASKS, "captioning", "captioner")  # parts whose lack takes an answer away; all systems rank

Say = Callable[[str], None]


def main(
    folders: list[Path],
    *,
    out: Path,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> Verdict:
    """Score the systems, write what they answered and the verdict."""
    settings = config.load(params)
    gate = settings.gate
    catalogue = Catalogue.load(build / "catalogue", data)
    lists, key = questions.pinned(catalogue, build, gate, settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "verdict.json").unlink(missing_ok=True)
    about = about_products(catalogue, gate.slices)
    values, parts = [], []
    for name, folder in zip(("challenger", "champion"), folders, strict=False):
        model = FashionVL.from_pretrained(folder, max_megapixels=settings.catalogue.max_megapixels)
        ranks, rows = answers(model, catalogue, lists, settings.text.fields, say=_speaker(name))
        ranks, rows = (table.join(about, on="number").drop(columns="number") for table in (ranks, rows))
        (out / name).mkdir(exist_ok=True)
        ranks.to_parquet(out / name / "ranks.parquet", index=False)
        rows.to_parquet(out / name / "rows.parquet", index=False)
        values.append(values_of(ranks, rows))
        parts.append(model.facts["parts"])
    bounds = Bounds(gate.least_gain, gate.worst, gate.worst_slice, gate.least_slice)
    chance = np.random.default_rng(training.seed_of(settings.seed, 11))
    other = values[1] if len(values) > 1 else None
    lost = [part for part in SKILLS if part in parts[-1] and part not in parts[0]]
    found = verdict(values[0], other, bounds, slices=gate.slices, lost=lost, generator=chance)
    (out / "verdict.md").write_text(markdown(found), encoding="utf-8")
    checkpoint.write_json(out / "verdict.json", {"questions": key, **asdict(found)})
    return found


def about_products(catalogue: Catalogue, slices: list[str]) -> pd.DataFrame:
    """Of every product its id, its group and, by the name of each slice, its value; "" where it has none."""
    products = catalogue.products
    of_slices = {name: [text_of(row, [name]) for row in products.to_dict("records")] for name in slices}
    return pd.DataFrame({"product": products["product_id"], "group": products["group_id"], **of_slices})


@dataclass(frozen=True)
class Table:
    """What one system makes of the products and pictures that are asked about.

    products, pictures  (n,) int64, rising: what of the catalogue lies on the desk, in this order
    """

    desk: recognition.Desk
    products: np.ndarray
    pictures: np.ndarray

    def rows(self, pictures: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the catalogue as those of the desk."""
        return np.searchsorted(self.pictures, pictures), np.searchsorted(self.products, products)


def answers(
    model: FashionVL, catalogue: Catalogue, lists: retrieval.Lists, fields: list[str], *, say: Say
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask one system everything; each picture is encoded once, each pair read once.

    -> a row a query: number (the product), direction, rank, listed;
       a row a product, task and column: number, task, column, true, said, right
    """
    pictures, products = retrieval.pairs_needed(lists)
    seen, told = np.unique(pictures), np.unique(products)
    rows = catalogue.products.iloc[told].to_dict("records")
    texts = model.words.encode([text_of(row, fields) for row in rows])
    store = model.tagged(encoded(model.sight, catalogue, seen, say=say))
    table = Table(recognition.Desk(model.words, texts, store, {}), told, seen)
    return ranked(model, table, catalogue, lists, (pictures, products), say), recognised(model, table, catalogue, lists)


def encoded(sight: Sight, catalogue: Catalogue, pictures: np.ndarray, *, say: Say) -> Store:
    """The vectors of some pictures of a catalogue, on all cores -> a store in memory, in the order of `pictures`."""
    paths = catalogue.pictures["path"].to_numpy()[pictures].tolist()
    shop = replace(sight.shop, root=catalogue.root, row=replace(sight.shop.row, shard=SHARD))
    shards = []
    for _, made in encoding.shards_of(paths, list(range(-(-len(paths) // SHARD))), shop, tick=lambda more: None):
        shards.append(sight.store(made))
        say(f"{sum(map(len, shards))}/{len(paths)} pictures")
    return Store.joined(shards)


def ranked(
    model: FashionVL,
    table: Table,
    catalogue: Catalogue,
    lists: retrieval.Lists,
    pairs: tuple[np.ndarray, np.ndarray],
    say: Say,
) -> pd.DataFrame:
    """The rank of every query, by the head that `match` asks; `pairs` are all that the lists need a score for."""
    stream = model.stream(model.matcher)
    scores = matching.score_pairs(stream, table.desk, *table.rows(*pairs), say=say)
    score = retrieval.looked_up(*pairs, scores, len(catalogue.products))
    found = {"number": lists.product, "direction": lists.direction, "rank": retrieval.sampled_ranks(lists, score)}
    return pd.DataFrame({**found, "listed": (lists.candidates != retrieval.NOBODY).sum(axis=1)})


def recognised(model: FashionVL, table: Table, catalogue: Catalogue, lists: retrieval.Lists) -> pd.DataFrame:
    """What the heads that there are say of the products that are asked for, each by the view that is its query."""
    products, first = np.unique(lists.product, return_index=True)
    pictures = lists.picture[first]
    names = ["number", "task", "column", "true", "said", "right"]
    found = [pd.DataFrame(columns=names)]
    for task in labels.TASKS:
        true = catalogue.products[task].to_numpy(dtype=object)[products]
        asked = true != ""
        if task not in model.facts["parts"] or not asked.any():
            continue
        rows = table.rows(pictures[asked], products[asked])
        for column in SEEN:
            scores = recognition.predict(model.stream(task), table.desk, *rows, column, task=task)
            said = marks.said_by(scores, model.facts["parts"][task]["classes"])
            right = true[asked] == said
            columns = {"task": task, "column": column, "true": true[asked], "said": said, "right": right}
            found.append(pd.DataFrame({"number": products[asked], **columns}))
    return pd.concat(found[1:] or found, ignore_index=True).astype({"number": "int64", "right": "bool"})


def _speaker(name: str) -> Say:
    return lambda line: print(f"gate  {name}  {line}", flush=True)


def _program() -> None:
    parser = options(__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="the challenger, then the champion")
    parser.add_argument("--out", type=Path, required=True, help="where the answers and the verdict go")
    asked = parser.parse_args()
    if len(asked.folders) > 2:
        parser.error("a challenger and a champion are compared, not more")
    main(**vars(asked))
    print(f"gate  every answer and the verdict are in {asked.out}", flush=True)


if __name__ == "__main__":
    run(_program)
