"""How far a catalogue has moved: nothing for the same, beyond the level of chance for another."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image, ImageOps

from fashionvl import checkpoint, config
from fashionvl.catalogue import drift as distance
from fashionvl.catalogue.problems import Problem
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.stages import drift, news

PARAMS = Path(__file__).parents[2] / "params.yaml"
KINDS = ("boots", "coat", "bag", "scarf")
COLOURS = ("red", "navy", "olive", "white", "black", "pink", "gold")


@pytest.fixture
def params(tmp_path) -> Path:
    raw = yaml.safe_load(PARAMS.read_text())
    raw["drift"] |= {"pictures": 40, "partings": 12}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def shop(folder: Path, products: range, *, say=lambda text: text, kind=lambda at: KINDS[at % 4], paint=None) -> Path:
    """A catalogue of plain pictures on white; two products in a row are one group."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for at in products:
        picture = Image.new("RGB", (32, 32), "white")
        picture.paste(Image.new("RGB", (16, 20), COLOURS[at % 7]), (8 + at % 3, 6))
        (paint(picture) if paint else picture).save(folder / "images" / f"{at}.png")
        text = say(f"a {COLOURS[at % 7]} {kind(at)} with {at % 5} buttons")
        rows.append({"product_id": f"p{at}", "image_path": f"images/{at}.png", "title": text, "category": kind(at)})
    pd.DataFrame(rows).assign(group_id=[f"g{at // 2}" for at in products]).to_csv(folder / "catalogue.csv", index=False)
    return folder


def measured(old: Path, new: Path, params: Path, build: Path = Path("nowhere")) -> dict:
    drift.main(old, new, out=params.with_name("drift.json"), params=params, build=build)
    return json.loads(params.with_name("drift.json").read_text())


@pytest.fixture
def encoder(tmp_path) -> Path:
    """A build folder with an untrained encoder, which sees colours at least."""
    torch.manual_seed(0)
    model = ConvEncoder([8, 16]).eval()
    model.calibrate(torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8))
    checkpoint.save(tmp_path / "build" / "encoder", model.state_dict(), {"channels": [8, 16], "pixels": 16})
    return tmp_path / "build"


def test_the_same_catalogue_has_not_moved(tmp_path, params, encoder, capsys):
    old = shop(tmp_path / "old", range(56))
    found = measured(old, old, params, encoder)
    assert not found["drifted"]
    assert set(found["measures"]) == set(config.DRIFTS)
    assert all(said["value"] == 0 for said in found["measures"].values())
    assert all(said["level"] > 0 for name, said in found["measures"].items() if name != "unknown")
    assert "all as allowed" in capsys.readouterr().out


def test_more_of_the_same_is_at_the_level_of_chance(tmp_path, params, encoder):
    old, new = shop(tmp_path / "old", range(56)), shop(tmp_path / "new", range(28, 112))
    found = measured(old, new, params, encoder)
    assert not found["drifted"]
    assert all(said["value"] <= max(said["level"], 0.05) for said in found["measures"].values())


@pytest.mark.parametrize(
    ("change", "exceeded", "same"),
    [
        ({"kind": lambda at: "hat"}, {"category", "sub_category", "unknown"}, {"colours", "encoder"}),
        ({"say": lambda text: f"zorgle {text} unseen quux"}, {"words", "unknown"}, {"category", "colours"}),
        ({"paint": ImageOps.invert}, {"colours", "encoder"}, {"category", "words", "unknown"}),
    ],
)
def test_what_moved_is_named_and_nothing_else(tmp_path, params, encoder, change, exceeded, same):
    old, new = shop(tmp_path / "old", range(56)), shop(tmp_path / "new", range(56), **change)
    found = measured(old, new, params, encoder)
    assert exceeded <= set(found["exceeded"])
    assert not same & set(found["exceeded"])
    assert found["drifted"]


def test_without_an_encoder_that_is_said(tmp_path, params):
    old = shop(tmp_path / "old", range(12))
    found = measured(old, old, params)
    assert "encoder" not in found["measures"]
    assert "no encoder" in found["not_measured"]


def test_an_older_state_that_nobody_can_read_does_not_stand_in_the_way(tmp_path, params):
    old, new = shop(tmp_path / "old", range(2), say=lambda text: ""), shop(tmp_path / "new", range(8))
    found = measured(old, new, params)
    assert (found["drifted"], found["measures"]) == (False, {})
    assert "nothing is compared" in found["not_measured"]
    with pytest.raises(Problem, match="holds no product"):
        measured(new, old, params)


def test_distances_are_symmetric_and_reach_their_ends():
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 50), draw.integers(0, 9, 50)
    for of in (distance.total_variation, distance.jensen_shannon):
        assert of(a, b) == pytest.approx(of(b, a))
        assert of(a, a) == pytest.approx(0)
        assert of(np.array([3, 0]), np.array([0, 5])) == pytest.approx(1)
    x, y = draw.normal(size=(30, 4)), draw.normal(size=(20, 4)) + 1
    assert distance.energy(x, y) == pytest.approx(distance.energy(y, x))
    assert distance.energy(x, x) == pytest.approx(0, abs=1e-6)
    assert distance.energy(np.zeros((5, 2)), np.ones((4, 2))) == pytest.approx(1)
    assert distance.energy(x, x + 9) > distance.energy(x, x + 1) > 0
    assert distance.unknown_share(np.array([1, 0]), np.array([1, 3])) == 0.75


def test_the_level_grows_as_the_parts_get_smaller_and_keeps_groups_whole():
    draw = np.random.default_rng(0)
    codes, _ = distance.bags([[str(kind)] for kind in draw.integers(0, 5, 400)], [])

    def level(share: float, units: np.ndarray) -> tuple[float, list[np.ndarray]]:
        seen = []

        def between(chosen: np.ndarray) -> float:
            seen.append(chosen)
            return distance.total_variation(codes.counts(~chosen), codes.counts(chosen))

        generator = np.random.default_rng(1)
        found = distance.level(between, units, share, partings=40, quantile=0.95, generator=generator)
        return found, seen

    assert level(0.5, np.arange(400))[0] < level(0.05, np.arange(400))[0]
    parted = level(0.3, np.arange(400) // 2)[1]
    assert all((chosen[::2] == chosen[1::2]).all() for chosen in parted)
    assert {int(chosen.sum()) for chosen in parted} == {120}


def test_news_are_counted_by_product(tmp_path, params):
    old, new = shop(tmp_path / "old", range(10)), shop(tmp_path / "new", range(2, 13))
    Image.new("RGB", (32, 32), "teal").save(new / "images" / "4.png")
    rows = pd.read_csv(new / "catalogue.csv")
    rows.loc[rows["product_id"] == "p7", "title"] = "another title"
    rows.sample(frac=1, random_state=0).to_csv(new / "catalogue.csv", index=False)  # order is no news
    news.main(old, new, out=tmp_path / "news.json", params=params)
    found = json.loads((tmp_path / "news.json").read_text())
    assert sorted(found["named"]["changed"]) == ["p4", "p7"]
    assert (found["new"], found["changed"], found["withdrawn"]) == (3, 2, 2)
    assert (found["before"], found["now"]) == (10, 11)
    news.main(new, old, out=tmp_path / "news.json", params=params)
    back = json.loads((tmp_path / "news.json").read_text())
    assert (back["new"], back["changed"], back["withdrawn"]) == (2, 2, 3)


def test_a_picture_that_is_missing_in_both_is_no_news(tmp_path, params):
    old, new = shop(tmp_path / "old", range(4)), shop(tmp_path / "new", range(4))
    for folder in (old, new):
        (folder / "images" / "1.png").unlink()
    (new / "images" / "2.png").unlink()
    news.main(old, new, out=tmp_path / "news.json", params=params)
    assert json.loads((tmp_path / "news.json").read_text())["named"]["changed"] == ["p2"]
