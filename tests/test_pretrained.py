"""The library face: a system from its build folder, and from a folder of its own, answers alike."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image
from scipy.special import expit
from transformers import ResNetConfig, ResNetModel, SegformerConfig, SegformerForSemanticSegmentation

import fashionvl
from fashionvl import checkpoint
from fashionvl.batches import Batch
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.patches.store import Store
from fashionvl.pretrained.face import FashionVL
from fashionvl.tasks import matching

CLASSES = ["bag", "boot", "coat"]
PLACES, LEVELS = KALEIDO.places(), KALEIDO.levels_of()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """build/runs/kaleido with every fine-tuned part beside it."""
    run = tiny.build(tmp_path_factory.mktemp("tiny"))
    tiny.fine_tune(run, "retrieval", 2)
    tiny.fine_tune(run, "sub_category", 3, CLASSES, {"image.temperature": 2.0, "image.accuracy": 0.5})
    tiny.fine_tune(run, "category", 4, CLASSES[:2])
    tiny.fine_tune(run, "captioning", 5)
    return run


@pytest.fixture(scope="module")
def bare(run, tmp_path_factory) -> Path:
    """The run alone: its build folder has nothing but the words."""
    build = tmp_path_factory.mktemp("bare") / "build"
    shutil.copytree(run, build / "runs" / "kaleido")
    shutil.copytree(run.parents[1] / "words", build / "words")
    return build / "runs" / "kaleido"


@pytest.fixture(scope="module")
def model(run) -> FashionVL:
    return fashionvl.load(run)


@pytest.fixture(scope="module")
def of(run) -> Catalogue:
    return Catalogue.load(run.parents[1] / "catalogue", run.parents[2] / "data")


@pytest.fixture(scope="module")
def paths(of) -> list[Path]:
    return [of.root / path for path in of.pictures["path"]]


@pytest.fixture(scope="module")
def texts(of) -> list[str]:
    return of.texts(tiny.FIELDS)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "kaleido"
    model.save_pretrained(folder)
    return folder


def of_the_store(run, of, texts, part="finetuned/kaleido-retrieval"):
    """The scores of every picture with every text, as a stage gives them from the store of patches."""
    build = run.parents[1]
    weights, card = checkpoint.load(build / part)
    stream = tiny.stream(card["model"], 0)
    stream.load_state_dict(weights)
    words = fashionvl.load(run).words
    store = Store.open(build / "patches" / "kaleido")
    desk = matching.Sides(words, words.encode(texts), store)
    pictures, products = np.repeat(np.arange(len(store)), len(texts)), np.tile(np.arange(len(texts)), len(store))
    return matching.score_pairs(stream, desk, pictures, products).reshape(len(store), len(texts))


def test_a_pair_scores_as_it_does_from_the_store(run, model, of, paths, texts):
    scores = of_the_store(run, of, texts)
    assert np.ptp(scores) > 0.1
    for number in (0, len(paths) - 1):
        assert model.match(paths[number], texts) == pytest.approx(scores[number], abs=1e-3)
    assert model.match(paths, texts[2]) == pytest.approx(scores[:, 2], abs=1e-3)


def test_lists_are_matched_pair_by_pair_and_one_gives_one(model, paths, texts):
    scores = model.match(paths[:3], texts[:3])
    assert scores.shape == (3,)
    for number in range(3):
        one = model.match(paths[number], texts[number])
        assert np.ndim(one) == 0
        assert one == pytest.approx(scores[number], abs=1e-4)
    assert model.match(paths[:3], texts[:3], probability=True) == pytest.approx(expit(scores))
    assert model.match([], []).shape == (0,)


def test_the_pre_trained_head_matches_where_none_is_fine_tuned(run, model, of, paths, texts, tmp_path):
    build = tmp_path / "build"
    shutil.copytree(run.parents[1], build, ignore=shutil.ignore_patterns("finetuned"))
    scores = of_the_store(run, of, texts, part="runs/kaleido")
    found = fashionvl.load(build / "runs" / "kaleido").match(paths[0], texts)
    assert found == pytest.approx(scores[0], abs=1e-3)
    assert np.abs(found - model.match(paths[0], texts)).max() > 1e-2


def test_a_picture_may_come_as_path_bytes_picture_or_array(model, paths, texts):
    picture = Image.open(paths[0])
    ways = [str(paths[0]), paths[0], paths[0].read_bytes(), picture, np.asarray(picture)]
    assert len(set(model.match(ways, texts[0]).tolist())) == 1
    two = np.stack([np.asarray(picture)] * 2)
    assert model.match(two, texts[0]).tolist() == model.match([picture, picture], texts[0]).tolist()


def test_a_picture_on_its_side_is_turned_upright(model, paths, texts):
    picture, stream = Image.open(paths[0]), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = picture.transpose(Image.Transpose.ROTATE_90)
    on_its_side.save(stream, "PNG", exif=exif)
    marked = Image.open(io.BytesIO(stream.getvalue()))
    scores = model.match([picture, stream.getvalue(), marked, on_its_side], texts[0])
    assert scores[0] == scores[1] == scores[2]
    assert abs(scores[3] - scores[0]) > 1e-3


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("nowhere/shoe.jpg", "nowhere/shoe.jpg: there is no such file"),
        ("", "this is a folder"),
        ("a\0b", "not a path that can be opened"),
        (b"", "the picture: the file is empty"),
        (b"no picture", "not a picture of a known kind"),
        ([b"no picture"], "picture 0: this is not a picture"),
        (np.zeros((4, 4), np.uint8), r"a picture is uint8 \(height, width, 3\), this is uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 3)), "this is float64"),
        (7, "is int; a picture is a path, bytes, a PIL picture or a numpy array"),
        (Image.new("L", (9000, 9000)), "more than 50 megapixels"),
        (np.zeros((9000, 9000, 3), np.uint8), "more than 50 megapixels"),
    ],
)
def test_a_bad_picture_is_a_sentence(model, picture, sentence):
    with pytest.raises(Problem, match=sentence):
        model.match(picture, "red boots")


def test_bad_texts_and_lists_of_other_lengths_are_sentences(model, paths):
    with pytest.raises(Problem, match="text 1 is int"):
        model.match(paths[0], ["boots", 3])
    with pytest.raises(Problem, match="a text is a str"):
        model.embed(text=b"boots")
    with pytest.raises(Problem, match="there are 3 pictures and 2 texts"):
        model.match(paths[:3], ["red", "boots"])
    with pytest.raises(Problem, match="a picture, a text, or both"):
        model.embed()


def test_vectors_have_unit_length_and_what_is_missing_leaves_no_trace(model, paths, texts):
    seen, told, both = model.embed(paths[:3]), model.embed(text=texts[:3]), model.embed(paths[:3], texts[:3])
    for vectors in (seen, told, both):
        assert vectors.shape == (3, 32)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert np.ptp(vectors, axis=0).max() > 1e-3
    assert np.abs(seen - both).max() > 1e-3
    assert np.abs(told - both).max() > 1e-3
    assert model.embed(paths[1]) == pytest.approx(seen[1], abs=1e-5)
    assert model.embed(text=texts[1]) == pytest.approx(told[1], abs=1e-5)
    assert model.embed([]).shape == (0, 32)


def test_classes_come_likeliest_first_by_picture_text_or_both(model, paths, texts):
    for given in ({"picture": paths[0]}, {"text": texts[0]}, {"picture": paths[0], "text": texts[0]}):
        found = model.classify(**given)
        assert sorted(name for name, _ in found) == CLASSES
        assert [likely for _, likely in found] == sorted((likely for _, likely in found), reverse=True)
        assert sum(likely for _, likely in found) == pytest.approx(1)
    assert len(model.classify(paths[0], task="category", top=1)) == 1
    many = model.classify(paths[:2], texts[:2])
    assert dict(many[1]) == pytest.approx(dict(model.classify(paths[1], texts[1])), abs=1e-5)
    with pytest.raises(Problem, match="no recognition task 'colour'"):
        model.classify(paths[0], task="colour")


def test_a_temperature_divides_the_scores_of_its_own_column(run, model, paths, texts, tmp_path):
    build = tmp_path / "build"
    shutil.copytree(run.parents[1], build, ignore=shutil.ignore_patterns("evaluation"))
    raw = fashionvl.load(build / "runs" / "kaleido")
    for given, heat in (({"picture": paths[0]}, 2.0), ({"text": texts[0]}, 1.0)):
        plain, calibrated = (dict(each.classify(**given)) for each in (raw, model))
        odds = {name: likely ** (1 / heat) for name, likely in plain.items()}
        expected = {name: value / sum(odds.values()) for name, value in odds.items()}
        assert calibrated == pytest.approx(expected, abs=1e-6)


def test_a_caption_is_a_text(model, paths):
    said = model.caption(paths[:2], beam=2)
    assert [type(text) for text in said] == [str, str]
    assert model.caption(paths[1], beam=2) == said[1]
    assert isinstance(model.caption(paths[0], mode="mask_all"), str)
    with pytest.raises(Problem, match="loud"):
        model.caption(paths[0], mode="loud")


def test_words_point_where_the_stage_align_says(run, model, of, paths, texts):
    table = pd.read_parquet(run.parents[1] / "alignment" / "kaleido" / "teacher.parquet")
    product = of.pictures["product"]
    found = model.align(paths, [texts[at] for at in product])
    for picture, rows in table.groupby("picture"):
        expected = list(zip(rows["text"], rows["level"] + 1, rows["patch"], strict=True))
        assert [each[:3] for each in found[picture]] == expected
        assert [each.score for each in found[picture]] == pytest.approx(rows["score"].tolist(), abs=1e-5)
    assert model.align(paths[0], texts[product[0]]) == found[0]


def test_boxes_lie_in_the_picture_and_are_as_large_as_their_grid_says(model, paths, texts):
    width, height = Image.open(paths[0]).size
    found = model.align(paths[0], texts[0])
    assert found
    for _, side, patch, (left, top, right, bottom), score in found:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert side in (3, 4, 5)
        assert 0 <= patch < side * side
        assert (right - left) <= width / side + 1
        assert 0 < score <= 1 + 1e-6


def answers(model, paths, texts):
    """Everything the face says of some pairs, as JSON."""
    said = {
        "match": model.match(paths[:3], texts[:3]).tolist(),
        "seen": model.embed(paths[:3]).tolist(),
        "told": model.embed(text=texts[:3]).tolist(),
        "classes": [model.classify(paths[:2], task=task) for task in ("category", "sub_category")],
        "caption": model.caption(paths[0], beam=2),
        "align": model.align(paths[0], texts[0]),
    }
    return json.dumps(said, sort_keys=True)


def test_a_saved_system_answers_bit_by_bit_alike_and_needs_nothing_else(model, saved, paths, texts, tmp_path):
    moved = shutil.copytree(saved, tmp_path / "elsewhere")
    assert answers(FashionVL.from_pretrained(moved), paths, texts) == answers(model, paths, texts)
    fashionvl.load(moved).save_pretrained(tmp_path / "again")
    for file in sorted(moved.iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_saved_folder_holds_no_pickle_and_says_what_it_is(saved):
    assert {file.suffix for file in saved.iterdir()} == {".safetensors", ".json", ".md"}
    parts = {file.stem for file in saved.glob("*.safetensors")}
    assert parts == {"model", "retrieval", "category", "sub_category", "captioning", "encoder", "captioner"}
    card = json.loads((saved / "config.json").read_text())
    assert (card["model_type"], card["system"], set(card["parts"])) == ("fashionvl", "kaleido", parts)
    page = (saved / "README.md").read_text()
    assert all(f"`{part}.safetensors`" in page for part in parts)
    assert "| image.accuracy | 0.5 |" in page


def test_a_folder_of_another_version_says_so(saved, tmp_path):
    other = shutil.copytree(saved, tmp_path / "other")
    card = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(card | {"version": 99}))
    with pytest.raises(Problem, match="written by version 99 of save_pretrained, this code reads 1"):
        fashionvl.load(other)


def test_a_damaged_or_incomplete_folder_says_so(saved, tmp_path):
    other = shutil.copytree(saved, tmp_path / "other")
    shutil.copyfile(other / "category.safetensors", other / "retrieval.safetensors")
    (other / "category.safetensors").write_bytes(b"no tensors at all")
    (other / "captioning.safetensors").unlink()
    model, picture = fashionvl.load(other), Image.new("RGB", (40, 40))
    with pytest.raises(Problem, match=r"retrieval\.safetensors does not fit"):
        model.match(picture, "boots")
    with pytest.raises(Problem, match=r"category\.safetensors cannot be read"):
        model.classify(picture, task="category")
    with pytest.raises(Problem, match=r"captioning\.safetensors is missing"):
        model.caption(picture)
    (other / "config.json").unlink()
    with pytest.raises(Problem, match="holds no trained system"):
        fashionvl.load(other)


@pytest.mark.parametrize(
    ("ask", "stage"),
    [
        (lambda model, picture: model.match(picture, "boots"), r"stage `patches` \(`dvc repro patches@kaleido`\)"),
        (lambda model, picture: model.embed(picture), "stage `patches`"),
        (lambda model, picture: model.classify(picture), "stage `finetune`"),
        (lambda model, picture: model.caption(picture), r"finetuned/kaleido-captioning, .* stage `finetune`"),
        (lambda model, picture: model.align(picture, "boots"), "stage `align`"),
    ],
)
def test_a_missing_part_names_its_stage_when_it_is_asked_for(bare, ask, stage):
    model = fashionvl.load(bare)
    assert model.embed(text="red boots").shape == (32,)
    with pytest.raises(Problem, match=stage):
        ask(model, Image.new("RGB", (40, 40)))


def test_an_encoder_learned_anew_is_not_taken_for_the_old_one(run, paths, tmp_path):
    build = shutil.copytree(run.parents[1], tmp_path / "build")
    weights, card = checkpoint.load(build / "encoder")
    first = next(iter(weights))
    checkpoint.save(build / "encoder", weights | {first: weights[first] + 1}, card)
    with pytest.raises(Problem, match=r"not the one that .*patches/kaleido was made with"):
        fashionvl.load(build / "runs" / "kaleido").embed(paths[0])


def test_another_kind_of_folder_is_a_sentence(run, tmp_path):
    with pytest.raises(Problem, match="holds no trained system: give build/runs/<system>"):
        fashionvl.load(tmp_path)
    with pytest.raises(Problem, match="made by the stage 'finetune'"):
        fashionvl.load(run.parents[1] / "finetuned" / "kaleido-category")


def test_importing_the_package_imports_no_torch():
    code = "import sys, fashionvl; assert callable(fashionvl.load); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tiny.ROOT / "src")}).returncode == 0


def test_without_onnx_the_extra_is_named(model, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Problem, match=r"needs onnx and onnxscript: pip install -e '\.\[onnx\]'"):
        model.export_onnx(tmp_path)


@torch.no_grad()
def test_networks_brought_by_name_are_saved_with_the_system(tmp_path):
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 24], depths=[1, 1, 1, 1])
    ResNetModel(resnet).save_pretrained(tmp_path / "resnet")
    sizes = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "decoder_hidden_size": 8}
    network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=2, **sizes))
    network.decode_head.classifier.bias.add_(torch.tensor([-0.1, 0.1]))
    network.save_pretrained(tmp_path / "locks")
    said = json.dumps(
        {"size": {"height": 32, "width": 32}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.3]}
    )
    for name in ("resnet", "locks"):
        (tmp_path / name / "preprocessor_config.json").write_text(said)
    brought = {"encoder": str(tmp_path / "resnet"), "foreground": "saliency", "saliency": str(tmp_path / "locks")}
    run = tiny.build(tmp_path / "shop", products=2, patches=brought)
    model = fashionvl.load(run)
    of = Catalogue.load(run.parents[1] / "catalogue", tmp_path / "shop" / "data")
    pictures = [of.root / path for path in of.pictures["path"]]
    vectors, before = Store.open(run.parents[1] / "patches" / "kaleido").clean([0]), model.embed(pictures)
    assert torch.equal(model.sight.patches([Image.open(pictures[0])]).clean([0]), vectors)
    model.save_pretrained(tmp_path / "saved")
    whole = fashionvl.load(run)
    whole.read()
    for folder in ("shop", "resnet", "locks"):
        shutil.rmtree(tmp_path / folder / "build" if folder == "shop" else tmp_path / folder)
    again = fashionvl.load(tmp_path / "saved")
    assert again.embed(pictures).tolist() == before.tolist()
    assert {"encoder", "saliency"} < set(again.facts["parts"])
    assert set(whole._networks) == set(again.facts["parts"])  # nothing is left to be read later


@pytest.fixture(scope="module")
def graphs(model, tmp_path_factory) -> dict:
    """The exported graphs, open."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra `.[onnx]`")
    files = model.export_onnx(tmp_path_factory.mktemp("onnx"))
    assert {file.suffix for file in files["matching"].parent.iterdir()} == {".onnx"}
    return {name: runtime.InferenceSession(file, providers=["CPUExecutionProvider"]) for name, file in files.items()}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(("rows", "slots"), [(1, 2), (1, 32), (2, 9), (5, 17), (64, 32)])
def test_the_matching_graph_scores_as_torch_does(model, graphs, rows, slots):
    draw = torch.Generator().manual_seed(rows * 100 + slots)
    words = torch.randint(5, model.words.vocabulary, (rows, slots), generator=draw)
    real = torch.arange(slots) < torch.randint(1, slots + 1, (rows, 1), generator=draw)
    patches = torch.rand(rows, 55, tiny.CHANNELS[-1], generator=draw) * 3
    stream = model.stream("retrieval")
    batch = Batch(words, real, patches, torch.ones(rows, 55, dtype=torch.bool), PLACES, LEVELS)
    with torch.inference_mode():
        said = stream.match(stream.pooled(stream(batch)))
    fed = {"words": words.numpy(), "real": real.numpy(), "patches": patches.numpy()}
    (found,) = graphs["matching"].run(["log_odds"], fed)
    assert np.ptp(found) > 1e-2 or rows == 1
    assert found == pytest.approx((said[:, 1] - said[:, 0]).numpy(), abs=1e-4)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("tiles", [1, 2, 74])
def test_the_graph_of_the_patch_encoder_sees_as_torch_does(model, graphs, tiles):
    draw = torch.Generator().manual_seed(tiles)
    pixels = torch.randint(0, 256, (tiles, 3, tiny.PIXELS, tiny.PIXELS), dtype=torch.uint8, generator=draw)
    with torch.inference_mode():
        seen = model.network("encoder")(pixels)
    (found,) = graphs["patch_encoder"].run(["vectors"], {"tiles": pixels.numpy()})
    assert np.abs(found).max() > 0.1
    assert found == pytest.approx(seen.numpy(), abs=1e-4)
