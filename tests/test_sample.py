"""The generated sample: the same bytes everywhere, true words, true boxes."""

import csv
import dataclasses
import hashlib
import io
import json
import re
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image, ImageChops, JpegImagePlugin

from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.sample import items
from fashionvl.catalogue.sample.article import dye_of, mix
from fashionvl.catalogue.sample.cloth import COLOURS, PATTERNS
from fashionvl.catalogue.sample.facts import POINTERS
from fashionvl.catalogue.sample.kinds import KINDS
from fashionvl.catalogue.sample.picture import scene_of
from fashionvl.catalogue.sample.raster import Camera, mask_of
from fashionvl.catalogue.sample.scene import FINER, HEIGHT, WIDTH, names, paint, without
from fashionvl.catalogue.sample.shapes import box, curve, oval, rounded, stroke
from fashionvl.catalogue.sample.wording import pointers_of
from fashionvl.stages import sample

DOZEN = "baaf970e9c2f65eb4630f0628281c9d336186e83809432732e590a2e66e2b996"


def digest(folder: Path) -> str:
    """One hash over the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dozen(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "dozen"
    sample.main(out, products=12, processes=1)
    return out


def test_the_bytes_of_a_dozen_are_pinned(dozen):
    """A change here changes the hash that data.dvc names: regenerate it with the same commit."""
    assert digest(dozen) == DOZEN


def test_the_number_of_processes_and_of_products_changes_nothing(dozen, tmp_path):
    sample.main(tmp_path / "one", products=26, processes=1)
    sample.main(tmp_path / "two", products=26, processes=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    for name in ("catalogue.csv", "parts.csv"):
        few, many = (dozen / name).read_bytes(), (tmp_path / "one" / name).read_bytes()
        assert many.startswith(few)
        assert b"\r" not in many
    for path in (dozen / "images").rglob("*.jpg"):
        assert path.read_bytes() == (tmp_path / "one" / path.relative_to(dozen)).read_bytes()


def test_another_seed_is_another_catalogue():
    one, two = ([item.title for item in items(seed, 0, 20)] for seed in (7, 8))
    assert one != two


def test_a_row_a_picture_and_every_picture_is_what_it_says(dozen):
    rows = rows_of(dozen / "catalogue.csv")
    assert tuple(rows[0]) == sample.COLUMNS
    assert sorted(row["image_path"] for row in rows) == sorted(
        path.relative_to(dozen).as_posix() for path in (dozen / "images").rglob("*.jpg")
    )
    for row in rows:
        assert {"colour", "pattern", "gender", "season", "material"} <= set(json.loads(row["attributes"]))
        with Image.open(dozen / row["image_path"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
    views = defaultdict(list)
    for row in rows:
        views[row["product_id"]].append(row["view"])
    assert len(views) == 12
    assert all(1 <= len(shown) <= 3 and shown[0] == "front" for shown in views.values())


def test_boxes_lie_in_their_picture_and_every_picture_has_its_noun(dozen):
    rows, parts = rows_of(dozen / "catalogue.csv"), rows_of(dozen / "parts.csv")
    assert tuple(parts[0]) == sample.PARTS
    words = defaultdict(set)
    for part in parts:
        x0, y0, x1, y1 = (int(part[edge]) for edge in ("x0", "y0", "x1", "y1"))
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        assert part["word"] == part["word"].lower()
        words[part["product_id"], part["view"]].add(part["word"])
    for row in rows:
        assert row["sub_category"].lower().split()[-1] in words[row["product_id"], row["view"]]


def test_a_folder_with_something_in_it_is_left_alone(dozen):
    before = digest(dozen)
    with pytest.raises(Problem, match="not empty"):
        sample.main(dozen, products=3)
    assert digest(dozen) == before


def test_the_program_refuses_in_one_sentence(dozen):
    command = [sys.executable, "-m", "fashionvl.stages.sample", str(dozen)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "not empty" in ended.stderr


def test_an_interrupted_run_never_looks_complete_and_the_next_one_is(dozen, tmp_path, monkeypatch):
    out, written = tmp_path / "out", sample.pictures_of

    def cut(item):
        if item.number == 5:
            raise KeyboardInterrupt
        return written(item)

    monkeypatch.setattr(sample, "pictures_of", cut)
    with pytest.raises(KeyboardInterrupt):
        sample.main(out, products=12, processes=1)
    assert not out.exists()
    monkeypatch.undo()
    sample.main(out, products=12, processes=1)
    assert digest(out) == digest(dozen)
    assert not out.with_name("out.partial").exists()


def test_a_folder_in_the_way_is_not_deleted(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "letters.txt").write_text("mine")
    with pytest.raises(Problem, match="in the way"):
        sample.main(tmp_path / "out", products=3)
    assert (tmp_path / "out.partial" / "letters.txt").read_text() == "mine"


@pytest.mark.parametrize("seed", [7, 0, 123])
def test_six_hundred_products_hold_enough_of_everything(seed):
    products = list(items(seed, 0, 600))
    assert len({item.id for item in products}) == 600
    assert len({item.category for item in products}) >= 12
    assert len({item.sub_category for item in products}) >= 30
    splits = Counter(item.split for item in products)
    assert splits["val"] >= 105
    assert splits["test"] >= 105
    assert splits["train"] >= 330
    split_of_group = {(item.group, item.split) for item in products}
    assert len({group for group, _ in split_of_group}) == len(split_of_group)
    assert {(item.sub_category, item.split) for item in products} == {
        (kind.name, split) for kind in KINDS for split in ("train", "val", "test")
    }
    assert len({item.attributes["colour"] for item in products}) == len(COLOURS) >= 12
    assert {item.attributes["pattern"] for item in products} == {"solid", *PATTERNS}


def test_colour_variants_differ_in_nothing_but_colour():
    groups = defaultdict(list)
    for item in items(7, 0, 600):
        groups[item.group].append(item)
    families = [group for group in groups.values() if len(group) > 1]
    assert len(families) >= 60
    for group in families:
        assert len({(item.title, item.description, item.sub_category, item.article.number) for item in group}) == 1
        assert len({item.attributes["colour"] for item in group}) == len(group)
        assert not any(re.search(rf"\b{item.attributes['colour']}\b", item.title.lower()) for item in group)


def test_descriptions_vary_in_length_and_form():
    texts = {item.group: item.description for item in items(7, 0, 600)}
    lengths = sorted(len(text.split()) for text in texts.values())
    assert lengths[0] >= 8
    assert lengths[-1] <= 48
    assert sum(15 <= length <= 30 for length in lengths) > len(lengths) * 0.6
    assert len({" ".join(text.split()[:2]) for text in texts.values()}) > 150
    assert not any(re.search(r"[{}]|\bNone\b|\s\s|\s[.,]|\ba [aeiou]\w", text) for text in texts.values())


def test_every_word_that_can_point_points_at_something_drawn():
    known = {word for words in POINTERS.values() for word in words}
    for item in items(7, 0, 600):
        article = item.article
        colours = mix(article, dye_of(article, item.variant), item.variant)
        there = {name for back in (False, True) for name in names(article.kind.draw(article, colours, back))}
        able = {word for name in (*there, "") for word in pointers_of(article, name)}
        if article.pattern != "solid":
            able |= set(POINTERS[article.pattern])
        said = set(re.findall(r"[a-z]+(?:-[a-z]+)*", f"{item.title} {item.description}".lower()))
        assert said & known <= able, (item.sub_category, item.description, (said & known) - able)


def test_a_pattern_is_named_only_where_it_is_drawn():
    words = {
        word: {name for name in PATTERNS if word in POINTERS[name]} for name in PATTERNS for word in POINTERS[name]
    }
    for item in items(7, 0, 600):
        for word in re.findall(r"[a-z]+(?:-[a-z]+)*", item.description.lower()):
            drawn_otherwise = word in ("stripes", "star") and item.attributes.keys() & {"ends", "print", "motif"}
            if word in words and not drawn_otherwise:
                assert item.attributes["pattern"] in words[word], item.description


def test_rows_stream_in_flat_memory():
    def peak(count: int) -> int:
        tracemalloc.start()
        for item in items(7, 0, count):
            sample._csv([sample._row(item, view) for view in item.views])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what is imported and cached once
    assert peak(1500) < peak(150) + 50_000


def difference(one: Image.Image, two: Image.Image) -> tuple[int, int, int, int] | None:
    return ImageChops.difference(one, two).getbbox()


def joined(boxes):
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def masked(image: Image.Image, boxes) -> Image.Image:
    """The picture with the boxes blacked out."""
    image = image.copy()
    for edges in boxes:
        image.paste((0, 0, 0), edges)
    return image


def scenes_with_every_part():
    """-> (name, scene): every part name that any kind draws, once or twice, in all views."""
    seen: Counter[str] = Counter()
    for item in items(7, 0, 900):
        for view in ("front", "back"):
            scene = scene_of(item.article, item.variant, view) if _new(item, view, seen) else None
            if scene is None:
                continue
            for name in dict.fromkeys(names(scene.parts)):
                if seen[name] < 2:
                    seen[name] += 1
                    yield name, scene


def _new(item, view, seen) -> bool:
    colours = mix(item.article, dye_of(item.article, item.variant), item.variant)
    return any(seen[name] < 2 for name in names(item.article.kind.draw(item.article, colours, view == "back")))


def test_taking_a_part_away_changes_the_picture_inside_its_box_and_nowhere_else():
    checked = set()
    for name, scene in scenes_with_every_part():
        whole, truth = paint(scene)
        less, _ = paint(dataclasses.replace(scene, parts=without(scene.parts, name)))
        boxes = [edges for found, edges in truth if found == name]
        if not boxes:  # hidden by what lies over it, or too small to be named
            continue
        checked.add(name)
        assert difference(masked(whole, boxes), masked(less, boxes)) is None, name
        changed = difference(whole, less)
        assert changed is not None, name
        assert all(abs(a - b) <= 4 for a, b in zip(changed, joined(boxes), strict=True)), (name, changed, boxes)
    assert checked | set(PATTERNS) == set(POINTERS)


def test_the_box_of_the_noun_holds_the_whole_garment_and_no_more():
    for item in items(7, 0, 48):
        scene = scene_of(item.article, item.variant, item.views[-1])
        whole, truth = paint(scene)
        bare = scene.ground.reduce(FINER)
        changed = difference(whole, bare)
        assert all(abs(a - b) <= 1 for a, b in zip(changed, dict(truth)[""], strict=True))


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_a_pattern_shows_inside_its_box_and_nowhere_else(pattern):
    item = next(item for item in items(7, 0, 2000) if item.article.pattern == pattern)
    scene = scene_of(item.article, item.variant, "front")
    plain = scene_of(dataclasses.replace(item.article, pattern="solid"), item.variant, "front")
    patterned, truth = paint(scene)
    solid, _ = paint(dataclasses.replace(scene, fabric=plain.fabric))
    boxes = [edges for found, edges in truth if found == pattern]
    assert len(boxes) == 1
    assert difference(patterned, solid) is not None
    assert difference(masked(patterned, boxes), masked(solid, boxes)) is None


def test_a_detail_is_the_same_drawing_closer_by():
    for item in items(7, 0, 40):
        front, near = (scene_of(item.article, item.variant, view) for view in ("front", "detail"))
        assert near.parts == front.parts
        assert near.camera.scale * WIDTH > front.camera.scale * WIDTH * 5 // 4


def test_the_fill_covers_exactly_the_pixels_whose_centres_lie_inside():
    camera = Camera(40, 30, (0, 0), 0, 0, 1024)
    mask = mask_of((((2, 3), (9, 3), (9, 7), (2, 7)),), camera)
    image = Image.new("L", (40, 30))
    image.paste(mask.image, (mask.x, mask.y))
    assert image.getbbox() == (2, 3, 9, 7)
    assert image.histogram()[255] == 7 * 4
    halves = [mask_of((half,), camera) for half in (((0, 0), (30, 0), (30, 20)), ((0, 0), (30, 20), (0, 20)))]
    assert sum(half.image.histogram()[255] for half in halves) == 30 * 20  # no gap, no overlap


def test_shapes_stay_whole_numbers():
    shapes = (box(1, 2, 30, 40), oval(50, 60, 21, 17), rounded(0, 0, 90, 70, 11), curve((0, 0), (50, 90), (101, 3)))
    for shape in (*shapes, *stroke(curve((0, 0), (50, 90), (101, 3)), 13)):
        assert all(type(value) is int for point in shape for value in point)


def test_no_jpeg_option_is_left_to_chance():
    item = next(items(7, 3, 4))
    _, first, _ = next(iter(sample.pictures_of(item)))
    _, second, _ = next(iter(sample.pictures_of(item)))
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        assert "progressive" not in image.info
