"""The scratch patch encoder and the stages that learn from pixels, on a handful of drawn pictures."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import shop as small
import torch
import yaml
from PIL import Image

from fashionvl import checkpoint, config, words
from fashionvl.catalogue import Catalogue
from fashionvl.models.patch_encoder import SPREAD, ConvEncoder
from fashionvl.patches import store
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.stages import album, contrast, duals, encoder, machine
from fashionvl.stages import patches as patches_stage

PARAMS = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture
def tiles():
    return torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(3)).to(torch.uint8)


def test_a_vector_is_never_negative_and_as_long_as_the_last_channels(tiles):
    vectors = ConvEncoder([8, 16, 24]).eval()(tiles)
    assert vectors.shape == (64, 24)
    assert vectors.min() >= 0


def test_patches_of_any_size_and_shape_can_be_encoded(tiles):
    assert ConvEncoder([8, 16]).eval()(tiles[:, :, :20, :9]).shape == (64, 16)


def test_a_vector_does_not_depend_on_the_patches_beside_it(tiles):
    model = ConvEncoder([8, 16]).eval()
    torch.testing.assert_close(model(tiles)[5:6], model(tiles[5:6]), rtol=1e-4, atol=1e-6)


def test_calibrated_numbers_spread_alike_and_again_changes_nothing(tiles):
    model = ConvEncoder([8, 16])
    model.calibrate(tiles)
    spread = model(tiles).std(dim=0)
    moving = spread > 1e-3
    assert moving.sum() > 8
    torch.testing.assert_close(spread[moving], torch.full_like(spread[moving], SPREAD), rtol=1e-3, atol=1e-4)
    before = model.scale.clone()
    model.calibrate(tiles)
    torch.testing.assert_close(model.scale, before)


def test_the_scale_is_saved_with_the_weights(tiles, tmp_path):
    model = ConvEncoder([8, 16])
    model.calibrate(tiles)
    checkpoint.save(tmp_path, model.state_dict(), {"channels": model.channels})
    weights, card = checkpoint.load(tmp_path)
    again = ConvEncoder(card["channels"])
    again.load_state_dict(weights)
    assert torch.equal(again.eval()(tiles), model(tiles))


@pytest.fixture
def place(tmp_path):
    """A checked catalogue of 24 products: a square of the title's colour on white, and words; tiny parameters."""
    paint = {"black": (20, 20, 20), "white": (235, 235, 235), "red": (200, 20, 30), "green": (20, 160, 60)}
    paint |= {"blue": (30, 60, 200), "camel": (190, 150, 90)}
    of = small.catalogue(products=24, views=2)
    for row in of.pictures.to_dict("records"):
        pixels = np.full((60, 48, 3), 255, dtype=np.uint8)
        pixels[10:50, 8:40] = paint[of.products["title"][row["product"]].split()[0]]
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / row["path"], quality=95)
    folder = tmp_path / "build" / "catalogue"
    folder.mkdir(parents=True)
    of.products.to_parquet(folder / "products.parquet")
    of.pictures.to_parquet(folder / "pictures.parquet")
    (tmp_path / "build" / "words").mkdir()
    words.learn(of.texts(["title", "description"]), vocabulary=120, slots=64).save(tmp_path / "build" / "words")
    settings = yaml.safe_load(PARAMS.read_text())
    quick = {**settings["encoder"]["training"], "epochs": 2, "least_steps": 1, "batch": 8}
    settings["encoder"] |= {"channels": [8, 16], "pixels": 16, "width": 16, "training": quick}
    settings["contrast"]["baseline"] |= {"channels": [8, 16], "pixels": [32, 24], "width": 16, "training": quick}
    settings["patches"]["kaleido"]["pixels"] = 16
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def run(stage, place, *item, **options):
    paths = {"params": place / "params.yaml", "data": place / "data", "build": place / "build", "work": place / "work"}
    stage.main(*item, **paths, **options)


def test_the_stage_leaves_an_encoder_that_the_patches_are_made_with(place):
    run(encoder, place)
    card = checkpoint.read_card(place / "build" / "encoder")
    assert (card["channels"], card["pixels"]) == ([8, 16], 16)
    assert {"nce", "loss", "val.itr.R@1", "val.tir.R@1"} <= set(card["metrics"])
    assert json.loads((place / "build" / "metrics" / "encoder.json").read_text()) == card["metrics"]
    assert not list((place / "work").glob("encoder/*"))
    run(patches_stage, place, "kaleido")
    vectors = store.Store.open(place / "build" / "patches" / "kaleido").clean(range(48)).float()
    assert vectors.shape == (48, KALEIDO.patches, 16)
    assert vectors.min() >= 0
    assert vectors.flatten(0, 1).std(dim=0).median() == pytest.approx(SPREAD, rel=0.3)


@pytest.mark.parametrize(
    ("stage", "item", "made"), [(encoder, (), "encoder"), (contrast, ("baseline",), "runs/baseline")]
)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(place, stage, item, made):
    run(stage, place, *item)
    weights = (place / "build" / made / "model.safetensors").read_bytes()
    run(stage, place, *item, stop_after=2)
    run(stage, place, *item)
    assert (place / "build" / made / "model.safetensors").read_bytes() == weights


def test_a_run_folder_is_scored_on_pairs_of_any_split(place):
    run(contrast, place, "baseline")
    settings = config.load(place / "params.yaml")
    catalogue = Catalogue.load(place / "build" / "catalogue", place / "data")
    dual = duals.load(place / "build" / "runs" / "baseline", place / "build", settings, machine.accelerator())
    score = duals.scorer(dual, catalogue, "test", settings)
    pictures, products = catalogue.pictures_in("test"), catalogue.in_split("test")
    found = score(pictures, products.repeat(2))
    assert found.shape == (len(pictures),)
    assert (np.abs(found) <= 1.001).all()
    model, row = contrast.load(place / "build" / "runs" / "baseline")
    assert not model.training
    assert asdict(row) == asdict(settings.contrast["baseline"])


def test_an_album_is_read_once_and_holds_what_is_locked(place):
    catalogue = Catalogue.load(place / "build" / "catalogue", place / "data")
    some, file = catalogue.pictures_in("val"), place / "val.npy"
    options = {"size": (20, 16), "max_megapixels": 1.0, "file": file}
    locked = album.album(catalogue, some, config.Lock("border", 0.0), **options)
    assert locked.pixels.shape == (len(some), 20, 16, 3)
    inside = locked.pixels[:, 5:15, 4:12].float().flatten(1, 2).std(dim=1)
    assert inside.max() < 5  # one colour, no white border in it
    before = file.stat().st_mtime_ns
    album.album(catalogue, some, config.Lock("border", 0.0), **options)
    assert file.stat().st_mtime_ns == before


def test_a_lock_that_nobody_knows_is_named():
    with pytest.raises(config.ConfigError, match="saliency"):
        album.check(config.Lock("saliency", 0.05))
