"""The stage `index`: every picture as a vector, only what is new embedded again, and a CLIP folder as it is."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image
from transformers import AutoTokenizer, CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fashionvl import checkpoint, config, words
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.store import checksum
from fashionvl.search import index as search
from fashionvl.stages import contrast, duals, index, machine, recallers

RECALLER = recallers.recaller
FIELDS = ["title", "description", "attributes.colour"]


class Killed(BaseException):
    """Ends a stage as a kill does."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small catalogue, a small dual encoder that learned for two steps, and a small CLIP folder."""
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("index")
    texts = tiny.bring(folder, 24).texts(FIELDS)
    words.learn(texts, vocabulary=300, slots=32).save(folder / "build" / "words")
    table = yaml.safe_load((tiny.ROOT / "params.yaml").read_text())
    table["text"]["fields"] = FIELDS
    table["contrast"]["baseline"] |= {"channels": [8, 16], "pixels": [32, 24], "width": 12}
    table["contrast"]["baseline"]["training"] |= {"epochs": 0.0, "least_steps": 2, "batch": 6}
    table["towers"]["fashion_clip"] = {"start": str(folder / "clip"), "sizes": None}
    (folder / "params.yaml").write_text(yaml.safe_dump(table))
    clip_folder(folder / "clip", folder / "build" / "words")
    contrast.main("baseline", **places(folder))
    return folder


def clip_folder(folder, words_folder):
    """A made-up fashion CLIP, as a user brings one: weights, configuration, tokenizer, processor."""
    vocabulary = words.Words.load(words_folder).vocabulary
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": vocabulary, "max_position_embeddings": 32, "eos_token_id": 3}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(words_folder).save_pretrained(folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)


def places(folder, **more):
    here = {"params": folder / "params.yaml", "data": folder / "data", "build": folder / "build"}
    return here | {"work": folder / ".work"} | more


def read(folder, system="baseline"):
    of = Catalogue.load(folder / "build" / "catalogue", folder / "data")
    place, data = folder / "build" / "index" / system, index.data_of(folder / "build")
    card = checkpoint.read_card(place)
    return index.opened(place, of, model=card["model"], data=data), card


@pytest.fixture
def mine(shop, tmp_path):
    """A copy of the shop that a test may change."""
    for part in ("data", "build", "params.yaml"):
        copy = shutil.copytree if (shop / part).is_dir() else shutil.copyfile
        copy(shop / part, tmp_path / part)
    return tmp_path


def test_every_picture_is_a_vector_of_its_model(mine):
    index.main("baseline", **places(mine))
    found, card = read(mine)
    of = Catalogue.load(mine / "build" / "catalogue", mine / "data")
    settings = config.load(mine / "params.yaml")
    dual = duals.load(mine / "build" / "runs" / "baseline", mine / "build", settings, machine.accelerator())
    assert found.vectors == pytest.approx(dual.see(of.root, of.pictures["path"].tolist()).numpy(), abs=1e-6)
    opened = [Image.open(of.root / path).convert("RGB") for path in of.pictures["path"][:2]]
    assert found.vectors[:2] == pytest.approx(dual.look(opened).numpy(), abs=1e-6)
    assert card["metrics"] | {"seconds": 0} == {
        "kind": "flat",
        "pictures": len(of.pictures),
        "products": 24,
        "embedded": of.pictures["sha256"].nunique(),
        "seconds": 0,
    }
    assert card["model"]["weights"] == checksum(mine / "build/runs/baseline/model.safetensors")
    assert card["data"] == index.data_of(mine / "build")
    listed = pd.read_parquet(mine / "build/index/baseline/pictures.parquet")
    assert listed["product_id"].tolist() == of.products["product_id"][of.pictures["product"]].tolist()
    assert search.search(found, found.vectors[:1], 3).product[0, 0] == 0


def test_only_what_is_new_or_changed_is_embedded_again(mine, monkeypatch, capsys):
    index.main("baseline", **places(mine))
    before = read(mine)[0].vectors.copy()
    shutil.rmtree(mine / "build" / "index")  # as DVC removes an output before its stage runs
    asked = watch(monkeypatch)
    index.main("baseline", **places(mine))
    assert asked == []
    assert (read(mine)[0].vectors == before).all()

    place = mine / "build" / "catalogue"
    products, pictures = pd.read_parquet(place / "products.parquet"), pd.read_parquet(place / "pictures.parquet")
    path = mine / "data" / pictures["path"].iloc[-1]
    Image.open(path).rotate(180).save(path)
    pictures.loc[pictures.index[-1], "sha256"] = checksum(path)
    kept = pictures[pictures["product"] != 0].assign(product=lambda rows: rows["product"] - 1)
    products.iloc[1:].reset_index(drop=True).to_parquet(place / "products.parquet")
    kept.reset_index(drop=True).to_parquet(place / "pictures.parquet")
    index.main("baseline", **places(mine))
    assert asked == [pictures["path"].iloc[-1]]
    after, card = read(mine)
    assert after.products == 23
    assert (after.vectors[:-1] == before[(pictures["product"] != 0).to_numpy()][:-1]).all()
    assert not np.allclose(after.vectors[-1], before[-1])
    assert card["metrics"]["embedded"] == 1
    assert "23 products" in capsys.readouterr().out
    (kept_file,) = (mine / ".work").glob("index-baseline/*/*.npz")
    assert len(np.load(kept_file)["sha256"]) == kept["sha256"].nunique()  # what was removed is forgotten


def test_another_model_embeds_everything_again(mine, monkeypatch):
    index.main("baseline", **places(mine))
    table = yaml.safe_load((mine / "params.yaml").read_text())
    (mine / "params.yaml").write_text(yaml.safe_dump(table | {"seed": 8}))
    contrast.main("baseline", **places(mine))
    asked = watch(monkeypatch)
    index.main("baseline", **places(mine))
    assert len(asked) == read(mine)[1]["metrics"]["embedded"] > 0
    assert len(list((mine / ".work" / "index-baseline").iterdir())) == 1


def test_a_killed_stage_goes_on_where_it_was(mine, monkeypatch):
    monkeypatch.setattr(index, "AT_ONCE", 4)
    asked = watch(monkeypatch, most=8)
    with pytest.raises(Killed):
        index.main("baseline", **places(mine))
    assert len(asked) == 12
    assert not (mine / "build/index/baseline/card.json").exists()
    asked = watch(monkeypatch)
    index.main("baseline", **places(mine))
    assert len(asked) == read(mine)[1]["metrics"]["pictures"] - 8


def test_a_clip_folder_is_indexed_untrained_and_sees_as_in_transformers(mine):
    index.main("fashion_clip", **places(mine))
    found, card = read(mine, "fashion_clip")
    assert card["model"]["system"] == "fashion_clip"
    of = Catalogue.load(mine / "build" / "catalogue", mine / "data")
    cut = config.load(mine / "params.yaml").towers["fashion_clip"].start
    model = CLIPModel.from_pretrained(cut).eval()
    opened = [Image.open(of.root / path).convert("RGB") for path in of.pictures["path"]]
    pixels = CLIPImageProcessorPil.from_pretrained(cut)(opened, return_tensors="pt")["pixel_values"]
    asked = AutoTokenizer.from_pretrained(cut)(
        ["a red dress"], padding="max_length", max_length=32, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        theirs = model(input_ids=asked["input_ids"], pixel_values=pixels)
    assert found.vectors == pytest.approx(theirs.image_embeds.numpy(), abs=2e-2)  # bf16 where there is hardware for it
    cosines = (found.vectors * theirs.image_embeds.numpy()).sum(axis=1)
    assert cosines.min() > 0.999
    settings = config.load(mine / "params.yaml")
    dual, mark = recallers.recaller("fashion_clip", mine / "build", settings, machine.accelerator())
    assert mark == card["model"]
    assert dual.say(["a red dress"]).float().numpy() == pytest.approx(theirs.text_embeds.numpy(), abs=2e-2)


def test_what_cannot_be_indexed_is_one_sentence(mine, monkeypatch):
    with pytest.raises(config.ConfigError, match=r"no row 'vit_b16' under contrast, clip or towers with `start`"):
        index.main("vit_b16", **places(mine))
    with pytest.raises(Problem, match="has no card"):
        index.main("clip", **places(mine))
    index.main("baseline", **places(mine))
    place = mine / "build" / "catalogue" / "pictures.parquet"
    pd.read_parquet(place).iloc[:-1].to_parquet(place)
    with pytest.raises(Problem, match="run the stage `index`"):
        read(mine)
    weights = mine / "build/runs/baseline"
    model, _ = contrast.load(weights)
    broken = {
        name: value * float("nan") if value.is_floating_point() else value for name, value in model.state_dict().items()
    }
    card = json.loads((weights / "card.json").read_text())
    checkpoint.save(weights, broken, card)
    with pytest.raises(Problem, match="a vector of it that is no numbers"):
        index.main("baseline", **places(mine))


def watch(monkeypatch, most=10**9):
    """-> the paths that are embedded from now on; more than `most` of them are interrupted."""
    asked = []

    def watched(*arguments):
        dual, mark = RECALLER(*arguments)

        def see(root, paths):
            asked.extend(paths)
            if len(asked) > most:
                raise Killed
            return dual.see(root, paths)

        return type(dual)(see, dual.say, dual.look), mark

    monkeypatch.setattr(index.recallers, "recaller", watched)
    return asked


def test_of_a_picture_that_is_a_line_only_the_middle_is_brought_to_size():
    chance = np.random.default_rng(0)
    line = Image.fromarray(chance.integers(0, 255, (2, 60_000, 3), np.uint8))
    middle = line.crop((29_992, 0, 30_008, 2))
    assert np.array_equal(recallers.centre(line, 224), recallers.centre(middle, 224))
    assert recallers.centre(line.rotate(90, expand=True), 224).shape == (224, 224, 3)
