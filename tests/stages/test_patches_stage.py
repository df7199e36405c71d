import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import ResNetConfig, ResNetModel, SegformerConfig, SegformerForSemanticSegmentation

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem
from fashionvl.config import ConfigError
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.patches import store
from fashionvl.patches.cutting import cut
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.patches.store import Store
from fashionvl.stages import patches as stage
from tests.drawn import CHANNELS, PLACES, ROOT, content, make


@torch.inference_mode()
def test_the_store_holds_what_the_plain_way_gives(tmp_path):
    places = make(tmp_path, 10)
    stage.main("kaleido", **places)
    out = tmp_path / "build" / "patches" / "kaleido"
    opened = Store.open(out)
    opened.verify()
    assert (len(opened), opened.dim) == (10, 16)
    assert [entry["rows"] for entry in opened.manifest["shards"]] == [4, 4, 2]
    torch.manual_seed(0)
    encoder = ConvEncoder(CHANNELS).eval()
    boxes = opened.boxes()
    for index, row in boxes.iterrows():
        picture = Image.open(tmp_path / "data" / row["path"]).convert("RGB")
        tiles = cut(KALEIDO, picture, (row["left"], row["top"], row["right"], row["bottom"]), 16)
        plain = encoder(torch.from_numpy(tiles).permute(0, 3, 1, 2))
        stored = opened.vectors([index])[0].float()
        assert (stored - plain).abs().max() < 0.02 * plain.abs().max()


def test_a_fixed_scale_is_64_vectors_a_picture_and_the_manifest_says_so(tmp_path):
    places = make(tmp_path, 5, grids=[8])
    stage.main("kaleido", **places)
    opened = Store.open(tmp_path / "build" / "patches" / "kaleido")
    assert opened.manifest["grids"] == [8]
    assert opened.layout == Pyramid((8,))
    assert opened.vectors([4, 0]).shape == (2, 64, 16)


def test_the_card_and_the_manifest_say_what_was_made(tmp_path):
    places = make(tmp_path, 5)
    Image.new("RGB", (60, 80), (250, 250, 248)).save(tmp_path / "data" / "images" / "3.png")
    stage.main("kaleido", **places)
    out = tmp_path / "build" / "patches" / "kaleido"
    card, manifest = checkpoint.read_card(out), json.loads((out / store.MANIFEST).read_text())
    assert (card["stage"], card["item"]) == ("patches", "kaleido")
    assert card["metrics"]["pictures"] == manifest["pictures"] == 5
    assert card["metrics"]["fallback_share"] == 0.2
    assert manifest["fallbacks"] == 1
    assert manifest["encoder"]["name"] == "scratch"
    assert Store.open(out).boxes()["fallback"].tolist() == [False, False, False, True, False]
    assert not list((tmp_path / ".work").rglob("*.npy"))


def test_a_resumed_stage_ends_with_the_same_bytes_and_does_not_start_over(tmp_path, monkeypatch, capsys):
    (tmp_path / "a").mkdir()
    whole, broken = make(tmp_path / "a", 14), make(tmp_path / "b", 14)
    stage.main("kaleido", **whole)

    def killed(folder, number, vectors):
        if number == 2:
            raise KeyboardInterrupt
        return store_shard(folder, number, vectors)

    store_shard = store.write_shard
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            stage.main("kaleido", **broken)
    assert not (tmp_path / "b" / "build" / "patches").exists()
    capsys.readouterr()
    stage.main("kaleido", **broken)
    assert "picture 14/14" in capsys.readouterr().out
    wanted = content(tmp_path / "a" / "build" / "patches" / "kaleido")
    assert len(wanted) == 4 + 2
    assert content(tmp_path / "b" / "build" / "patches" / "kaleido") == wanted


def test_finished_shards_are_not_encoded_again(tmp_path, monkeypatch):
    places = make(tmp_path, 12)
    numbers = []

    def kept(folder, number, vectors):
        if number == 2 and 2 not in numbers:
            numbers.append(number)
            raise KeyboardInterrupt
        numbers.append(number)
        return store_shard(folder, number, vectors)

    store_shard = store.write_shard
    monkeypatch.setattr(store, "write_shard", kept)
    with pytest.raises(KeyboardInterrupt):
        stage.main("kaleido", **places)
    stage.main("kaleido", **places)
    assert numbers == [0, 1, 2, 2]


def test_other_parameters_start_from_nothing(tmp_path, monkeypatch):
    places = make(tmp_path, 6)
    stage.main("kaleido", **places)
    settings = yaml.safe_load(places["params"].read_text())
    settings["patches"]["kaleido"]["foreground"] = "none"
    places["params"].write_text(yaml.safe_dump(settings))
    stage.main("kaleido", **places)
    boxes = Store.open(tmp_path / "build" / "patches" / "kaleido").boxes()
    assert (boxes[["left", "top", "right", "bottom"]] == [0, 0, 60, 80]).all(axis=None)
    assert not boxes["fallback"].any()


def test_the_vectors_of_a_picture_do_not_depend_on_its_neighbours(tmp_path):
    make(tmp_path / "a", 9)
    for name, shard in (("a", 4), ("b", 9)):
        places = (
            make(tmp_path / name, 9, shard=shard) if name == "b" else {k: tmp_path / "a" / v for k, v in PLACES.items()}
        )
        stage.main("kaleido", **places)
    first, second = (Store.open(tmp_path / name / "build" / "patches" / "kaleido") for name in "ab")
    assert torch.equal(first.vectors(range(9)), second.vectors(range(9)))


def test_masks_beside_the_pictures_are_used_and_a_missing_one_is_named(tmp_path):
    places = make(tmp_path, 3, foreground="masks", margin=0.0)
    masks = tmp_path / "data" / "masks"
    masks.mkdir()
    shape = np.zeros((80, 60), dtype=np.uint8)
    shape[20:50, 10:40] = 255
    for i in range(2):
        Image.fromarray(shape).save(masks / f"{i}.png")
    with pytest.raises(Problem, match=r"1 of 3 .*2\.png"):
        stage.main("kaleido", **places)
    Image.fromarray(shape).save(masks / "2.png")
    stage.main("kaleido", **places)
    boxes = Store.open(tmp_path / "build" / "patches" / "kaleido").boxes()
    assert (boxes[["left", "top", "right", "bottom"]] == [10, 20, 40, 50]).all(axis=None)


def test_a_saliency_network_of_the_users_locks_the_box(tmp_path):
    sizes = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=2, **sizes))
    network.decode_head.classifier.bias.data = torch.tensor([-100.0, 100.0])  # everything is an object
    network.save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 32, "width": 32}}))
    places = make(tmp_path, 2, foreground="saliency", saliency=str(tmp_path / "net"))
    stage.main("kaleido", **places)
    boxes = Store.open(tmp_path / "build" / "patches" / "kaleido").boxes()
    assert (boxes[["left", "top", "right", "bottom"]] == [0, 0, 60, 80]).all(axis=None)
    assert (boxes["mask_share"] == 1).all()
    assert not boxes["fallback"].any()


def test_a_resnet_is_used_by_the_name_of_its_folder(tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 24], depths=[1, 1, 1, 1])
    ResNetModel(config).save_pretrained(tmp_path / "net")
    places = make(tmp_path, 2, encoder=str(tmp_path / "net"), pixels=32)
    stage.main("kaleido", **places)
    opened = Store.open(tmp_path / "build" / "patches" / "kaleido")
    assert opened.dim == 24
    assert opened.manifest["encoder"]["name"] == str(tmp_path / "net")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"encoder": "/no/such/folder"}, "there is no folder"),
        ({"foreground": "magic"}, "must be one of"),
        ({"foreground": "saliency"}, "names the network"),
        ({"pixels": 32}, "must agree"),
        ({"shard": 0}, "at least 1"),
    ],
)
def test_a_wrong_row_is_one_sentence(tmp_path, row, said):
    places = make(tmp_path, 1, **row)
    with pytest.raises((Problem, ConfigError), match=said) as problem:
        stage.main("kaleido", **places)
    assert "\n" not in str(problem.value)


def test_vectors_that_are_no_numbers_stop_the_stage_and_name_the_picture(tmp_path):
    places = make(tmp_path, 3)
    weights, card = checkpoint.load(tmp_path / "build" / "encoder")
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name][0] = float("nan")
    checkpoint.save(tmp_path / "build" / "encoder", weights, card)
    with pytest.raises(Problem, match=r"images/0\.png.*no numbers"):
        stage.main("kaleido", **places)


def test_a_picture_that_was_lost_since_the_check_is_named(tmp_path):
    places = make(tmp_path, 6)
    (tmp_path / "data" / "images" / "4.png").unlink()
    with pytest.raises(Problem, match=r"images/4\.png"):
        stage.main("kaleido", **places)


def test_a_full_disk_is_said_before_the_work(tmp_path, monkeypatch):
    places = make(tmp_path, 6)
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100})())
    with pytest.raises(Problem, match="GB free"):
        stage.main("kaleido", **places)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("kind", ["kaleido", "segments"])
def test_kill_9_and_again_ends_with_the_same_bytes(tmp_path, kind):
    whole, killed = (make(tmp_path / name, 400, kind=kind) for name in "ab")
    stage.main(kind, **whole)
    paths = [part for name, path in killed.items() for part in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "fashionvl.stages.patches", kind, *paths]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    while len(list((tmp_path / "b" / ".work").rglob("*.json"))) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b" / "build" / "patches").exists()
    stage.main(kind, **killed)
    first, second = (content(tmp_path / name / "build" / "patches" / kind) for name in "ab")
    assert first == second
