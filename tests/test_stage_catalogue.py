"""Stages `catalogue` and `check`: files in, files out, and a sentence where it cannot be done."""

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.config import ConfigError
from fashionvl.stages import catalogue, check, resources

ROOT = Path(__file__).parents[1]
HEADER = ["product_id", "image_path", "title", "description", "category", "sub_category", "attributes", "extra"]


@pytest.fixture
def data(tmp_path) -> Path:
    """Forty products of two views; one view is broken, one title holds markup."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for product in range(40):
        title = f"Coat {product}" if product else "<b>Coat</b> &amp; hood"
        for view in "ab":
            name = f"images/{product}{view}.jpg"
            Image.fromarray(rng.integers(0, 255, (6, 4, 3), np.uint8)).resize((40, 60)).save(folder / name)
            rows.append(
                [f"{product:03d}", name, title, "A coat.", "Outerwear", f"Kind {product % 5}", '{"colour": "Red"}', "x"]
            )
    (folder / "images" / "7b.jpg").write_bytes(b"")
    with (folder / "catalogue.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return folder


def params(folder: Path, **changes: object) -> Path:
    """params.yaml with a few keys of `catalogue` changed."""
    table = yaml.safe_load((ROOT / "params.yaml").read_text())
    table["catalogue"] |= changes
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


def make(data: Path, build: Path, **changes: object) -> Path:
    build.mkdir(exist_ok=True)
    catalogue.main(params=params(build, **changes), data=data, build=build)
    return build / "catalogue"


class Pictures(HTMLParser):
    """Collects the addresses that a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_folder_holds_what_the_next_stages_read(data, tmp_path, capsys):
    folder = make(data, tmp_path / "build")
    found = Catalogue.load(folder, data)
    assert len(found.products) == 40
    assert len(found.pictures) == 79
    assert found.texts(["title", "attributes.colour"])[0] == "Coat & hood Red"
    assert {"width", "height", "sha256", "phash"} <= set(found.pictures.columns)
    with (folder / "rejected.csv").open() as file:
        (rejected,) = csv.DictReader(file)
    assert rejected == {
        "row": "16",
        "product_id": "007",
        "field": "picture",
        "rule": "empty picture",
        "reason": "the file is empty",
        "value": "images/7b.jpg",
    }
    card = json.loads((folder / "card.json").read_text())
    assert card["stage"] == "catalogue"
    assert card["metrics"]["rows_set_aside"] == 1
    report = json.loads((folder / "report.json").read_text())
    assert report["source"]["ignored_columns"] == ["extra"]
    assert report["repaired"]["HTML entity decoded"] == 2
    said = capsys.readouterr().out
    assert "columns that are not read: extra" in said
    assert "80 rows: 79 accepted, 1 set aside; 40 products" in said


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_text_of_the_catalogue(data, tmp_path):
    text = (data / "catalogue.csv").read_text().replace("Coat 39", "<script src=x>Coat</script> &lt;img src=evil&gt; <")
    (data / "catalogue.csv").write_text(text.replace("Kind 4", "<img src=evil>Kind &amp;lt;img src=evil&amp;gt;"))
    page = (make(data, tmp_path / "build") / "report.html").read_text()
    reader = Pictures()
    reader.feed(page)
    assert len(reader.fetched) > 20
    assert all(address.startswith("data:image/jpeg;base64,") for address in reader.fetched)
    assert "<script" not in page
    assert 'name="viewport"' in page


def test_the_same_input_gives_the_same_bytes(data, tmp_path):
    one, two = make(data, tmp_path / "one"), make(data, tmp_path / "two")
    names = sorted(file.name for file in one.iterdir())
    assert names == ["card.json", "pictures.parquet", "products.parquet", "rejected.csv", "report.html", "report.json"]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_too_many_bad_rows_stop_the_stage_and_are_written_down(data, tmp_path):
    with pytest.raises(
        Problem, match=r"1 of 80 rows \(1\.2%\).*`empty picture`.*allows 1\.0%.*rejected\.csv"
    ) as caught:
        make(data, tmp_path / "build", set_aside_limit=0.01)
    assert "\n" not in str(caught.value)
    assert "7b.jpg" in (tmp_path / "build" / "catalogue" / "rejected.csv").read_text()
    assert not (tmp_path / "build" / "catalogue" / "card.json").exists()


def test_a_stage_that_stops_takes_the_old_card_away(data, tmp_path):
    folder = make(data, tmp_path / "build")
    with pytest.raises(Problem):
        make(data, tmp_path / "build", set_aside_limit=0.0)
    assert not (folder / "card.json").exists()


def test_a_catalogue_without_rows_or_without_a_good_one_is_told(data, tmp_path):
    header, *rows = (data / "catalogue.csv").read_text().splitlines()
    (data / "catalogue.csv").write_text(header + "\n")
    with pytest.raises(Problem, match="without a single row"):
        make(data, tmp_path / "build")
    (data / "catalogue.csv").write_text("\n".join([header, *rows]))
    shutil.rmtree(data / "images")
    with pytest.raises(Problem, match=r"80 of 80 rows .*`missing picture`"):
        make(data, tmp_path / "build", set_aside_limit=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"near_duplicate_bits": 9}, "near_duplicate_bits must be 0 to 8"),
        ({"split": {"train": 0.5}}, "shares of train, val, test that make 1"),
        ({"columns": {"product_id": "sku"}}, "maps product_id to a column 'sku'"),
    ],
)
def test_settings_that_cannot_be_are_told_before_any_picture_is_read(data, tmp_path, changes, message):
    with pytest.raises((Problem, ConfigError), match=message):
        make(data, tmp_path / "build", **changes)


def test_a_text_field_that_does_not_exist_is_told(data, tmp_path):
    table = yaml.safe_load((ROOT / "params.yaml").read_text())
    table["text"]["fields"] = ["title", "colour"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(ConfigError, match=r"text\.fields names 'colour'"):
        check.main(data, params=tmp_path / "params.yaml")


def test_fashion_gen_goes_through_with_its_pictures_inside(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    data = tmp_path / "data"
    data.mkdir()
    for name, start, count in (("train", 0, 6), ("validation", 6, 3)):
        with h5py.File(data / f"fashiongen_256_256_{name}.h5", "w") as file:
            rng = np.random.default_rng(start)
            file["input_image"] = rng.integers(0, 255, (count, 256, 256, 3), np.uint8)
            file["input_productID"] = np.array([[(start + row) // 2] for row in range(count)])
            for column, text in (("name", "Robe d'\xe9t\xe9"), ("description", "High-rise."), ("category", "JEANS")):
                file[f"input_{column}"] = np.array([[text.encode("latin-1")]] * count)
    folder = make(data, tmp_path / "build")
    found = Catalogue.load(folder, data)
    assert found.products["split"].tolist() == ["train"] * 3 + ["val"] * 2
    assert found.products["title"].tolist() == ["Robe d'été"] * 5
    assert open_rgb(data, found.pictures["path"].iloc[8]).size == (256, 256)


def test_a_saved_dataset_goes_through_with_its_pictures_inside(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    pictures = [Image.new("RGB", (40, 60), (6 * at, 90, 30)) for at in range(40)]
    table = datasets.Dataset.from_dict({"sku": list(range(40)), "photo": pictures, "name": ["Coat"] * 40})
    (tmp_path / "data").mkdir()
    table.cast_column("photo", datasets.Image()).save_to_disk(str(tmp_path / "data" / "mine"))
    folder = make(tmp_path / "data", tmp_path / "build", columns={"product_id": "sku", "title": "name"})
    found = Catalogue.load(folder, tmp_path / "data")
    assert len(found.pictures) == 40
    assert set(found.products["split"]) >= {"train", "val"}
    assert open_rgb(tmp_path / "data", found.pictures["path"].iloc[39]).size == (40, 60)


def test_a_disk_or_memory_that_is_too_small_is_said_at_the_start(data, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=10**8)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: free)
    with pytest.raises(Problem, match=r"GiB of disk are needed, .* has 0\.09 GiB free"):
        make(data, tmp_path / "build")
    monkeypatch.undo()
    monkeypatch.setattr(resources, "available_memory", lambda: 10.0**8)
    with pytest.raises(Problem, match=r"GiB of memory are needed, 0\.1 GiB are available"):
        make(data, tmp_path / "build")


def test_the_estimate_grows_with_the_catalogue(data, tmp_path):
    settings = catalogue.config.load(ROOT / "params.yaml")
    _, texts = catalogue.open_texts(data, settings.catalogue)
    small = resources.estimate(texts, data, settings)
    rows = pd.concat([texts.rows.assign(product_id=texts.rows["product_id"] + mark) for mark in "abcd"])
    large = resources.estimate(catalogue.Texts(rows, [], texts.repaired, len(rows)), data, settings)
    assert large.disk > small.disk
    assert large.memory > small.memory
    least = {
        "encoder",
        "captioner",
        "pretrain kaleido",
        "finetune kaleido",
        "contrast baseline",
    }  # of a small catalogue they take their least steps
    assert all(large.seconds[stage] >= small.seconds[stage] * 3.9 for stage in set(small.seconds) - least)
    assert all(large.seconds[stage] >= small.seconds[stage] for stage in least)


def test_the_estimate_of_regions_counts_them_and_aligns_no_words(data):
    settings = catalogue.config.load(ROOT / "params.yaml")
    _, texts = catalogue.open_texts(data, settings.catalogue)
    systems = {"kaleido": dataclasses.replace(settings.systems["kaleido"], patches="segments")}
    reading = dataclasses.replace(settings, systems=systems, run={"kaleido": "segments"})
    grids, regions = (resources.estimate(texts, data, each) for each in (settings, reading))
    assert "patches segments" in regions.seconds
    assert not [stage for stage in regions.seconds if stage.startswith("align")]
    assert regions.disk < grids.disk  # 24 vectors a picture, not 74
    assert regions.seconds["pretrain kaleido"] < grids.seconds["pretrain kaleido"]


def command(*words: object, stage: str = "check") -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    line = [sys.executable, "-m", f"fashionvl.stages.{stage}", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120, check=False)


def test_the_dry_run_tells_everything_and_writes_nothing(data, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    check.main(data, params=ROOT / "params.yaml", build=tmp_path / "build")
    assert sorted(tmp_path.rglob("*")) == before
    said = capsys.readouterr().out
    assert "repaired         2  HTML entity decoded" in said
    assert "set aside        1  empty picture" in said
    assert "row 16, product 007: the file is empty: 'images/7b.jpg'" in said
    assert "The whole run takes about" in said
    assert "GiB of disk." in said


def test_a_mistake_ends_in_one_sentence_and_code_two(data):
    gone = command(data / "nothing")
    assert gone.returncode == 2
    assert gone.stderr.count("\n") == 1
    assert "does not exist" in gone.stderr
    assert command(data / "catalogue.csv").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hm_articles", "magento_multiview"])
def test_real_catalogues_come_through_whole(name, tmp_path):
    folder = os.environ.get("FASHIONVL_CATALOGUES")
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f"FASHIONVL_CATALOGUES names no folder that holds {name}")
    result = command("--data", Path(folder) / name, "--build", tmp_path, stage="catalogue")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "catalogue" / "report.json").read_text())
    assert report["rows_set_aside"] == 0
    assert report["rows"] == {"hm_articles": 8910, "magento_multiview": 527}[name]
    assert report["products"] == {"hm_articles": 8910, "magento_multiview": 332}[name]
