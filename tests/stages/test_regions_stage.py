"""The stage `patches` for kinds with regions: what lies in the store, that a kill loses nothing, that it is shown."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw
from torch import nn
from transformers import YolosConfig, YolosForObjectDetection

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.patches import foreground, regions, store
from fashionvl.patches.store import Store
from fashionvl.stages import patches as stage
from fashionvl.stages import visual_words
from tests.drawn import BACKGROUND, CHANNELS, content, make

COLOURS = ("#8a1f2c", "#20408a", "#f0c020", "#1f8a4c", "#803080")
MOST, WORDS, PICTURES = 6, 3, 9


def dressed(folder, pictures, shift=0, only=lambda i: True):
    """Draw over the pictures of a catalogue: each shows two things on white."""
    for i in filter(only, range(pictures)):
        picture = Image.new("RGB", (60, 80), BACKGROUND)
        pen = ImageDraw.Draw(picture)
        pen.rectangle((10 + i % 5, 8, 48, 40), fill=COLOURS[(i + shift) % 5])
        pen.rectangle((20, 41, 40 + i % 7, 74), fill=COLOURS[(i + shift + 2) % 5])
        picture.save(folder / "data" / "images" / f"{i}.png")


def segmented(folder, pictures=PICTURES, classes=WORDS, **row):
    asked = {"by": "segments", "detector": None, "most": MOST, "classes": classes, "features": "crops"}
    places = make(folder, pictures, kind="segments", splits=("train", "train", "val"), regions=asked, **row)
    dressed(folder, pictures)
    return places


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which the stage has made `segments`."""
    folder = tmp_path_factory.mktemp("made")
    stage.main("segments", **segmented(folder))
    return folder


def store_in(folder):
    return folder / "build" / "patches" / "segments"


class FakeDetector(nn.Module):
    """Sees the upper and the lower half of everything, the lower one surer, and twice."""

    names = ("coat", "skirt", "bag")
    dim = 4

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.eye(4))

    def forward(self, pictures):
        assert pictures.dtype == torch.uint8
        assert pictures.shape[:2] == (1, 3)
        boxes = torch.tensor([[[0.0, 0.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0], [0.0, 0.51, 1.0, 1.0], [0.5, 0.5, 0.5, 1]]])
        sure = torch.tensor([[0.6, 0.9, 0.5, 1.0]])
        classes = torch.tensor([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        return SimpleNamespace(boxes=boxes, sure=sure, classes=classes, vectors=self.shift[None])


def detected(folder, monkeypatch, features):
    monkeypatch.setattr(stage, "detector_of", lambda name, scratch: FakeDetector())
    asked = {"by": "detector", "detector": "scratch", "most": MOST, "classes": None, "features": features}
    places = make(folder, 5, kind="objects", splits=("val", "train"), regions=asked)
    dressed(folder, 5)
    stage.main("objects", **places)
    return folder / "build" / "patches" / "objects"


def shards(out, name):
    return np.concatenate([np.load(file) for file in sorted(out.glob(f"{name}-*.npy"))])


@torch.inference_mode()
def test_the_store_holds_what_the_plain_way_gives(made):
    out = store_in(made)
    Store.open(out).verify()
    vectors, places, classes = (shards(out, name) for name in ("vectors", "places", "classes"))
    assert (vectors.shape, vectors.dtype) == ((PICTURES, MOST, CHANNELS[-1]), np.float16)
    assert (places.shape, places.dtype) == ((PICTURES, MOST, 5), np.float32)
    assert (classes.shape, classes.dtype) == ((PICTURES, MOST, WORDS), np.float16)
    torch.manual_seed(0)
    encoder, words = ConvEncoder(CHANNELS).eval(), np.load(out / visual_words.FILE)
    for i in range(PICTURES):
        picture = Image.open(made / "data" / "images" / f"{i}.png").convert("RGB")
        box = foreground.from_border(picture, margin=0.05).box
        boxes = [(0, 0, 60, 80), *regions.segments(picture, box, MOST - 1)]
        plain = encoder(torch.from_numpy(regions.crops(picture, boxes, 16)).permute(0, 3, 1, 2)).numpy()
        count = len(boxes)
        assert 3 <= count <= MOST
        assert np.array_equal(places[i, :count], regions.places_of(boxes, (60, 80)))
        assert np.abs(vectors[i, :count] - plain).max() < 0.02 * np.abs(plain).max()
        assert not vectors[i, count:].any()
        assert not places[i, count:].any()
        assert not classes[i, count:].any()
        assert not classes[i, 0].any()
        near = np.linalg.norm(vectors[i, 1:count, None].astype(np.float32) - words, axis=2).argmin(axis=1)
        assert np.array_equal(classes[i, 1:count], np.eye(WORDS)[near])
    assert places[:, 0].tolist() == [[0, 1, 0, 1, 1]] * PICTURES


def test_the_manifest_says_how_regions_were_found(made):
    out = store_in(made)
    said = Store.open(out).manifest
    assert "grids" not in said
    assert said["regions"] == MOST
    assert len(set(said["classes"])) == WORDS
    assert said["proposed"] == {"by": "segments", "detector": None, "features": "crops"}
    for entry in (
        said["boxes"],
        said["words"],
        *said["shards"],
        *(e[k] for e in said["shards"] for k in ("places", "classes")),
    ):
        assert store.checksum(out / entry["file"]) == entry["sha256"]
    assert checkpoint.read_card(out)["metrics"]["pictures"] == PICTURES
    assert not list((made / ".work").rglob("*.npy"))


def test_visual_words_are_called_by_what_texts_say_where_they_are_seen(tmp_path):
    """Texts name what is drawn; the name of a visual word must be the one that goes with it, by the plain formula."""
    chance = np.random.default_rng(0)
    shown = chance.random((400, 4)) < 0.4
    nouns = ["coat", "skirt", "bag", "shoe"]
    texts = [
        "a Nice 7 " + " ".join(noun.upper() for noun, is_in in zip(nouns, row, strict=True) if is_in) for row in shown
    ]
    words = np.eye(5, dtype=np.float32)
    vectors = np.zeros((400, 5, 5), np.float16)
    vectors[:, 1:, :4] = np.eye(4) * shown[:, :, None]
    places = np.zeros((400, 5, 5), np.float32)
    places[:, 0, 4] = 1
    places[:, 1:, 4] = shown
    shards = []
    for number, rows in enumerate((slice(0, 150), slice(150, 400))):
        names = {what: f"{what}-{number}.npy" for what in ("vectors", "places")}
        np.save(tmp_path / names["vectors"], vectors[rows])
        np.save(tmp_path / names["places"], places[rows])
        shards.append({"file": names["vectors"], "rows": rows.stop - rows.start, "places": {"file": names["places"]}})
    some = np.arange(1, 400, 2)
    told = [texts[i] for i in some]
    assert visual_words.names(tmp_path, shards, some, told, words) == [*nouns, "segment e"]  # nobody shows the fifth
    few = visual_words.names(tmp_path, shards, some[:4], told[:4], words)
    assert few == [f"segment {letter}" for letter in "abcde"]  # fewer texts than a name needs
    plain = np.corrcoef(shown[:, 1], shown[:, 2])[0, 1]
    assert abs(visual_words.correlations(shown, shown)[1, 2] - plain) < 1e-12


def test_words_are_learned_from_the_training_split_alone(made, tmp_path):
    changed = segmented(tmp_path)
    dressed(tmp_path, PICTURES, shift=3, only=lambda i: i % 3 == 2)  # of the validation split
    stage.main("segments", **changed)
    first, second = store_in(made), store_in(tmp_path)
    assert np.array_equal(np.load(first / visual_words.FILE), np.load(second / visual_words.FILE))
    assert not np.array_equal(shards(first, "vectors"), shards(second, "vectors"))


@pytest.mark.parametrize("moment", ["vectors", "classes"])
def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(made, tmp_path, monkeypatch, moment):
    places, write = segmented(tmp_path), store.write_shard

    def killed(folder, number, rows, what="vectors"):
        if (number, what) == (1, moment):
            raise KeyboardInterrupt
        return write(folder, number, rows, what)

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            stage.main("segments", **places)
    assert not (tmp_path / "build" / "patches").exists()
    stage.main("segments", **places)
    wanted = content(store_in(made))
    assert len(wanted) == 3 * 3 + 4  # three shards of three files; boxes, words, manifest, sheet
    assert content(store_in(tmp_path)) == wanted


def test_another_seed_learns_other_words(made, tmp_path):
    places = segmented(tmp_path)
    settings = yaml.safe_load(places["params"].read_text())
    settings["seed"] += 1
    places["params"].write_text(yaml.safe_dump(settings))
    stage.main("segments", **places)
    assert not np.array_equal(
        np.load(store_in(tmp_path) / visual_words.FILE), np.load(store_in(made) / visual_words.FILE)
    )


def test_a_picture_reads_the_same_whoever_stands_beside_it(made, tmp_path):
    stage.main("segments", **segmented(tmp_path, shard=PICTURES))
    for name in ("vectors", "places", "classes"):
        assert np.array_equal(shards(store_in(made), name), shards(store_in(tmp_path), name))


def test_more_words_than_regions_is_a_sentence(tmp_path):
    places = segmented(tmp_path, 3, classes=50)
    with pytest.raises(Problem, match=r"^50 visual words .*have \d regions to learn them from$"):
        stage.main("segments", **places)


def test_what_a_detector_sees_is_cut_out_named_put_in_order_and_drawn(tmp_path, monkeypatch):
    out = detected(tmp_path, monkeypatch, "crops")
    vectors, places, classes = (shards(out, name) for name in ("vectors", "places", "classes"))
    assert places[:, 1:4].tolist() == [[[0, 1, 0.5, 1, 0.5], [0, 1, 0, 0.5, 0.5], [0] * 5]] * 5
    assert np.abs(classes[:, 1:3] - np.array([[0.1, 0.6, 0.3], [0.7, 0.2, 0.1]])).max() < 1e-3
    assert np.abs(classes[:, 1:3].sum(axis=2, dtype=np.float32) - 1).max() < 2e-3
    assert not classes[:, 0].any()
    assert not classes[:, 3:].any()
    assert not vectors[:, 3:].any()
    said = Store.open(out).manifest
    assert said["classes"] == ["coat", "skirt", "bag"]
    assert said["proposed"]["detector"]["name"] == "scratch"
    assert said["encoder"]["name"] == "scratch"
    with Image.open(out / "regions.png") as sheet:
        drawn = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    colours = {tuple(each) for each in np.unique(drawn, axis=0).tolist()}
    assert {(0x12, 0x57, 0xD6), (0xD6, 0x00, 0x2F)} <= colours  # of the first box and of the second
    assert (0x00, 0x80, 0x6A) not in colours  # there is no third


@torch.inference_mode()
def test_pooled_vectors_are_read_from_the_map_of_the_whole_picture(tmp_path, monkeypatch):
    out = detected(tmp_path, monkeypatch, "pooled")
    torch.manual_seed(0)
    encoder = ConvEncoder(CHANNELS).eval()
    picture = (
        Image.open(tmp_path / "data" / "images" / "2.png").convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    )
    cells = encoder.maps(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None])[0]
    wanted = torch.stack([part.mean(dim=(0, 1)) for part in (cells, cells[4:], cells[:4])]).numpy()
    assert cells.shape[:2] == (8, 8)
    assert np.abs(shards(out, "vectors")[2, :3] - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_detectors_own_vectors_are_kept_as_they_are(tmp_path, monkeypatch):
    out = detected(tmp_path, monkeypatch, "detector")
    vectors = shards(out, "vectors")
    assert vectors.shape == (5, MOST, 4)
    assert vectors[:, 1:3].tolist() == [[[0, 1, 0, 0], [1, 0, 0, 0]]] * 5
    assert np.abs(vectors[:, 0] - np.array([0.6, 0.9, 0.5, 1.0]) / 3).max() < 1e-3  # of the whole picture: their mean
    said = Store.open(out).manifest
    assert said["dim"] == 4
    assert said["encoder"] == said["proposed"]["detector"]


def test_a_detector_is_used_by_the_name_of_its_folder(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    network = YolosForObjectDetection(YolosConfig(**sizes, image_size=[64, 64], num_detection_tokens=5, num_labels=3))
    network.save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
    asked = {"by": "detector", "detector": str(tmp_path / "net"), "most": MOST, "classes": None, "features": "detector"}
    stage.main("objects", **make(tmp_path, 3, kind="objects", regions=asked))
    out = tmp_path / "build" / "patches" / "objects"
    assert Store.open(out).manifest["classes"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    classes, stand = shards(out, "classes"), shards(out, "places")[:, 1:, 4] > 0
    assert shards(out, "vectors").shape == (3, MOST, 16)
    assert stand.any()
    assert np.abs(classes[:, 1:].sum(axis=2, dtype=np.float32) - stand).max() < 2e-3


def test_a_detector_that_is_not_learned_yet_is_a_sentence(tmp_path):
    with pytest.raises(Problem, match="the stage that makes it has not finished"):
        stage.main("objects", **make(tmp_path, 3, kind="objects"))


def test_a_detector_that_sees_no_numbers_stops_the_stage_and_names_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeDetector, "forward", broken)
    with pytest.raises(Problem, match=r"images/0\.png: what the detector 'scratch' sees"):
        detected(tmp_path, monkeypatch, "crops")


def broken(self, pictures):
    nothing = torch.full((1, 2, 4), torch.nan)
    return SimpleNamespace(boxes=nothing, sure=nothing[..., 0], classes=nothing[..., :3], vectors=nothing)
