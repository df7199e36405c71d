"""Every row is accepted or set aside with its reason; a product keeps what is good of it."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fashionvl.catalogue.intake import Intake, add_pictures, read_texts
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.rules import FIELDS, RawRow
from fashionvl.catalogue.schema import check_tables
from fashionvl.catalogue.sources import find_source, open_source

FUZZ = int(os.environ.get("FUZZ", "40"))  # more by hand
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


@pytest.fixture
def shop(tmp_path) -> Path:
    """A folder with three good pictures and a broken one."""
    (tmp_path / "images").mkdir()
    for at, name in enumerate("abc"):
        Image.new("RGB", (20, 30), (80 * at, 90, 30)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    Image.new("RGB", (1, 1)).save(tmp_path / "images" / "dot.png")
    return tmp_path


def take(root: Path, *rows: dict[str, str], workers: int = 1) -> Intake:
    defaults = dict.fromkeys(FIELDS, "") | {"title": "Coat"}
    raw = [RawRow(number, defaults | row, {}) for number, row in enumerate(rows, start=1)]
    intake = add_pictures(read_texts(raw), root, shares=SHARES, max_megapixels=50, workers=workers)
    assert len(intake.pictures) + len(intake.rejected) == intake.count == len(rows)
    check_tables(intake.products, intake.pictures)
    return intake


def row(product: str, picture: str = "a", **cells: str) -> dict[str, str]:
    return {"product_id": product, "image_path": f"images/{picture}.png", **cells}


def reasons(intake: Intake) -> dict[int, str]:
    return {one.row: one.rule for one in intake.rejected}


def test_a_good_catalogue_comes_through_whole(shop):
    intake = take(shop, row("1", "a", view="front"), row("2", "b"), row("1", "c", view="back"))
    assert list(intake.products["product_id"]) == ["1", "2"]
    assert list(intake.pictures["product"]) == [0, 0, 1]
    assert list(intake.pictures["view"]) == ["front", "back", "main"]
    assert list(intake.products["group_id"]) == ["1", "2"]
    assert not intake.repaired
    assert not intake.rejected


def test_a_product_with_one_broken_picture_of_three_keeps_two(shop):
    intake = take(shop, row("1", "a"), row("1", "broken"), row("1", "b"))
    assert list(intake.pictures["path"]) == ["images/a.png", "images/b.png"]
    assert reasons(intake) == {2: "damaged picture"} or reasons(intake) == {2: "not a picture"}
    assert intake.rejected[0].field == "picture"


def test_a_product_without_a_good_picture_is_gone_but_told(shop):
    intake = take(shop, row("1", "nothing"), row("2", "a"), row("3", "dot"))
    assert list(intake.products["product_id"]) == ["2"]
    assert reasons(intake) == {1: "missing picture", 3: "picture too small"}


def test_an_identical_row_is_set_aside(shop):
    assert reasons(take(shop, row("1"), row("1"), row("2"))) == {2: "duplicate row"}


def test_the_same_picture_of_a_product_counts_once(shop):
    intake = take(shop, row("1"), row("1", view="back"), row("1") | {"image_path": "a.png"})
    assert reasons(intake) == {2: "picture listed twice", 3: "picture listed twice"}


@pytest.mark.parametrize("field", ["title", "description", "category", "sub_category", "group_id"])
def test_a_row_that_contradicts_its_product_is_set_aside(shop, field):
    intake = take(shop, row("1", "a", **{field: "x"}), row("1", "b", **{field: "y"}), row("1", "c", **{field: "x"}))
    assert reasons(intake) == {2: f"contradicting {field}"}
    assert intake.rejected[0].value == "y"
    assert len(intake.pictures) == 2


def test_a_text_that_stands_in_one_row_is_the_whole_products(shop):
    intake = take(shop, row("1", "a", title="", description=""), row("1", "b", title="Shoe", category="Shoes"))
    assert intake.products.iloc[0][["title", "category"]].tolist() == ["Shoe", "Shoes"]
    assert intake.repaired["title taken from another row of the product"] == 1


def test_differing_attributes_are_those_of_the_first_row(shop):
    intake = take(shop, row("1", "a", attributes='{"a": "1"}'), row("1", "b", attributes='{"a": "2"}'))
    assert list(intake.products["attributes"]) == ['{"a": "1"}']
    assert intake.repaired["attributes of the product's first row kept"] == 1


def test_a_product_that_says_nothing_is_set_aside(shop):
    assert reasons(take(shop, row("1", title=" "), row("2", "b"))) == {1: "no text"}


def test_a_group_on_both_sides_is_moved_and_counted(shop):
    intake = take(
        shop,
        row("1", "a", group_id="g", split="train"),
        row("2", "b", group_id="g", split="test"),
        row("3", "c", group_id="g", split="test"),
    )
    assert set(intake.products["split"]) == {"test"}
    assert intake.repaired["group on several sides of the split moved to one"] == 1


def test_a_path_is_repaired_where_it_is_clear_what_was_meant(shop):
    intake = take(shop, row("1") | {"image_path": "images\\a.png"}, row("2") | {"image_path": "b.png"})
    assert list(intake.pictures["path"]) == ["images/a.png", "images/b.png"]
    assert intake.repaired == {"backslash in a picture's path read as slash": 1, "picture found in images/": 1}


def test_paths_out_of_the_folder_are_set_aside(shop):
    (shop.parent / "secret.png").write_bytes((shop / "images" / "a.png").read_bytes())
    outside = [
        row("1") | {"image_path": path} for path in ("../secret.png", "/etc/hostname", str(shop / "images/a.png"))
    ]
    assert set(reasons(take(shop, *outside, row("2"))).values()) == {"path leaves the folder"}


def test_a_catalogue_of_which_nothing_is_left_is_still_counted(shop):
    assert reasons(take(shop, row(""), row("1", "nothing"))) == {1: "no product id", 2: "missing picture"}


def test_many_processes_find_what_one_finds(shop):
    for at in range(600):
        Image.new("RGB", (8, 8), (at % 256, at // 256, 9)).save(shop / "images" / f"{at}.png")
    rows = [row(str(at), str(at) if at % 7 else "broken") for at in range(600)]
    one, two = take(shop, *rows), take(shop, *rows, workers=2)
    assert one.pictures.equals(two.pictures)
    assert one.products.equals(two.products)
    assert one.rejected == two.rejected


texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["", "a", "b", "train", "test", "x/y", "{'a': 1}", '{"a": [1]}', "caf\udce9"])
)
pictures = st.one_of(
    texts, st.sampled_from(["images/a.png", "images/b.png", "images/broken.png", "images", "../a", "/"])
)
rows_of_texts = st.lists(
    st.fixed_dictionaries({name: pictures if name == "image_path" else texts for name in FIELDS}), max_size=8
)


@settings(
    max_examples=FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=rows_of_texts)
def test_any_rows_are_accepted_or_set_aside(shop, rows):
    intake = take(shop, *rows)
    assert len({one.row for one in intake.rejected}) == len(intake.rejected)
    assert all(one.rule and one.reason for one in intake.rejected)


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), seed=st.integers(0, 99))
def test_any_bytes_of_a_file_are_rows_or_a_sentence(shop, content, seed):
    good = b"product_id,image_path,title\n1,images/a.png,Coat\n2,images/b.png,Shoe\n"
    cut = random.Random(seed).randrange(len(good))
    (shop / "catalogue.csv").write_bytes(good[:cut] + content + good[cut:])
    try:
        reading = open_source(find_source(shop), {})
        texts = read_texts(reading.rows)
    except Problem as problem:
        assert str(problem)  # noqa: PT017
        return
    intake = add_pictures(texts, shop, shares=SHARES, max_megapixels=50, workers=1)
    assert len(intake.pictures) + len(intake.rejected) == intake.count
    assert sum(Counter(one.rule for one in intake.rejected).values()) == len(intake.rejected)
    check_tables(intake.products, intake.pictures)
