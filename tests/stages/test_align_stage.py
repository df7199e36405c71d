"""The stage `align` on a few generated products, with captioners that know, or know nothing."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from fashionvl import alignment, config, words
from fashionvl.catalogue import Catalogue
from fashionvl.patches import store
from fashionvl.stages import align, align_desk, captioner, sample
from fashionvl.stages import alignment as gather
from fashionvl.tasks.describe import Described
from fashionvl.words import Words

ROOT = Path(__file__).parents[2]
FIELDS = ["title", "description"]
CELLS = 16  # a side of a heat map
OTHERS = {"eight": [8], "coarse": [1, 2]}
COLUMNS = ["picture", "product", "word", "piece_start", "piece_end", "text", "level", "patch", "score"]


@pytest.fixture(scope="module")
def bought(tmp_path_factory) -> Path:
    """A generated catalogue of ten products, brought in, with the boxes of two kinds of patches."""
    folder = tmp_path_factory.mktemp("bought")
    sample.main(folder / "data", products=10, processes=1)
    rows = pd.read_csv(folder / "data" / "catalogue.csv", dtype="str", keep_default_na=False)
    build = folder / "build"
    (build / "catalogue").mkdir(parents=True)
    products = rows.drop_duplicates("product_id", ignore_index=True).drop(columns=["image_path", "view"])
    products.assign(split=["train", "val"] * 5).to_parquet(build / "catalogue" / "products.parquet")
    pictures = rows[["image_path", "view"]].rename(columns={"image_path": "path"})
    pictures["product"] = products["product_id"].searchsorted(rows["product_id"])
    pictures["width"], pictures["height"] = Image.open(folder / "data" / pictures["path"][0]).size
    pictures.to_parquet(build / "catalogue" / "pictures.parquet")
    catalogue = Catalogue.load(build / "catalogue", folder / "data")
    words.learn(catalogue.texts(FIELDS), vocabulary=400, slots=32).save(build / "words")
    locked = align_desk.locked(catalogue, config.Lock("border", 0.05), 50)
    whole = align_desk.locked(catalogue, config.Lock("none", 0.0), 50)
    for kind, grids in {"kaleido": [1, 2, 3, 4, 5], **OTHERS}.items():
        place = build / "patches" / kind
        place.mkdir(parents=True)
        pd.DataFrame(locked if kind == "kaleido" else whole, columns=align_desk.BOX).to_parquet(place / store.BOXES)
        manifest = {"version": store.VERSION, "grids": grids, "dim": 1, "shards": []}
        (place / store.MANIFEST).write_text(json.dumps(manifest))
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["text"]["fields"], settings["run_patches"] = FIELDS, ["kaleido", "eight"]
    settings["captioner"]["lock"] = {"foreground": "border", "margin": 0.05}
    settings["patches"] |= {name: settings["patches"]["fixed"] | {"grids": grids} for name, grids in OTHERS.items()}
    settings["alignment"]["pictures"] = 3
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    return folder


def oracle(catalogue, pictures, settings, build):
    """Says every other word of the text, or is told all; looks at the middle of the word's part, else at the left."""
    parts = pd.read_csv((build / "words").resolve().parents[1] / "data" / "parts.csv", dtype={"product_id": "str"})
    boxes = dict(iter(parts.groupby(["product_id", "view", "word"])))
    spoken = Words.load(build / "words").whole_words(catalogue.texts(FIELDS))
    seen = align_desk.locked(catalogue, settings.captioner.lock, 50)
    for at in range(0, len(pictures), 4):
        found = {"caption": Described([], []), "teacher": Described([], [])}
        for picture in pictures[at : at + 4]:
            row = catalogue.pictures.loc[picture]
            told = spoken[row["product"]]
            name = catalogue.products["product_id"][row["product"]], row["view"]
            for source, names in (("caption", [*(word.upper() for word in told[::2]), "nonsense"]), ("teacher", told)):
                maps = [look(boxes.get((*name, word.lower())), seen[picture]) for word in names]
                found[source].words.append(names)
                found[source].heat.append(torch.stack(maps))
        yield pictures[at : at + 4], found


def look(boxes: pd.DataFrame | None, seen: np.ndarray) -> torch.Tensor:
    """A map that is hot in the cell in the middle of the first box."""
    heat = torch.zeros(CELLS, CELLS)
    middle = np.array([seen[0], seen[1]]) if boxes is None else boxes.iloc[0][["x0", "y0", "x1", "y1"]].to_numpy(float)
    if boxes is not None:
        middle = (middle[:2] + middle[2:]) / 2
    column, row = ((middle - seen[:2]) / (seen[2:] - seen[:2]) * CELLS).clip(0, CELLS - 1).astype(int)
    heat[row, column] = 1.0
    return heat


def blind(catalogue, pictures, settings, build):
    """Looks everywhere alike."""
    for some, found in oracle(catalogue, pictures, settings, build):
        even = {
            source: Described(each.words, [torch.full_like(maps, CELLS**-2) for maps in each.heat])
            for source, each in found.items()
        }
        yield some, even


def run(bought: Path, monkeypatch, describe=oracle, kind="kaleido", data: Path | None = None) -> tuple[Path, dict]:
    monkeypatch.setattr(captioner, "described", describe)
    align.main(kind, params=bought / "params.yaml", data=data or bought / "data", build=bought / "build")
    folder = bought / "build" / "alignment" / kind
    return folder, json.loads((folder / "card.json").read_text())["metrics"]


@pytest.fixture(scope="module")
def made(bought) -> tuple[Path, dict]:
    with pytest.MonkeyPatch.context() as patch:
        return run(bought, patch)


def test_both_sources_are_tables_of_pairs(made, bought):
    folder, _ = made
    for source in align.SOURCES:
        table = pd.read_parquet(folder / f"{source}.parquet")
        assert list(table.columns) == COLUMNS
        assert (
            table.dtypes[["picture", "product", "word", "piece_start", "piece_end", "level", "patch"]] == "int64"
        ).all()
        assert sorted(set(table["level"])) == [2, 3, 4]
        assert (table["patch"] < (table["level"] + 1) ** 2).all()
        assert table["score"].between(0, 1 + 1e-6, inclusive="right").all()
        assert not table.duplicated(["picture", "word", "level"]).any()
        assert not set(table["text"]) & alignment.STOP_WORDS


def test_the_slots_of_a_pair_hold_its_word(made, bought):
    table = pd.read_parquet(made[0] / "teacher.parquet").drop_duplicates(["product", "word"])
    vocabulary = Words.load(bought / "build" / "words")
    catalogue = Catalogue.load(bought / "build" / "catalogue", bought / "data")
    ids = vocabulary.encode(catalogue.texts(FIELDS)).ids
    for row in table.itertuples():
        assert vocabulary.decode(ids[row.product, row.piece_start : row.piece_end].tolist()) == row.text


def test_a_caption_aligns_less_than_the_told_text(made):
    _, metrics = made
    assert 0 < metrics["caption.words_per_picture"] < metrics["teacher.words_per_picture"]


def test_a_captioner_that_knows_has_skill_and_one_that_looks_everywhere_has_none(made, bought, monkeypatch, tmp_path):
    _, knows = made
    for side in ("3x3", "4x4", "5x5"):
        assert knows[f"teacher.{side}.skill"] > 0.95
        assert knows[f"teacher.{side}.random"] < 0.6
    (tmp_path / "build").mkdir()
    (tmp_path / "params.yaml").write_text((bought / "params.yaml").read_text())
    for name in ("catalogue", "words", "patches"):  # another place for what is made
        (tmp_path / "build" / name).symlink_to(bought / "build" / name)
    _, looks = run(tmp_path, monkeypatch, blind, data=bought / "data")
    assert looks["teacher.3x3.skill"] < 0.3
    assert looks["teacher.3x3.random"] == knows["teacher.3x3.random"]  # the same words are asked for


def test_the_table_by_word_adds_up(made):
    folder, metrics = made
    table = pd.read_parquet(folder / "words.parquet")
    assert list(table.columns) == align.BY_WORD
    of = table[(table["source"] == "teacher") & (table["side"] == 3)]
    assert of["pairs"].sum() == metrics["teacher.3x3.judged"]
    assert np.average(of["hit"], weights=of["pairs"]) == pytest.approx(metrics["teacher.3x3.hit"], abs=1e-6)


def test_a_training_gets_the_pairs_of_a_picture(made):
    table = pd.read_parquet(made[0] / "caption.parquet")
    pairs = alignment.Aligned.of_table(table, pictures=40).of(torch.tensor([0, 39]))
    mine = table.loc[table["picture"] == 0, ["word", "level", "patch"]].to_numpy()
    assert pairs[0, : len(mine)].tolist() == mine.tolist()
    assert (pairs[1] == alignment.NONE).all()


def test_the_report_shows_pictures_and_needs_nothing_else(made):
    folder, _ = made
    sheets = sorted((folder / "pictures").iterdir())
    assert len(sheets) == 3
    assert all(Image.open(file).size[0] == 1316 for file in sheets)
    page = (folder / "report.html").read_text()
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 6
    assert all('src="data:image/jpeg;base64,' in image and re.search(r'alt="[^"]+"', image) for image in images)
    assert "http" not in page
    assert '<meta name="viewport"' in page


def test_the_same_run_gives_the_same_bytes(made, bought, monkeypatch):
    folder, _ = made
    names = ("caption.parquet", "teacher.parquet", "words.parquet", "report.html")
    before = {name: (folder / name).read_bytes() for name in names}
    run(bought, monkeypatch)
    assert all((folder / name).read_bytes() == content for name, content in before.items())


def test_another_grid_over_another_box_is_aligned_too(bought, monkeypatch):
    folder, metrics = run(bought, monkeypatch, kind="eight")
    assert set(pd.read_parquet(folder / "teacher.parquet")["level"]) == {0}
    assert metrics["teacher.8x8.skill"] > 0.95
    gather.main(params=bought / "params.yaml", build=bought / "build")
    gathered = json.loads((bought / "build" / "metrics" / "alignment.json").read_text())
    assert gathered["eight"] == metrics
    assert "teacher.3x3.skill" in gathered["kaleido"]


def test_a_kind_without_a_fine_grid_is_a_sentence(bought, monkeypatch):
    with pytest.raises(config.ConfigError, match=r"no grid of patches.coarse has 3 patches a side"):
        run(bought, monkeypatch, kind="coarse")


def test_a_catalogue_without_the_truth_is_counted_only(bought, monkeypatch, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(bought / "data", data)
    (data / "parts.csv").unlink()
    (tmp_path / "build").symlink_to(bought / "build")
    (tmp_path / "params.yaml").symlink_to(bought / "params.yaml")
    folder, metrics = run(tmp_path, monkeypatch, kind="eight", data=data)
    assert {name.partition(".")[2] for name in metrics} == {
        "pairs", "pairs_per_product", "words_per_picture", "products_with_any_share",
    }  # fmt: skip
    assert list(pd.read_parquet(folder / "words.parquet").columns) == align.BY_WORD
    assert "nothing is judged" in (folder / "report.html").read_text()
