"""The stage `detector` on a handful of generated products, at a tiny size."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState

from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.sample import PATTERNS
from fashionvl.models.detector import load_detector
from fashionvl.stages import detector, sample
from fashionvl.tasks import detection, precision

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIZES = {"channels": [8] * 5, "width": 16, "inner": 16, "heads": 2, "layers": 2, "queries": 20, "noised": 8}


@pytest.fixture
def place(tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)  # of a test before this one
    settings = yaml.safe_load(PARAMS.read_text())
    quick = {**settings["detector"]["training"], "epochs": 0, "least_steps": 4, "batch": 4}
    settings["detector"] |= {"products": 15, "least": 2, "pixels": [64, 64], "sizes": SIZES, "training": quick}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def run(place, **options):
    paths = {"params": place / "params.yaml", "build": place / "build", "work": place / "work"}
    detector.main("scratch", **paths, **options)


@pytest.mark.slow
@pytest.mark.ci
def test_the_stage_leaves_a_measured_detector_and_goes_on_to_the_same_bits_where_it_was_stopped(place):
    run(place)
    out = place / "build" / "detector"
    weights, card = (out / "model.safetensors").read_bytes(), checkpoint.read_card(out)
    assert {"test.mAP", "test.mAP50", "test.pictures", "test.objects", "test.classes", "loss"} <= set(card["metrics"])
    assert json.loads((place / "build" / "metrics" / "detector.json").read_text()) == card["metrics"]
    assert (card["steps"], card["item"]) == (4, "scratch")
    assert (out / "curves.csv").exists()
    found = load_detector(out)
    assert len(set(found.names)) == len(found.names) >= card["metrics"]["test.classes"] == len(card["mAP50"]) > 0
    assert found(torch.zeros(1, 3, 256, 192, dtype=torch.uint8)).boxes.shape == (1, 20, 4)
    assert not list((place / "work").glob("detector*/*"))
    run(place, stop_after=2)
    assert not list(place.glob("work/*/*/sample.partial"))
    run(place)
    assert (out / "model.safetensors").read_bytes() == weights


@pytest.fixture(scope="module")
def bought(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "sample"
    sample.main(folder, products=12, processes=1)
    return detector.catalogue_of(folder)


def test_every_garment_and_every_part_of_it_has_one_name_from_the_truth(bought):
    parts = detector.parts_of(bought)
    table = detection.named(parts, PATTERNS)
    boxes = ["picture", *detection.CORNERS]
    assert not table.duplicated(boxes).any()
    said = parts.groupby(boxes)["word"].agg(set)
    assert all(row.name in said[tuple(getattr(row, c) for c in boxes)] for row in table.itertuples(index=False))
    nouns = parts.drop_duplicates("picture").set_index("picture")["noun"]
    shows = table.groupby("picture")["name"].agg(set)
    front = bought.pictures.index[bought.pictures["view"] == "front"]
    assert all(nouns[picture] in shows[picture] for picture in front)
    assert not {"striped", "checked", "dotted", "floral"} & set(table["name"])


def test_boxes_are_shares_of_their_pictures(bought):
    table = detection.named(detector.parts_of(bought), PATTERNS)
    classes = detection.classes_of(table["name"], least=1)
    objects = detection.objects_of(table, classes, detector.sizes_of(bought))
    assert len(objects.boxes) == len(table)
    assert 0 <= objects.boxes.min() < objects.boxes.max() <= 1
    assert (objects.boxes[:, 2:] > objects.boxes[:, :2]).all()
    assert objects.start[-1] == len(table)


def test_only_one_detector_is_made_here():
    with pytest.raises(config.ConfigError, match="makes 'scratch' and no 'yolos'"):
        detector.main("yolos")


def test_a_sample_too_small_for_its_classes_is_one_sentence(place):
    settings = yaml.safe_load((place / "params.yaml").read_text())
    settings["detector"] |= {"least": 1000, "products": 5}
    (place / "params.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(config.ConfigError, match=r"no class has the 1000 training boxes that detector\.least"):
        run(place)


def test_without_the_counter_nothing_is_begun(place, monkeypatch):
    monkeypatch.setattr(precision.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match=r"pycocotools is not installed .*\.\[detection\]"):
        run(place)
    assert not (place / "work").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run_detectors": ["yolos"]}, r"run_detectors must be \[\] or \[scratch\], not \['yolos'\]"),
        ({"detector": {"pixels": [100, 96]}}, r"detector\.pixels must be \[height, width\], multiples of 32"),
        (
            {"detector": {"sizes": {**SIZES, "heads": 3}}},
            r"detector\.sizes\.width must be a multiple of 4 and of the 3",
        ),
        ({"detector": {"sizes": {**SIZES, "channels": [8]}}}, r"detector\.sizes\.channels must be five numbers"),
        ({"detector": {"sizes": {**SIZES, "queries": 0}}}, r"detector\.sizes\.queries must be above 0"),
        ({"detector": {"cells": 0}}, r"detector\.cells must be above 0"),
        ({"detector": {"crop": 0.5}}, r"detector\.crop must be a share from 0 to below 0\.5"),
    ],
)
def test_a_wrong_table_is_a_sentence_that_names_the_key(tmp_path, change, says):
    settings = yaml.safe_load(PARAMS.read_text())
    for key, value in change.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(config.ConfigError, match=says):
        config.load(tmp_path / "params.yaml")
