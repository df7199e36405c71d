"""The stage `report`: what stands on the page is what was measured, and what was not measured is said."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.style import Markup, page, section, table
from fashionvl.stages import report
from fashionvl.stages.pages import (
    ablations,
    alignments,
    captioning,
    duals,
    galleries,
    model_card,
    opening,
    published,
    recognition,
    regions,
    retrieval,
    slices,
    trainings,
)
from fashionvl.stages.pages.parts import Row, dots, rows_of
from tests import shop

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert(\"x\")</script> & 'co'"
ROWS = rows_of(["kaleido"], ["baseline"])
VOID = {"img", "meta", "br", "polyline"}


class Balanced(HTMLParser):
    """Asserts that every tag is closed where it must be, and that no anchor leads nowhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        assert {link[1:] for link in self.links if link.startswith("#")} <= self.ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag != "script"
        self.ids |= {given["id"]} if given.get("id") else set()
        self.links += [given["href"]] if given.get("href") else []
        self.fetched += [given["src"]] if given.get("src") else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def recalls(first: float) -> dict[str, float]:
    """The metrics of a system whose R@1 is `first`, other recalls following."""
    found = {"sampled.queries": 40, "sampled.candidates": 101, "sampled.chance_R@1": 1 / 101, "full.gallery": 40}
    found |= {"sampled.same_subcategory_share": 0.4, "sampled.filled_queries_share": 0.7}
    for protocol in ("sampled", "full"):
        for way in ("itr", "tir"):
            for at in (1, 5, 10):
                value = first + at / 100
                key = f"{protocol}.{way}.R@{at}"
                found |= {key: value, f"{key}.low": value - 0.032, f"{key}.high": value + 0.041}
        found[f"{protocol}.SumR"] = 100 * (6 * first + 0.32)
    return found


def recognised(accuracy: float) -> dict[str, float]:
    found = {}
    for column, less in (("image", 0.3), ("text", 0.1), ("both", 0.0)):
        value = accuracy - less
        found |= {f"{column}.accuracy": value, f"{column}.accuracy.low": value - 0.02}
        found |= {f"{column}.accuracy.high": value + 0.02, f"{column}.macro_f_all": value - 0.1}
        found |= {f"{column}.macro_f_present": value - 0.05, f"{column}.calibration_error": 0.013}
        found |= {f"{column}.calibration_error_raw": 0.087, f"{column}.temperature": 1.37}
    return found


def ranks_of(catalogue, first: bool = True) -> pd.DataFrame:
    """The whole split asked for once; every second group is a hit."""
    products, groups = catalogue.in_split("test"), catalogue.groups()
    rows = []
    for way in ("itr", "tir"):
        for at, product in enumerate(products.tolist()):
            picture = 2 * product
            wrong = int(products[at - 1])
            rows.append(("full", way, 0, product, picture, 1 + 6 * (at // 2 % 2), groups[product], wrong))
    names = ["protocol", "direction", "draw", "product", "picture", "rank", "group", "first"]
    found = pd.DataFrame(rows, columns=names)
    return found if first else found.drop(columns="first")


def predictions_of(catalogue) -> pd.DataFrame:
    """Both views of the test split; every third answer of text and picture is wrong, ever more surely so."""
    products = catalogue.in_split("test").repeat(2)
    true = catalogue.products["sub_category"].to_numpy()[products]
    wrong = np.arange(len(products)) % 3 == 0
    said = np.where(wrong, "gloves", true)
    columns = {"product": products, "picture": 2 * products, "group": catalogue.groups()[products], "true": true}
    sure = np.linspace(0.5, 0.99, len(products))
    return pd.DataFrame({**columns, "said_image": said, "said_text": true, "said_both": said, "confidence_both": sure})


def test_a_table_escapes_all_but_markup_and_pales_whole_rows():
    text = table((EVIL, "n"), [(EVIL, 1234), (Markup("<b>x</b>"), 5)], pale=[1])
    Balanced(text)
    assert "<script" not in text
    assert "<b>x</b>" in text
    assert "<td class=number>1,234</td></tr><tr class=pale>" in text


def test_every_recall_stands_with_its_interval():
    found = {"kaleido": recalls(0.2), "kaleido-retrieval": recalls(0.3), "baseline": recalls(0.25)}
    text = retrieval.retrieval(ROWS, found, None)
    Balanced(text)
    for metrics in found.values():
        for key, value in metrics.items():
            if re.search(r"R@\d+$", key) and "chance" not in key:
                ends = f"[{100 * metrics[key + '.low']:.1f}, {100 * metrics[key + '.high']:.1f}]"
                assert f"{100 * value:.1f}<small>{ends}</small>" in text
        assert f"{metrics['full.SumR']:.1f}" in text
    for at, chance in ((1, "1.0"), (5, "5.0"), (10, "9.9")):
        assert f">{chance}</td>" in text, at
    assert text.count("as published: Kaleido-BERT") == 3
    assert published.WARNING.replace("'", "&#x27;") in text


def test_a_system_that_was_not_run_is_said_and_has_no_numbers():
    text = retrieval.retrieval(ROWS, {"kaleido": recalls(0.2)}, None)
    assert "kaleido, fine-tuned: not run." in text
    assert "baseline: not run." in text
    assert "Retrieval was not measured" in retrieval.retrieval(ROWS, {}, None)


def test_a_paired_difference_keeps_its_sign():
    compared = {
        "kaleido-retrieval - baseline": {"sampled.itr.R@1": [4.2, 1.1, 7.3], "sampled.tir.R@1": [0.4, -2.0, 2.5]},
        "kaleido - baseline": {"full.itr.R@1": [-9.5, -12.0, -7.0]},
    }
    text = retrieval.differences(compared)
    Balanced(text)
    assert "+4.2 <small>[+1.1, +7.3]</small></td><td>first</td>" in text
    assert "+0.4 <small>[-2.0, +2.5]</small></td><td>not clear</td>" in text
    assert "-9.5 <small>[-12.0, -7.0]</small></td><td>second</td>" in text
    assert text.count("unsure") == 1


def test_a_difference_stands_on_its_side_of_zero():
    left, right = (
        float(re.search(r'<b style="left:([\d.]+)%', dots([("", x, x - 1, x + 1)], (-10, 10), signed=True))[1])
        for x in (-4, 4)
    )
    assert left < 50 < right


def test_recognition_shows_three_columns_the_yardsticks_and_the_paper():
    yardsticks = {f"category.{name}.{score}": 0.123 for name in recognition.YARDSTICKS for score in recognition.SCORES}
    frame = predictions_of(shop.catalogue())
    text = recognition.recognition("kaleido", {"category": recognised(0.9)}, yardsticks, {"category": frame}, {})
    Balanced(text)
    for said in ("60.0<small>[58.0, 62.0]", "80.0<small>[78.0, 82.0]", "90.0<small>[88.0, 92.0]", "8.7", "1.3", "1.37"):
        assert said in text
    assert text.count(">12.3</td>") == 9
    assert ">95.1</td>" in text
    assert "kaleido has not been fine-tuned for this task." in text  # sub-category
    assert "SumCLS" not in text


def test_the_commonest_mistakes_are_counted():
    frame = pd.DataFrame({"true": ["a", "a", "b", "a"], "said_both": ["b", "b", "b", "a"], "said_image": ["b"] * 4})
    assert "<td>a</td><td>b</td><td class=number>2</td><td class=number>3</td><td class=number>3</td>" in (
        recognition.confused(frame)
    )


def test_the_surest_mistakes_come_first_and_one_a_group():
    found = recognition.surest_mistakes(predictions_of(shop.catalogue()), 3)
    assert (found["true"] != found["said_both"]).all()
    assert found["confidence_both"].is_monotonic_decreasing
    assert found["group"].is_unique


def test_captions_that_were_not_measured_are_said_not_to_be():
    scores = dict.fromkeys(captioning.NAMES, 7.25)
    measured = {f"causal.{key}": value for key, value in scores.items()}
    text = captioning.captioning("kaleido", measured, {"val.words": 3.0}, "SCORER")
    Balanced(text)
    assert text.count(">7.2</td>") == 5
    assert text.count(f"({captioning.UNMEASURED})") == 2  # the other mode, and Show, Attend and Tell
    assert "SCORER" in text
    assert ">84.0</td>" in text
    assert "has not been fine-tuned for captions" in captioning.captioning("kaleido", None, None, "SCORER")


def test_overlap_is_one_for_the_same_words_and_none_for_others():
    assert captioning.overlap("A red shirt", "shirt a RED") == 1
    assert captioning.overlap("a red shirt", "blue jeans") == 0
    assert captioning.overlap("", "blue jeans") == 0
    assert captioning.overlap("red shirt", "red jeans") == pytest.approx(0.5)


def test_good_captions_and_bad_ones_are_told_apart():
    said = ["red shirt", "red jeans", "", "blue hat"]
    frame = pd.DataFrame({"product": range(4), "picture": range(4), "mode": "causal", "said": said})
    good, bad = captioning.best_and_worst(frame.assign(reference=["red shirt"] * 3 + ["blue hat"]), 2)
    assert good["product"].tolist() == [0, 3]
    assert bad["product"].tolist() == [2, 1]


@pytest.mark.parametrize("first", [True, False])
def test_queries_are_shown_with_what_was_right_and_what_came_first(first):
    catalogue = shop.catalogue()
    looked: list[int] = []
    texts = [f"text {i} {EVIL}" for i in range(len(catalogue.products))]
    look = lambda picture: looked.append(picture) or "data:,"  # noqa: E731
    of_picture = catalogue.pictures["product"].to_numpy()
    text = galleries.found_and_missed(ranks_of(catalogue, first), texts, of_picture, look)
    Balanced(text)
    assert "<script" not in text
    assert ("Ranked first instead" in text) == first
    assert ("was not kept" in text) != first
    assert "Right, at rank 7" in text
    assert text.index("Right, and first") < text.index("Right, at rank 7")
    assert text.count('class="case miss"') == text.count("Right, at rank 7")
    assert len(looked) <= 4 * galleries.CASES * 2


def test_slices_hold_every_row_once():
    catalogue = shop.catalogue()
    mine = catalogue.in_split("test")
    keys = slices.keys_of(catalogue.products.iloc[mine])
    assert list(keys) == ["category", "colour"]
    hits, groups = np.arange(len(mine)) % 2.0, catalogue.groups()[mine]
    for values in keys.values():
        found = slices.slices(values, hits, groups, np.random.default_rng(0))
        assert sum(each.rows for each in found) == len(mine)
        assert sum(each.rows * each.mean for each in found) == pytest.approx(hits.sum())
        assert all(each.low <= each.mean <= each.high for each in found)


def test_an_attribute_of_too_many_values_or_too_few_products_is_no_slice():
    def products(attributes):
        return pd.DataFrame({"category": [""] * 40, "attributes": [json.dumps(each) for each in attributes]})

    many = [{"code": str(i), "same": "x", "gender": "men" if i % 2 else "women"} for i in range(40)]
    assert list(slices.keys_of(products(many))) == ["category", "gender"]
    few = [{"gender": "men" if i % 2 else "women"} if i < 20 else {} for i in range(40)]
    assert slices.keys_of(products(few)) == {"category": [slices.UNSAID] * 40}


def test_rare_classes_are_put_together_so_that_none_is_lost():
    values = [f"class {i % 30}" for i in range(90)]
    found = slices.keys_of(pd.DataFrame({"category": values, "attributes": ["{}"] * 90}))["category"]
    assert len(set(found)) == slices.MOST
    assert len(found) == 90


def test_small_slices_stand_back():
    catalogue = shop.catalogue(products=480)
    measures = {"R@1": slices.hits_of_ranks(ranks_of(catalogue))}
    text = slices.sliced(measures, catalogue.products, np.random.default_rng(0))
    Balanced(text)
    groups = catalogue.products.iloc[catalogue.in_split("test")]["group_id"].nunique()
    assert f"<tr><td>clothes</td><td class=number>{groups}</td>" in text
    assert "<tr class=pale>" in text
    assert "nothing can be sliced" in slices.sliced({}, catalogue.products, np.random.default_rng(0))


def test_the_headline_says_the_numbers_in_plain_words():
    facts = {"products_train": 700, "products_test": 80}
    found = {"kaleido": recalls(0.2), "kaleido-retrieval": recalls(0.37), "baseline": recalls(0.25)}
    text = opening.opening(ROWS, found, {"category": recognised(0.94)}, facts, "test")
    Balanced(text)
    assert "the right picture among 40 comes first for <b>38</b>" in text
    assert "baseline: 26" in text
    assert "<b>94</b>of 100: category recognised" in text
    assert "Nothing has been measured yet" in opening.opening(ROWS, {}, {}, facts, "test")


def test_the_headline_speaks_of_the_first_system_fine_tuned_where_it_was():
    rows = rows_of(["one", "two"], ["baseline"])
    found = {name: recalls(0.2) for name in ("one", "two-retrieval", "baseline")}
    assert opening.best_row(rows, found) == Row("one", "one, pre-trained", True)
    assert opening.best_row(rows, found | {"one-retrieval": {}}) == Row("one-retrieval", "one, fine-tuned", True)
    assert opening.best_row(rows, {"baseline": {}}) is None


def test_published_sums_are_those_of_the_paper():
    assert {name: published.sum_of_recalls(name) for name in published.RETRIEVAL} == {
        "ViLBERT": 218.13,
        "VL-BERT": 212.84,
        "FashionBERT": 251.36,
        "ImageBERT": 241.30,
        "OSCAR": 251.53,
        "Kaleido-BERT": 319.52,
    }
    sums = {"FashionBERT": 309.02, "ImageBERT": 298.28, "OSCAR": 307.82, "Kaleido-BERT": 318.14}
    assert {name: published.sum_of_classes(name) for name in sums} == sums
    captions = {name: sum(cells.values()) for name, cells in published.CAPTIONING.items() if cells}
    assert captions == pytest.approx({"FashionBERT": 72.9, "OSCAR": 76.2, "Kaleido-BERT": 84.0})


def test_a_curve_that_falls_is_drawn_falling():
    curves = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "nce": [3.0, 2.0, 1.0]})
    text = trainings.trainings({"encoder": trainings.Training(curves, 3, 400)})
    Balanced(text)
    points = [float(pair.split(",")[1]) for pair in re.search(r'points="([^"]+)"', text)[1].split()]
    assert points == sorted(points)  # downwards on a screen
    assert "nce 3 → 1" in text
    assert "Nothing has been trained" in trainings.trainings({})


def test_ablations_keep_the_sign_of_a_step():
    column = {"steps": 240, "sampled.SumR": 299.9, "sampled.SumR.sd": 5.5, "sampled.itr.R@1": 0.21}
    step = {"SumR": -16.5, "paper": 20.0, "agrees": False, "SumR.error": 4.0, "clear": True}
    text = ablations.ablations({EVIL: column, "full - random": step})
    Balanced(text)
    assert "299.9<small>± 5.5</small>" in text
    assert "-16.5<small>± 4.0</small>" in text
    assert "against the paper&#x27;s</td>" in text
    assert "was not run" in ablations.ablations(None)


@pytest.fixture
def build(tmp_path) -> Path:
    """A catalogue that has been checked, and nothing else."""
    catalogue = shop.catalogue()
    titles = [EVIL if at % 2 else title for at, title in enumerate(catalogue.products["title"])]
    for path in catalogue.pictures["path"]:
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.new("RGB", (40, 60), "teal").save(tmp_path / "data" / path)
    folder = tmp_path / "build" / "catalogue"
    folder.mkdir(parents=True)
    catalogue.products.assign(title=titles).to_parquet(folder / "products.parquet")
    catalogue.pictures.to_parquet(folder / "pictures.parquet")
    names = ("rows", "rows_set_aside", "groups", "category_classes", "sub_category_classes", "words_mean", "products")
    facts = dict.fromkeys(names, 48) | {"near_duplicates_of_test_in_train": 0, "pictures": 96}
    facts |= {"sub_category_classes_unseen_in_training": 0, "sub_category_classes_rare_in_training": 3}
    facts |= {f"{what}_{split}": 16 for what in ("products", "pictures") for split in ("train", "val", "test")}
    put(tmp_path / "build" / "metrics" / "catalogue.json", facts)
    return tmp_path / "build"


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make(build: Path) -> str:
    report.main(params=ROOT / "params.yaml", data=build.parent / "data", build=build)
    return (build / "report" / "index.html").read_text()


def test_a_build_without_a_single_model_still_makes_a_page_that_says_so(build):
    text = make(build)
    Balanced(text)
    for said in ("Nothing has been measured yet", "No words were aligned", "Table 4 was not run", "nothing to look at"):
        assert said in text
    assert json.loads((build / "report" / "card.json").read_text())["pictures"] == 0


def test_a_whole_build_makes_one_page_that_fetches_nothing(build):
    catalogue = shop.catalogue()
    for name, first in (("kaleido", 0.2), ("kaleido-retrieval", 0.3), ("baseline", 0.25)):
        put(build / "metrics" / f"{name}.json", recalls(first))
        (build / "evaluation" / name).mkdir(parents=True)
        ranks_of(catalogue).to_parquet(build / "evaluation" / name / "ranks.parquet")
    for task in recognition.TASKS:
        put(build / "metrics" / f"kaleido-{task}.json", recognised(0.9))
        (build / "evaluation" / f"kaleido-{task}").mkdir()
        predictions_of(catalogue).to_parquet(build / "evaluation" / f"kaleido-{task}" / "predictions.parquet")
        Image.new("RGB", (50, 50)).save(build / "evaluation" / f"kaleido-{task}" / "confusion.png")
    folder = build / "runs" / "kaleido"
    put(folder / "history.jsonl", {"step": 4, "seconds": 100.0})
    (folder / "curves.csv").write_text("step,loss,mlm,itm\n1,3,2,1\n4,1.5,1,0.5\n")
    put(folder / "card.json", {"stage": "pretrain", "item": "kaleido"})
    text = make(build)
    parsed = Balanced(text)
    assert parsed.fetched
    assert all(address.startswith("data:image/jpeg;base64,") for address in parsed.fetched)
    assert not [link for link in parsed.links if not link.startswith(("#", "../"))]
    assert "<script" not in text
    assert EVIL.split(">")[0] + ">" not in text
    assert "&lt;script&gt;alert(" in text
    assert "python -m fashionvl.stages.pretrain kaleido" in text
    assert "SumCLS" in text
    assert '<meta name="viewport"' in text
    card = json.loads((build / "report" / "card.json").read_text())
    assert 0 < card["pictures"] <= 80
    assert card["bytes"] == len((build / "report" / "index.html").read_bytes())
    assert make(build) == text  # again, the same page


def test_no_checked_catalogue_is_a_sentence(tmp_path):
    with pytest.raises(Problem, match="holds no checked catalogue"):
        report.main(params=ROOT / "params.yaml", data=tmp_path, build=tmp_path)


def test_alignments_link_to_their_own_page():
    metrics = {"caption.pairs": 9, "caption.words_per_picture": 2.0, "caption.products_with_any_share": 0.5}
    text = alignments.alignments({"kaleido": metrics}, {"kaleido": [("data:,", "a b.png")]})
    assert Balanced(text).links == ["../alignment/kaleido/pictures/a%20b.png", "../alignment/kaleido/report.html"]
    assert "nothing is judged" in text


def test_regions_are_shown_with_what_found_them():
    rows = config.load(ROOT / "params.yaml").patches
    named = dataclasses.replace(rows["objects"].regions, detector=EVIL)
    rows = {**rows, EVIL: dataclasses.replace(rows["objects"], regions=named)}
    text = regions.regions({"segments": "data:1", "objects": "data:2", EVIL: "data:3"}, rows)
    assert Balanced(text).fetched == ["data:1", "data:2", "data:3"]
    assert "without a detector" in text
    assert "64 visual words" in text
    assert "the detector learned here" in text
    assert "<script" not in text


def test_the_sheet_of_a_kind_that_is_run_is_on_the_page(build, tmp_path):
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"run_regions": {"segments": "encoder"}}
    settings["comparison"]["regions"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    (build / "patches" / "segments").mkdir(parents=True)
    Image.new("RGB", (1126, 960), "teal").save(build / "patches" / "segments" / "regions.png")
    report.main(params=tmp_path / "params.yaml", data=build.parent / "data", build=build)
    text = (build / "report" / "index.html").read_text()
    assert 'alt="Regions of some pictures, segments"' in text
    assert "Regions: what pictures are cut into" in text


def test_the_card_and_what_made_the_page_escape_what_they_list():
    text = model_card.provenance([EVIL], {"python": "3.11"}, {EVIL: "0123456789abcdef0123"}, 7, {"fields": [EVIL]})
    Balanced(page("x", section("y", text, "z")))
    assert "0123456789abcdef<" in text
    assert "<script" not in text


def test_what_dual_encoders_know_unasked_is_told_beside_each_other():
    found = {
        "baseline": {"category.probe.accuracy": 0.8125, "category.probe.accuracy.low": 0.75},
        EVIL: {"category.zero_shot.shop.accuracy": 0.4, "composition.swap.all.accuracy": 0.5},
    }
    found["baseline"]["category.probe.accuracy.high"] = 0.875
    said = duals.probes(found)
    Balanced(said)
    assert "81.2<small>[75.0, 87.5]</small>" in said
    assert "40.0" in said
    assert "made by: swap" in said
    assert "made by: replace" not in said
    assert "<script>" not in said
    assert "No dual encoder was probed" in duals.probes({})
    drawn = duals.hidden({EVIL: "data:image/jpeg;base64,xx"})
    assert "<script>" not in drawn
    assert Balanced(drawn).fetched == ["data:image/jpeg;base64,xx"]
