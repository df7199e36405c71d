"""Every row of the family by the stages that Kaleido-BERT goes through: pre-trained, ranked, fine-tuned, compared."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import shop
import yaml
from accelerate.state import AcceleratorState

from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.store import Store
from fashionvl.stages import (
    ablation,
    ablation_tasks,
    budget,
    comparison,
    evaluate,
    examine,
    finetune,
    pretrain,
    scorers,
    vectors,
)
from fashionvl.stages.pages.comparisons import comparisons
from fashionvl.words import Words

PARAMS = Path(__file__).parents[2] / "params.yaml"
OF_REGIONS = ("imagebert", "oscar", "vlbert", "vilbert")
FAMILY = {"kaleido": "kaleido", "fashionbert": "fixed", **dict.fromkeys(OF_REGIONS, "objects")}
COMPARED = ("kaleido", "oscar", "vlbert")
WITHOUT_HEAD = ("vlbert",)
TASKS = ("retrieval", "category")


def small(raw: dict) -> None:
    """Trainings that take moments."""
    for name in FAMILY:
        row = raw["systems"][name]
        row["model"].update(width=16, layers=2, heads=2, inner=32)
        row["model"]["start"] = None
        row["training"].update(batch=8, epochs=0, least_steps=4)
        row["alignment"] = "none"
    raw["systems"]["oscar"]["tags"] = 5
    raw["text"].update(fields=["title", "description"])
    raw["evaluate"].update(draws=1, candidates=5)
    raw["finetune"]["retrieval"].update(block=4)
    raw["finetune"]["retrieval"]["training"].update(epochs=0, least_steps=3, batch=8, accumulate=2)
    for task in ("category", "sub_category", "captioning"):
        raw["finetune"][task]["training"].update(epochs=0, least_steps=3, batch=8)
    raw["finetune"]["captioning"].update(beam=2, longest=5)
    table = {name: {"system": name, "patches": FAMILY[name]} for name in COMPARED}
    columns = {name: FAMILY[name] for name in COMPARED}
    raw["comparison"].update(
        minutes=None, steps=4, seeds=[1, 2], tasks=list(TASKS), once=["category"], columns=columns, table=table
    )
    raw.update(run_detectors=["scratch"], run_regions={"objects": "detector"})
    raw["comparison"].update(regions={})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    raw = yaml.safe_load(PARAMS.read_text())
    small(raw)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    of, build = shop.catalogue(), folder / "build"
    corpus(of, build)
    return folder


def corpus(of, build: Path) -> None:
    """A catalogue of tensors with three kinds of patches and its words."""
    shop.bring(of, build)
    shop.regions(build / "patches" / "objects", of)


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    AcceleratorState._reset_state(reset_partial_state=False)
    monkeypatch.setattr(scorers, "score", lambda said, reference: {"cider": float(len(said))})  # Java takes seconds
    yield
    AcceleratorState._reset_state(reset_partial_state=False)


def numbers(name: str) -> dict:
    return json.loads(Path(f"build/metrics/{name}.json").read_text())


@pytest.mark.parametrize("name", FAMILY)
def test_a_row_goes_through_every_stage(name, capsys):
    pretrain.main(name)
    evaluate.main(name)
    found = numbers(name)
    row = config.load(Path("params.yaml")).systems[name]
    assert {f"val.{loss}" for loss in row.objectives} <= set(found)
    assert ("sampled.SumR" in found) == (name not in WITHOUT_HEAD)
    assert Path(f"build/evaluation/{name}/ranks.parquet").exists() == (name not in WITHOUT_HEAD)
    for task in (*TASKS, "captioning"):
        finetune.main(f"{name}-{task}")
        examine.main(f"{name}-{task}")
    assert numbers(f"{name}-retrieval")["sampled.SumR"] > 0
    assert numbers(f"{name}-category")["both.accuracy"] == 1.0  # there is one category
    if name == "vilbert":
        assert "two streams do not say captions word by word" in capsys.readouterr().out
        assert numbers(f"{name}-captioning") == {}
    else:
        assert numbers(f"{name}-captioning")["causal.cider"] > 0


def test_a_training_that_was_stopped_goes_on_to_the_same_bits():
    pretrain.main("fashionbert")
    whole = checkpoint.load(Path("build/runs/fashionbert"))[0]
    pretrain.main("fashionbert", stop_after=2)
    pretrain.main("fashionbert")
    again = checkpoint.load(Path("build/runs/fashionbert"))[0]
    assert all((whole[name] == again[name]).all() for name in whole)


@pytest.mark.slow
@pytest.mark.ci
def test_the_family_is_compared_and_goes_on_where_it_was(capsys):
    for name in COMPARED:
        budget.main(f"comparison.{name}")
        for seed in (1, 2):
            ablation.main(f"comparison.{name}-{seed}")
            ablation_tasks.main(f"comparison.{name}-{seed}")
    assert not Path("build/ablations").exists()
    comparison.main()
    found = numbers("comparisons")
    assert set(COMPARED) <= set(found)
    assert "oscar - kaleido" in found
    sums = [checkpoint.read_card(Path(f"build/comparison_tasks/oscar-{n}"))["metrics"] for n in (1, 2)]
    mean = sum(each["retrieval.sampled.SumR"] for each in sums) / 2
    assert found["oscar"]["retrieval.sampled.SumR"] == pytest.approx(mean, abs=1e-5)
    assert "category.both.accuracy" in sums[0]
    assert "category.both.accuracy" not in sums[1]
    assert ["retrieval.full.SumR" in each for each in sums] == [True, False]
    assert found["oscar"]["retrieval.full.SumR"] == pytest.approx(sums[0]["retrieval.full.SumR"], abs=1e-5)
    text = Path("build/metrics/comparisons.md").read_text()
    assert "no matching head" in text
    assert "of category, the full gallery the first seed alone" in text
    assert "As published: kaleido > oscar > vlbert." in text
    page = comparisons(found)
    assert "oscar - kaleido" in page
    assert "319.52" in page
    assert "make compare" in comparisons(None)
    capsys.readouterr()
    ablation_tasks.main("comparison.oscar-1")
    assert "run folder" not in capsys.readouterr().out  # all of it was there
    Path("build/comparison_tasks/oscar-2/card.json").unlink()
    with pytest.raises(Problem, match="oscar-2 has no card"):
        comparison.main()


def test_tags_of_grids_are_one_sentence(made):
    settings = config.load(Path("params.yaml"))
    row = replace(settings.systems["oscar"], patches="fixed")
    with pytest.raises(config.ConfigError, match="a system with tags reads regions"):
        vectors.store_of(row, Words.load(Path("build/words")), Path("build"))
    assert settings.systems["oscar"].tags == 5


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("imagebert", {"matched_only": ["mlm", "mocc"]}, r"imagebert\.matched_only names 'mocc'; there are"),
        (
            "fashionbert",
            {"objectives": {"mlm": 1, "itm": 0}},
            r"fashionbert\.weighting is adaptive, .* there is but one",
        ),
    ],
)
def test_a_row_that_would_train_something_else_is_refused(name, changes, says):
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["systems"][name].update(changes)
    Path("other.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(config.ConfigError, match=says):
        pretrain.main(name, params=Path("other.yaml"))


@pytest.mark.parametrize(("key", "value"), [("streams", 2), ("glance", True)])
def test_what_needs_the_whole_picture_is_refused_on_grids(key, value):
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["systems"]["kaleido"]["model"][key] = value
    Path("other.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(config.ConfigError, match=rf"systems\.kaleido\.model\.{key} needs the whole picture"):
        pretrain.main("kaleido", params=Path("other.yaml"))


def phased(training: dict, **changes) -> Path:
    """Parameters with an earlier corpus for ImageBERT."""
    raw = yaml.safe_load(Path("params.yaml").read_text())
    earlier = {**training, "least_steps": 3}
    raw["systems"]["imagebert"].update(phases=[{"build": "earlier/build", "training": earlier}], **changes)
    Path("phased.yaml").write_text(yaml.safe_dump(raw))
    return Path("phased.yaml")


def test_weights_are_carried_from_corpus_to_corpus(capsys):
    if not Path("earlier").exists():
        corpus(shop.catalogue(products=24, seed=3), Path("earlier/build"))
    training = yaml.safe_load(Path("params.yaml").read_text())["systems"]["imagebert"]["training"]
    pretrain.main("imagebert")
    alone = checkpoint.load(Path("build/runs/imagebert"))[0]
    params = phased(training)
    pretrain.main("imagebert", params=params)
    whole, card = checkpoint.load(Path("build/runs/imagebert"))
    assert "imagebert, phase 1  step 3/3" in capsys.readouterr().out
    assert card["system"]["phases"][0]["build"] == "earlier/build"
    assert not (whole["words.word.weight"] == alone["words.word.weight"]).all()
    for stop in (2, 3):  # in the first corpus, in the second
        pretrain.main("imagebert", params=params, stop_after=stop)
    pretrain.main("imagebert", params=params)
    again = checkpoint.load(Path("build/runs/imagebert"))[0]
    assert all((whole[name] == again[name]).all() for name in whole)


def test_a_corpus_of_other_vectors_is_one_sentence():
    if not Path("earlier").exists():
        corpus(shop.catalogue(products=24, seed=3), Path("earlier/build"))
    manifest = Path("earlier/build/patches/objects/manifest.json")
    before = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(before), "encoder": {"name": "another"}}))
    training = yaml.safe_load(Path("params.yaml").read_text())["systems"]["imagebert"]["training"]
    with pytest.raises(Problem, match=r"was not made as .* was \(encoder differ\): .*copy build/encoder"):
        pretrain.main("imagebert", params=phased(training))
    manifest.write_text(json.dumps({**json.loads(before), "words": {"sha256": "theirs"}}))
    with pytest.raises(Problem, match="visual words of their own"):
        pretrain.main("imagebert", params=phased(training))
    manifest.write_text(before)


def test_a_store_of_regions_knows_where_they_are(made):
    store = Store.open(Path("build/patches/objects"))
    seen = store.pictures([5, 0, 5])
    assert seen.places.shape == (3, 6, 5)
    assert seen.shown.any(dim=1).all()
    assert not seen.shown.all()
    assert (seen.patches[~seen.shown] == 0).all()
    classes = store.classes([5])
    assert (classes[0, 0] == 0).all()
    assert classes[0, 1].sum() == pytest.approx(1, abs=2e-3)
    assert pd.Series(store.layout.names).tolist() == sorted(shop.THINGS)
