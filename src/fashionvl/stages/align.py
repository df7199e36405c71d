"""Stage `align KIND`: where the captioner looked -> build/alignment/KIND, which patches the words point at (AAG, 3.3).

caption.parquet, teacher.parquet   the pairs of each source: of words that the captioner says and the text holds, and of
                                   every word of the text that it is told (teacher forcing)
words.parquet                      hits by word, where data/parts.csv says which part of a picture each word means
pictures/, report.html             some products: where the captioner looked, and the patches that were chosen
"""

import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fashionvl import alignment, checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import captioner, gallery, machine, options, run
from fashionvl.stages.align_desk import SOURCES, Desk, desk_of
from fashionvl.stages.gallery_page import write_page
from fashionvl.stages.showcase import show
from fashionvl.tasks import pointing
from fashionvl.words import Words

NAMES = {"caption": "The captioner says", "teacher": "The captioner is told"}
TRUTH = "parts.csv"
BY_WORD = ["source", "text", "side", "pairs", "hit", "random", "skill"]
REPORT_SECONDS = 5.0


def main(
    kind: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Align every picture of the catalogue from both sources, measure it where the truth is known, and show some."""
    began = time.monotonic()
    machine.keep_freed_memory()
    settings = config.load(params)
    catalogue, words = Catalogue.load(build / "catalogue", data), Words.load(build / "words")
    desk = desk_of(kind, settings, catalogue, words, build)
    folder = build / "alignment" / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    truth = truth_of(catalogue, data / TRUTH)
    metrics: dict[str, float] = {}
    judged = []
    tables = aligned(desk, settings, build)
    for source in SOURCES:
        tables[source].to_parquet(folder / f"{source}.parquet", index=False)
        metrics |= {f"{source}.{name}": value for name, value in counts(tables[source], catalogue).items()}
        if truth is not None:
            held = pointing.judge(tables[source], truth, desk.grids, desk.pyramid)
            judged.append(held.assign(source=source, split=catalogue.products["split"].to_numpy()[held["product"]]))
    metrics |= skills(judged, folder)
    metrics = {name: round(float(value), 6) for name, value in metrics.items()}
    shown = show(desk, settings, build, tables["caption"], truth)
    (folder / "pictures").mkdir()
    for each in shown:
        gallery.sheet(each, NAMES).save(folder / "pictures" / f"{each.name.replace(' ', '_')}.png")
    write_page(folder / "report.html", kind, metrics, shown, NAMES)
    seconds = round(time.monotonic() - began, 1)
    card = {"stage": "align", "item": kind, "alignment": asdict(settings.alignment)}
    checkpoint.write_card(folder, {**card, "metrics": metrics, "seconds": seconds})
    for name, value in metrics.items():
        if name.count(".") == 2 and name.endswith(".skill"):
            print(f"align {kind}  {name} {value:.3f}")
    print(f"align {kind}  {seconds:.0f} s, {folder / 'report.html'} shows some", flush=True)


def aligned(desk: Desk, settings: config.Params, build: Path) -> dict[str, pd.DataFrame]:
    """The pairs of every picture of the catalogue by source, in the order of pictures and words."""
    everything = np.arange(len(desk.catalogue.pictures))
    tables: dict[str, list[pd.DataFrame]] = {source: [] for source in SOURCES}
    done, said = 0, time.monotonic()
    for pictures, described in captioner.described(desk.catalogue, everything, settings, build):
        for source, table in tables.items():
            table.append(rows_of(desk, pictures, desk.found(pictures, described[source], source)))
        done += len(pictures)
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            print(f"align  picture {done}/{len(everything)}", flush=True)
    order = ["picture", "word", "level"]
    return {
        source: pd.concat(table, ignore_index=True).sort_values(order, kind="stable", ignore_index=True)
        for source, table in tables.items()
    }


def rows_of(desk: Desk, pictures: NDArray[np.int64], found: alignment.Found) -> pd.DataFrame:
    """One row a pair: picture, product, word, piece_start, piece_end, text, level, patch, score."""
    picture = pictures[found.row.numpy()]
    product = desk.catalogue.pictures["product"].to_numpy()[picture]
    first, end = alignment.slots_of(desk.texts.whole[torch.from_numpy(product)], found.word)
    columns = {
        "picture": picture,
        "product": product,
        "word": found.word.numpy(),
        "piece_start": first.numpy(),
        "piece_end": end.numpy(),
        "text": [desk.spoken[p][w] for p, w in zip(product.tolist(), found.word.tolist(), strict=True)],
    }
    word, level = torch.nonzero(found.patch != alignment.NONE, as_tuple=True)
    table = pd.DataFrame(columns).astype({"text": "str"}).iloc[word.numpy()]
    return table.assign(
        level=np.array(desk.levels)[level.numpy()],
        patch=found.patch[word, level].numpy(),
        score=found.score[word, level].numpy(),
    )


def counts(table: pd.DataFrame, catalogue: Catalogue) -> dict[str, float]:
    """How much is aligned at all."""
    words = table.drop_duplicates(["picture", "word"])
    return {
        "pairs": len(table),
        "pairs_per_product": len(table) / len(catalogue.products),
        "words_per_picture": len(words) / len(catalogue.pictures),
        "products_with_any_share": table["product"].nunique() / len(catalogue.products),
    }


def truth_of(catalogue: Catalogue, file: Path) -> pd.DataFrame | None:
    """The true boxes of words, as tasks/pointing.py describes them; None for a catalogue that has none."""
    if not file.exists():
        return None
    parts = pd.read_csv(file, dtype={"product_id": "str", "view": "str", "word": "str"}, keep_default_na=False)
    if tuple(parts.columns) != pointing.TRUTH:
        print(f"align  {file} has other columns than {', '.join(pointing.TRUTH)}: nothing is judged", flush=True)
        return None
    return pointing.truth_of(catalogue, parts)


def skills(tables: list[pd.DataFrame], folder: Path) -> dict[str, float]:
    """Hits by source and level, the skill by split too; writes the table by word, empty where no truth is known."""
    if not tables:
        pd.DataFrame(columns=BY_WORD).to_parquet(folder / "words.parquet", index=False)
        return {}
    judged = pd.concat(tables)
    pointing.skills(judged, ["source", "text", "side"]).to_parquet(folder / "words.parquet", index=False)
    found: dict[str, float] = {}
    for row in pointing.skills(judged, ["source", "side"]).to_dict("records"):
        name = f"{row['source']}.{row['side']}x{row['side']}"
        found |= {f"{name}.judged": row["pairs"], f"{name}.hit": row["hit"], f"{name}.random": row["random"]}
        found |= {f"{name}.skill": row["skill"]}
    for row in pointing.skills(judged, ["source", "side", "split"]).to_dict("records"):
        name = f"{row['source']}.{row['side']}x{row['side']}.{row['split']}"
        found |= {f"{name}.judged": row["pairs"], f"{name}.skill": row["skill"]}
    return {name: value for name, value in found.items() if not np.isnan(value)}


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("kind", metavar="KIND", help="a row of `patches` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
