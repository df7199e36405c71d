"""Readers: every kind of source gives the same rows, every source that cannot be read gives a sentence."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.rules import RawRow
from fashionvl.catalogue.sources import find_source, open_source

HEADER = ["product_id", "image_path", "title", "description", "category", "sub_category", "split"]
ROWS = [
    ["007", "images/007.jpg", "Coat", "A long\nwool coat, grey", "Outerwear", "Coats", "train"],
    ["8", "images/8.jpg", 'The "8"', "", "Shoes", "Boots", "val"],
]


def write_csv(path: Path, rows=ROWS, header=HEADER, **options) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def read(path: Path, columns=None) -> list[RawRow]:
    return list(open_source(find_source(path), columns or {}).rows)


def cells(rows: list[RawRow], names=HEADER) -> list[list[str]]:
    return [[row.cells[name] for name in names] for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_keeps_every_text_as_it_is(tmp_path, delimiter):
    write_csv(tmp_path / "catalogue.csv", delimiter=delimiter)
    rows = read(tmp_path)
    assert cells(rows) == ROWS
    assert [row.number for row in rows] == [1, 2]
    assert rows[0].cells["group_id"] == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_csv_with_a_byte_order_mark_is_understood(tmp_path, encoding):
    text = "product_id,image_path,title\n1,a.jpg,Café\n"
    (tmp_path / "catalogue.csv").write_bytes(text.encode(encoding))
    assert cells(read(tmp_path), ["product_id", "title"]) == [["1", "Café"]]


def test_a_row_of_the_wrong_width_has_a_fault_and_the_next_is_read(tmp_path):
    (tmp_path / "catalogue.csv").write_text("product_id,image_path\n1,a.jpg\n2\n\n3,c.jpg,d\n4,e.jpg\n")
    rows = read(tmp_path)
    assert [bool(row.fault) for row in rows] == [False, True, True, False]
    assert "1 cells, the header 2" in rows[1].fault
    assert rows[2].cells == {"row": "3 | c.jpg | d"}
    assert rows[3].cells["product_id"] == "4"


def test_parquet_gives_texts_whatever_the_types(tmp_path):
    table = pd.DataFrame(
        {
            "product_id": [1.0, 2.0],
            "image_path": ["a", None],
            "title": [b"x", b"caf\xe9"],
            "attributes": [{"a": 1}, {"a": 2}],
        }
    )
    table.to_parquet(tmp_path / "catalogue.parquet")
    rows = read(tmp_path)
    assert cells(rows, ["product_id", "image_path", "title", "attributes"]) == [
        ["1", "a", "x", '{"a": 1}'],
        ["2", "", "caf\udce9", '{"a": 2}'],
    ]


def test_pictures_inside_parquet_are_told_how_to_come_in(tmp_path):
    table = pd.DataFrame({"product_id": ["1"], "image": [{"bytes": b"x", "path": None}]})
    table.to_parquet(tmp_path / "catalogue.parquet")
    with pytest.raises(Problem, match=r"column image .*save_to_disk"):
        read(tmp_path)


def write_fashiongen(path: Path, rows: int = 3, encode=lambda text: text.encode("latin-1")) -> np.ndarray:
    """A small file in the layout of Fashion-Gen: N x 1 byte strings, pictures inside."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    pixels = np.random.default_rng(0).integers(0, 255, (rows, 256, 256, 3), np.uint8)
    texts = {
        "input_name": "Robe d'été",
        "input_description": "Wide-leg jeans in navy. High-rise.",
        "input_concat_description": "repeats the others",
        "input_category": "JEANS",
        "input_subcategory": "JEANS",
        "input_brand": "Chloé",
        "input_composition": "100% cotton.",
        "input_department": "CLOTHING",
        "input_gender": "Women",
        "input_season": "FW2016",
        "input_pose": "id_gridfs_1",
    }
    with h5py.File(path, "w") as file:
        for name, text in texts.items():
            file[name] = np.array([[encode(text)]] * rows)
        file["input_image"] = pixels
        file["input_productID"] = np.array([[row // 2] for row in range(rows)])
        file["input_msrpUSD"] = np.full((rows, 1), 99.0)
        file["index"] = np.arange(rows)[:, None]
        file["index_2"] = np.arange(rows)[:, None]
    return pixels


def test_fashion_gen_is_read_without_any_mapping(tmp_path):
    write_fashiongen(tmp_path / "fashiongen_256_256_train.h5")
    reading = open_source(find_source(tmp_path), {})
    rows = list(reading.rows)
    assert [row.cells["product_id"] for row in rows] == ["0", "0", "1"]
    assert rows[1].cells["title"] == "Robe d'été"
    assert rows[2].cells["image_path"] == "fashiongen_256_256_train.h5#input_image/2"
    assert rows[0].cells["view"] == "id_gridfs_1"
    assert rows[0].cells["split"] == ""
    assert rows[0].attributes["brand"] == "Chloé"
    assert set(reading.ignored) == {"index", "index_2", "input_concat_description", "input_msrpUSD"}


def test_several_fashion_gen_files_are_splits(tmp_path):
    write_fashiongen(tmp_path / "fashiongen_256_256_train.h5", 2)
    write_fashiongen(tmp_path / "fashiongen_256_256_validation.h5", 1)
    assert [row.cells["split"] for row in read(tmp_path)] == ["train", "train", "val"]
    write_fashiongen(tmp_path / "more.h5", 1)
    with pytest.raises(Problem, match=r"more\.h5 does not"):
        read(tmp_path)


def saved_dataset(folder: Path, splits: tuple[str, ...] = ()) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 30)).save(stream, "PNG")
    kinds = datasets.ClassLabel(names=["Coats", "Boots"])
    table = datasets.Dataset.from_dict(
        {"sku": [5, 6], "photo": [{"bytes": stream.getvalue(), "path": None}] * 2, "kind": [1, 0], "name": ["a", None]},
        features=datasets.Features(
            {"sku": datasets.Value("int64"), "photo": datasets.Image(), "kind": kinds, "name": datasets.Value("string")}
        ),
    )
    saved = datasets.DatasetDict(dict.fromkeys(splits, table)) if splits else table
    saved.save_to_disk(str(folder))


COLUMNS = {"product_id": "sku", "title": "name", "sub_category": "kind"}


def test_a_saved_dataset_is_read_with_its_classes_and_splits(tmp_path):
    saved_dataset(tmp_path / "mine", ("train", "validation"))
    rows = read(tmp_path, COLUMNS)
    assert cells(rows, ["product_id", "sub_category", "title", "split"])[1:3] == [
        ["6", "Coats", "", "train"],
        ["5", "Boots", "a", "validation"],
    ]
    assert rows[3].cells["image_path"] == "mine#validation/photo/1"


def test_the_only_split_of_a_dataset_says_nothing(tmp_path):
    saved_dataset(tmp_path / "mine", ("train",))
    assert {row.cells["split"] for row in read(tmp_path, COLUMNS)} == {""}


def test_a_folder_that_is_a_dataset_is_read(tmp_path):
    saved_dataset(tmp_path / "mine")
    assert read(tmp_path / "mine", COLUMNS)[0].cells["image_path"] == ".#photo/0"


def test_columns_are_mapped_and_the_others_named(tmp_path):
    header = ["sku", "photo", "name", "colour_name", "price", "split"]
    write_csv(tmp_path / "catalogue.csv", [["1", "a.jpg", "Coat", "Blue", "9", "A"]], header)
    mapping = {
        "product_id": "sku",
        "image_path": "photo",
        "title": "name",
        "attributes.colour": "colour_name",
        "split": "",
    }
    reading = open_source(find_source(tmp_path), mapping)
    (row,) = reading.rows
    assert (row.cells["product_id"], row.cells["title"], row.cells["split"]) == ("1", "Coat", "")
    assert row.attributes == {"colour": "Blue"}
    assert reading.ignored == ["price", "split"]


def test_a_missing_column_is_told_with_what_to_write(tmp_path):
    write_csv(tmp_path / "catalogue.csv", [["1", "a.jpg"]], ["sku", "photo"])
    with pytest.raises(Problem, match=r"no column is the product_id; .* are sku, photo; .*\{product_id: sku\}"):
        read(tmp_path)
    with pytest.raises(Problem, match=r"no column is the image_path; .*\{image_path: photo\}"):
        read(tmp_path, {"product_id": "sku"})
    with pytest.raises(Problem, match="maps title to a column 'name', which is not there"):
        read(tmp_path, {"product_id": "sku", "image_path": "photo", "title": "name"})
    with pytest.raises(Problem, match="names 'colour', which is none of"):
        read(tmp_path, {"colour": "sku"})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is none"),
        ({"catalogue.csv": b"", "catalogue.parquet": b""}, r"there is catalogue\.csv and catalogue\.parquet"),
        ({"catalogue.csv": b"", "x.h5": b""}, r"catalogue\.csv and x\.h5"),
        ({"catalogue.csv": b""}, "is empty"),
        ({"catalogue.csv": b"product_id,image_path,product_id\n"}, "stands twice"),
        ({"catalogue.parquet": b"PAR1 not really"}, "cannot be read as parquet"),
        ({"x.h5": b"not really"}, "cannot be read as an HDF5 file"),
        ({"mine/state.json": b"{}"}, "cannot be read as a saved dataset"),
    ],
)
def test_what_cannot_be_read_ends_in_a_sentence(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_catalogue_is_told(tmp_path):
    with pytest.raises(Problem, match="does not exist"):
        find_source(tmp_path / "nothing")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(Problem, match="is no catalogue"):
        find_source(tmp_path / "x.txt")


def test_a_named_catalogue_stands_beside_other_tables(tmp_path):
    write_csv(tmp_path / "catalogue.csv")
    write_csv(tmp_path / "notes.csv")
    assert find_source(tmp_path).files[0].name == "catalogue.csv"
    assert find_source(tmp_path / "notes.csv").files[0].name == "notes.csv"
