"""The library face of systems that read regions: as from the store, from a folder of their own, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import yaml

import fashionvl
from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models import scratch_detector
from fashionvl.patches.store import Store
from fashionvl.pretrained import judging, reranking
from fashionvl.pretrained.given import pictures_of
from fashionvl.stages import patches as cut
from fashionvl.stages import vectors
from fashionvl.tasks import captioning, matching, recognition
from fashionvl.words import Words

SEGMENTS = {"by": "segments", "detector": None, "most": 6, "classes": 4, "features": "crops"}
OBJECTS = {"by": "detector", "most": 5, "classes": None, "features": "detector"}
SYSTEMS = {"oscar": "segments", "vilbert": "segments", "vlbert": "objects"}
CLASSES = ["bag", "boot", "coat"]


def detector(folder: Path) -> Path:
    """An untrained detector as a user brings one: a folder of `transformers`."""
    torch.manual_seed(0)
    sizes = {"channels": [8, 8, 8, 16, 16], "width": 16, "inner": 16, "heads": 2, "layers": 1, "queries": 12}
    network = scratch_detector.finished(scratch_detector.scratch(["boot", "lace"], **sizes, noised=4))
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two kinds of regions, and three untrained systems with their heads."""
    folder = tmp_path_factory.mktemp("regions")
    tiny.build(folder, aligned=False)
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    asked = {"segments": SEGMENTS, "objects": OBJECTS | {"detector": str(detector(folder / "detector"))}}
    for kind, regions in asked.items():
        raw["patches"][kind] |= {"pixels": tiny.PIXELS, "regions": regions}
    raw["systems"]["oscar"]["tags"] = 5
    for name, kind in SYSTEMS.items():
        raw["systems"][name]["patches"] = kind
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    for kind in asked:
        cut.main(kind, work=folder / ".work", **places(folder))
    for name, kind in SYSTEMS.items():
        run = tiny.pretrained(folder, name, kind, ["mlm"] if name == "vlbert" else ["mlm", "itm"])
        tiny.fine_tune(run, "category", 4, CLASSES)
        if name != "vlbert":
            tiny.fine_tune(run, "captioning", 5)
    tiny.fine_tune(folder / "build/runs/oscar", "retrieval", 3)
    return folder


def places(folder: Path) -> dict[str, Path]:
    return {"params": folder / "params.yaml", "data": folder / "data", "build": folder / "build"}


@pytest.fixture(scope="module")
def of(folder) -> Catalogue:
    return Catalogue.load(folder / "build/catalogue", folder / "data")


@pytest.fixture(params=SYSTEMS)
def name(request) -> str:
    return request.param


@pytest.fixture
def model(folder, name):
    return fashionvl.load(folder / "build/runs" / name)


def desk_of(folder: Path, of: Catalogue, name: str) -> recognition.Desk:
    """What the stages read: the store that `patches` left."""
    settings, build = config.load(folder / "params.yaml"), folder / "build"
    words = Words.load(build / "words")
    store = vectors.store_of(settings.systems[name], words, build)
    return recognition.Desk(words, words.encode(of.texts(tiny.FIELDS)), store, {})


def stream_of(folder: Path, part: str):
    weights, card = checkpoint.load(folder / "build" / part)
    stream = tiny.stream(card["model"], 0)
    stream.load_state_dict(weights)
    return stream


def paths_of(of: Catalogue) -> list[Path]:
    return [of.root / path for path in of.pictures["path"]]


def test_a_picture_is_seen_as_the_stage_saw_it(folder, of, name, model):
    desk = desk_of(folder, of, name)
    paths = paths_of(of)
    seen = model.patches(pictures_of(paths, max_megapixels=50)[0]).pictures(np.arange(len(paths)))
    kept = desk.store.pictures(np.arange(len(paths)))
    assert torch.equal(seen.places, kept.places)
    assert torch.equal(seen.shown, kept.shown)
    assert (seen.patches.float() - kept.patches.float()).abs().max() < 0.02 * kept.patches.float().abs().max()
    few = seen.shown[:, : model.layout.patches].sum(dim=1) < model.layout.patches
    assert few.any() == (name != "vlbert")  # the untrained detector sees something everywhere
    if name == "oscar":
        assert torch.equal(seen.tags, kept.tags)
        assert seen.shown[:, model.layout.patches :].any()


def test_a_pair_scores_as_it_does_from_the_store(folder, of, name, model):
    paths, texts = paths_of(of), of.texts(tiny.FIELDS)
    if name == "vlbert":
        with pytest.raises(
            Problem, match=r"finetuned/vlbert-retrieval, which is not there .*dvc repro finetune@vlbert"
        ):
            model.match(paths[0], texts[0])
        return
    part = "finetuned/oscar-retrieval" if name == "oscar" else "runs/vilbert"
    pairs = np.arange(len(paths)), of.pictures["product"].to_numpy()
    scores = matching.score_pairs(stream_of(folder, part), desk_of(folder, of, name), *pairs)
    assert np.ptp(scores) > 0.05
    assert model.match(paths, [texts[at] for at in pairs[1]]) == pytest.approx(scores, abs=5e-3)


def test_classes_and_captions_are_those_of_the_store(folder, of, name, model):
    desk, rows = desk_of(folder, of, name), np.arange(4)
    stream = stream_of(folder, f"finetuned/{name}-category")
    for column, shown in (("image", {"picture": paths_of(of)[:4]}), ("text", {"text": of.texts(tiny.FIELDS)[:4]})):
        scores = recognition.predict(stream, desk, rows, rows, column, task="category")
        likely = torch.from_numpy(scores).softmax(dim=1).numpy()
        for found, row in zip(model.classify(**shown, task="category"), likely, strict=True):
            assert dict(found) == pytest.approx(dict(zip(CLASSES, row, strict=True)), abs=2e-3)
    if name == "vlbert":
        with pytest.raises(Problem, match="finetuned/vlbert-captioning"):
            model.caption(paths_of(of)[0])
        return
    mode = "mask_all" if name == "vilbert" else "causal"
    said = captioning.caption(
        stream_of(folder, f"finetuned/{name}-captioning"), desk.words, desk.store.pictures(rows), mode=mode, beam=2
    )
    assert model.caption(paths_of(of)[:4], mode=mode, beam=2) == said


def test_a_saved_folder_needs_nothing_else_and_answers_alike(folder, of, name, model, tmp_path):
    model.save_pretrained(tmp_path / name)
    parts = {file.stem for file in (tmp_path / name).glob("*.safetensors")}
    assert ("encoder" in parts, "detector" in parts, "visual_words" in parts) == (
        (False, True, False) if name == "vlbert" else (True, False, True)
    )
    shutil.copytree(folder / "data", tmp_path / "data")
    again = fashionvl.load(tmp_path / name)
    paths, texts = paths_of(of)[:3], of.texts(tiny.FIELDS)[:3]
    assert again.embed(paths, texts) == pytest.approx(model.embed(paths, texts), abs=1e-5)
    assert again.embed(text=texts) == pytest.approx(model.embed(text=texts), abs=1e-5)
    assert again.classify(paths, task="category") == model.classify(paths, task="category")
    if name == "oscar":
        assert again.match(paths, texts[0]).tolist() == model.match(paths, texts[0]).tolist()


def test_what_needs_grids_is_one_sentence(of, name, model, tmp_path):
    with pytest.raises(Problem, match=f"the patches of grids, and '{name}' reads . regions of . classes"):
        model.align(paths_of(of)[0], "a boot")
    with pytest.raises(Problem, match="the graphs are of systems over grids"):
        model.export_onnx(tmp_path)
    if name == "vilbert":
        with pytest.raises(Problem, match="two streams do not say captions word by word; ask for mode='mask_all'"):
            model.caption(paths_of(of)[0])


def test_a_part_that_could_not_be_taught_says_why(folder, tmp_path):
    build = tmp_path / "build"
    shutil.copytree(folder / "build", build)
    shutil.rmtree(build / "finetuned/vilbert-captioning")
    reason = "two streams do not say captions word by word"
    checkpoint.write_card(build / "finetuned/vilbert-captioning", {"stage": "finetune", "lacking": reason})
    with pytest.raises(Problem, match="'vilbert' has no part 'captioning': two streams do not say captions"):
        fashionvl.load(build / "runs/vilbert").caption(np.zeros((8, 8, 3), np.uint8))


def test_another_detector_or_damaged_words_are_one_sentence(folder, of, tmp_path):
    shutil.copytree(folder / "build", tmp_path / "build")
    words = tmp_path / "build/patches/segments/words.npy"
    words.write_bytes(words.read_bytes()[:-1] + b"x")
    with pytest.raises(Problem, match=r"words\.npy is not there or damaged"):
        fashionvl.load(tmp_path / "build/runs/oscar").match(paths_of(of)[0], "a boot")
    manifest = tmp_path / "build/patches/objects/manifest.json"
    said = json.loads(manifest.read_text())
    said["proposed"]["detector"]["weights"] = "of another"
    manifest.write_text(json.dumps(said))
    with pytest.raises(Problem, match=r"the detector .* is not the one that .* was made with"):
        fashionvl.load(tmp_path / "build/runs/vlbert").classify(paths_of(of)[0], task="category")


def test_the_gate_and_the_second_stage_ask_them_too(folder, of):
    model = fashionvl.load(folder / "build/runs/oscar")
    every = np.arange(len(of.pictures))
    store = model.tagged(judging.encoded(model.sight, of, every, say=lambda line: None))
    desk = desk_of(folder, of, "oscar")
    assert torch.equal(store.tags[0], desk.store.tags[0])
    assert torch.equal(store.places(every), desk.store.places(every))
    cached = reranking.reranker(
        model, of, tiny.FIELDS, Store.open(folder / "build/patches/segments"), max_megapixels=50
    )
    alone = reranking.reranker(model, of, tiny.FIELDS, None, max_megapixels=50)
    assert cached.store is not None
    products = np.array([3, 0, 2])
    pictures = np.array([of.pictures["product"].tolist().index(product) for product in products])
    asked = cached.see("a red boot", None, 1.0)
    assert cached.odds(asked, products, pictures) == pytest.approx(alone.odds(asked, products, pictures), abs=5e-3)
    other = json.loads((folder / "build/patches/segments/manifest.json").read_text()) | {"words": {"sha256": "x"}}
    mixed = Store.open(folder / "build/patches/segments")
    mixed.manifest = other
    assert reranking.reranker(model, of, tiny.FIELDS, mixed, max_megapixels=50).store is None
