"""Dual encoders by the stages: taught, stopped and gone on with, ranked, probed, compared, handed over."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from fashionvl import checkpoint, config, words
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import clip, contrast, duals, evaluate, export, machine, pace, probe, trial, trials

FIELDS = ["title", "description", "attributes.colour"]
TRAINING = {"epochs": 0.0, "least_steps": 4, "batch": 6}
SIZES = {"width": 16, "layers": 1, "heads": 2, "inner": 32}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small catalogue with its words, and a table whose dual encoders learn for four steps."""
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = tmp_path_factory.mktemp("duals")
    texts = tiny.bring(folder, 36).texts(FIELDS)
    words.learn(texts, vocabulary=300, slots=32).save(folder / "build" / "words")
    table = yaml.safe_load((tiny.ROOT / "params.yaml").read_text())
    table["text"]["fields"] = FIELDS
    sizes = {"pixels": [32, 24], "patch": 8, "dim": 12, "picture": SIZES, "text": SIZES}
    table["towers"] |= {
        "small": {"start": None, "sizes": {**sizes, "channels": [8, 16], "means": True}},
        "square": {"start": None, "sizes": {**sizes, "pixels": [32, 32], "channels": [], "means": False}},
        "named": {"start": str(folder / "named"), "sizes": None},
    }
    table["contrast"]["baseline"] |= {"channels": [8, 16], "pixels": [32, 24], "width": 12}
    for name in ("square", "named"):
        table["clip"][name] = {**table["clip"]["flip"], "towers": name}
    for row in [*table["contrast"].values(), *table["clip"].values()]:
        row["training"] |= TRAINING
    table["trials"] |= {"minutes": None, "steps": 3, "seeds": [1, 2], "rows": ["baseline", "cluster_rgb"], "looks": 2}
    table["evaluate"] |= {"queries": 8, "draws": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(table))
    return folder


def named(folder, vocabulary):
    """A CLIP of `transformers` with the words of the catalogue, as files."""
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": vocabulary, "max_position_embeddings": 32, "eos_token_id": 3, "hidden_act": "gelu"}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8, "hidden_act": "gelu"}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)


def places(folder, **more):
    return {"params": folder / "params.yaml", "data": folder / "data", "build": folder / "build"} | more


def teach(folder, system, **more):
    clip.main(system, **places(folder, work=folder / ".work", **more))
    return folder / "build" / "runs" / system


@pytest.mark.parametrize("system", ["clip", "flip", "flip_attn", "cluster_rgb", "cluster_embed", "cluster_kmeans"])
def test_every_row_of_clips_family_is_taught_ranked_and_probed(shop, system):
    run = teach(shop, system)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert len(history) == 4
    hidden = {"clip": 0, "flip": 0.5, "flip_attn": 0.5}.get(system)
    assert all(step["hidden"] == hidden if hidden is not None else 0.25 <= step["hidden"] < 1 for step in history)
    evaluate.main(system, **places(shop))
    probe.main(system, **places(shop))
    ranked = json.loads((shop / f"build/metrics/{system}.json").read_text())
    assert 0 <= ranked["sampled.itr.R@1"] <= 1
    probed = json.loads((shop / f"build/metrics/{system}-probe.json").read_text())
    for name in ("category.zero_shot.shop", "sub_category.probe", "composition.replace.colour"):
        low, value, high = (probed[f"{name}.accuracy{end}"] for end in (".low", "", ".high"))
        assert 0 <= low <= value <= high <= 1
    assert probed["composition.replace.colour.foils"] > 0
    with Image.open(shop / f"build/probes/{system}/hidden.png") as drawn:
        panels, wide = 3 if system in ("cluster_rgb", "cluster_embed") else 2, 24 * 8
        pixels = np.asarray(drawn.convert("RGB"))
    assert pixels.shape[1] == 2 * (panels * (wide + 10) - 10) + 34
    first, last = pixels[:256, :wide], pixels[:256, (panels - 1) * (wide + 10) :][:, :wide]
    assert np.array_equal(first, last) == (system == "clip")


def test_the_threshold_is_on_the_card_and_stays_when_a_training_goes_on(shop, tmp_path, capsys):
    whole = teach(shop, "cluster_rgb")
    weights, card = checkpoint.load(whole)
    assert -1 < card["hiding"]["threshold"] < 1
    assert f"patches above {card['hiding']['threshold']:.3f} hide" in capsys.readouterr().out
    build = tmp_path / "build"
    build.mkdir()
    for part in ("catalogue", "words"):
        (build / part).symlink_to(shop / "build" / part)
    parts = {"params": shop / "params.yaml", "data": shop / "data", "build": build, "work": tmp_path / ".work"}
    clip.main("cluster_rgb", stop_after=2, **parts)
    capsys.readouterr()
    clip.main("cluster_rgb", **parts)
    said = capsys.readouterr().out
    assert "goes on at step 2/4" in said
    assert "patches above" not in said
    again, card_again = checkpoint.load(build / "runs" / "cluster_rgb")
    assert card_again == card
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_a_row_from_a_checkpoint_starts_with_its_weights_and_words(shop):
    settings = config.load(shop / "params.yaml")
    with pytest.raises(Problem, match="there is no folder"):
        teach(shop, "named")
    vocabulary = words.Words.load(shop / "build" / "words").vocabulary
    named(shop / "named", vocabulary)
    with pytest.raises(Problem, match="missing or another's"):
        teach(shop, "named")
    AutoTokenizer.from_pretrained(shop / "build" / "words").save_pretrained(shop / "named")
    run = teach(shop, "named")
    dual = duals.load(run, shop / "build", settings, machine.accelerator())
    assert torch.allclose(dual.say(["a red dress"]).norm(dim=1), torch.ones(1), atol=1e-5)
    evaluate.main("named", **places(shop))


def test_what_is_handed_over_says_the_same_in_transformers(shop, tmp_path):
    teach(shop, "square")
    export.main("square", tmp_path / "out", **places(shop))
    model, cut = CLIPModel.from_pretrained(tmp_path / "out").eval(), AutoTokenizer.from_pretrained(tmp_path / "out")
    asked = cut(["a red dress", "blue"], padding="max_length", max_length=32, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = model.get_text_features(asked["input_ids"])
        theirs = torch.nn.functional.normalize(getattr(theirs, "pooler_output", theirs), dim=1)
        ours, _ = clip.load(shop / "build" / "runs" / "square")
        found = ours.embed_texts(asked["input_ids"])
    assert torch.allclose(found, theirs, atol=1e-5)
    with pytest.raises(Problem, match="is not empty"):
        export.main("square", tmp_path / "out", **places(shop))
    with pytest.raises(Problem, match="can be a CLIPModel"):
        export.main(teach(shop, "flip").name, tmp_path / "other", **places(shop))


def test_the_baseline_is_probed_too(shop):
    contrast.main("baseline", **places(shop, work=shop / ".work"))
    evaluate.main("baseline", **places(shop))
    probe.main("baseline", **places(shop))
    assert 0 <= json.loads((shop / "build/metrics/baseline-probe.json").read_text())["category.probe.accuracy"] <= 1
    with pytest.raises(config.ConfigError, match="no row 'nobody' under contrast or clip"):
        probe.main("nobody", **places(shop))


def test_trials_teach_every_row_with_every_seed_and_compare_them(shop):
    pace.main(**places(shop, work=shop / ".work"))
    for row in ("baseline", "cluster_rgb"):
        for seed in (1, 2):
            trial.main(f"{row}-{seed}", **places(shop, work=shop / ".work"))
    trials.main(**places(shop))
    found = json.loads((shop / "build/metrics/trials.json").read_text())
    assert list(found) == ["baseline", "cluster_rgb", "cluster_rgb - baseline"]
    assert found["baseline"]["steps"] == 3
    table = (shop / "build/metrics/trials.md").read_text()
    assert table.count("| cluster_rgb |") == 4
    looks = pd.read_csv(shop / "build/trials/cluster_rgb-1/looks.csv")
    assert looks["step"].tolist() == [1, 3]
    assert looks["pictures"].tolist() == [6, 18]
    assert (looks["patches"] <= 12 * looks["pictures"] * 0.75).all()
    assert pd.read_csv(shop / "build/trials/baseline-1/looks.csv")["patches"].tolist() == [0, 0]
    lists = {
        (shop / f"build/trials/{row}-{seed}/lists.parquet").read_bytes()
        for row in found
        if " " not in row
        for seed in (1, 2)
    }
    assert len(lists) == 1
    losses = [(shop / f"build/trials/cluster_rgb-{seed}/history.jsonl").read_text() for seed in (1, 2)]
    assert json.loads(losses[0].splitlines()[0])["nce"] != json.loads(losses[1].splitlines()[0])["nce"]


def test_a_trial_that_was_stopped_goes_on_to_the_same_end(shop, tmp_path):
    ends = []
    for name, stopped in (("one", ()), ("other", (2,))):
        place = tmp_path / name
        place.mkdir()
        for part in ("catalogue", "words"):
            (place / part).symlink_to(shop / "build" / part)
        checkpoint.write_card(place / "trials" / "pace", {"stage": "pace", "metrics": {"flip": 3}})
        for stop in (*stopped, None):
            trial.main("flip-1", **places(shop, build=place, work=tmp_path / f"{name}.work"), stop_after=stop)
        card = checkpoint.read_card(place / "trials" / "flip-1")
        ends.append((card["metrics"], (place / "trials/flip-1/looks.csv").read_text().count("\n")))
    assert ends[0][0] == ends[1][0]
    assert ends[0][1] <= ends[1][1]


def test_the_time_to_a_recall_lies_between_two_looks():
    looks = pd.DataFrame({"seconds": [60.0, 120.0], "patches": [10, 20], "itr": [0.1, 0.3], "tir": [0.1, 0.5]})
    assert trials.crossing(looks, 0.25) == pytest.approx((90, 15))
    assert trials.crossing(looks, 0.05) == pytest.approx((30, 5))
    assert trials.crossing(looks, 0.5) is None


def test_minutes_become_steps_by_what_a_step_takes(shop):
    table = yaml.safe_load((shop / "params.yaml").read_text())
    table["trials"] |= {"minutes": 0.5, "steps": None}
    (shop / "timed.yaml").write_text(yaml.safe_dump(table))
    pace.main(**places(shop, params=shop / "timed.yaml", work=shop / ".work", build=shop / "build"))
    steps = checkpoint.read_card(shop / "build" / "trials" / "pace")["metrics"]
    assert set(steps) == {"baseline", "cluster_rgb"}
    assert all(count > 30 for count in steps.values())
    assert not list((shop / ".work").glob("pace-*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip": {"clip": {"towers": "tall"}}}, "no row 'tall' under towers"),
        ({"towers": {"small": {"start": "a/b"}}}, "with `start` or `sizes`, one of them"),
        ({"towers": {"small": {"sizes": {"pixels": [30, 24]}}}}, "multiples of the patch of 8"),
        ({"trials": {"against": "flip"}}, "trials.against must be one of its rows"),
        ({"trials": {"minutes": 3.0}}, "minutes or steps, one of them"),
        ({"run_clip": ["nobody"]}, "no row 'nobody' under clip"),
    ],
)
def test_a_table_that_cannot_be_is_one_sentence(shop, tmp_path, change, said):
    def merged(old, new):
        return {**old, **{k: merged(old[k], v) if isinstance(v, dict) else v for k, v in new.items()}}

    table = merged(yaml.safe_load((shop / "params.yaml").read_text()), change)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(config.ConfigError, match=said):
        config.load(tmp_path / "params.yaml")


def test_parts_of_a_batch_and_norms_of_a_batch_do_not_go_together(shop, tmp_path):
    table = yaml.safe_load((shop / "params.yaml").read_text())
    table["clip"]["flip"]["at_once"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(config.ConfigError, match="cannot embed 2 rows at a time"):
        teach(shop, "flip", params=tmp_path / "params.yaml")
    table["clip"]["square"]["at_once"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
    teach(shop, "square", params=tmp_path / "params.yaml")


def test_an_unknown_way_to_hide_is_one_sentence(shop, tmp_path):
    table = yaml.safe_load((shop / "params.yaml").read_text())
    for change, said in (({"by": "colour"}, "must be one of"), ({"bye": "random"}, "unknown key")):
        table["clip"]["flip"]["hiding"] = change
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(table))
        with pytest.raises((config.ConfigError, Problem), match=said):
            teach(shop, "flip", params=tmp_path / "params.yaml")
