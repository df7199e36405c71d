"""CR, SUB and FC of Table 4: seeds differ only in training, what is finished stays, sums and signs are the paper's."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import test_ablations
import tiny
import yaml
from accelerate.state import AcceleratorState

from fashionvl import checkpoint, config, metrics
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import ablation_table, ablation_tasks, ablations, examine, finetune, scorers
from fashionvl.stages.pages import ablations as page
from fashionvl.stages.pages import published

RUNS = ("full-1", "full-2", "B-1")
SCORES = {"bleu4": 5.0, "meteor": 10.0, "rouge_l": 30.0, "cider": 20.0, "sumcap": 65.0}
OUT = Path("build/ablation_tasks")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project folder with three runs of the ablations, all of the same untrained weights."""
    folder = tmp_path_factory.mktemp("tasks")
    run = tiny.build(folder, 12, aligned=False)
    for name in RUNS:
        shutil.copytree(run, folder / "build" / "ablations" / name)
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    for task in config.STUDIES["ablation"]:
        raw["finetune"][task]["training"].update(epochs=0.1, least_steps=9, batch=4)
    raw["finetune"]["captioning"].update(beam=2, longest=4)
    short = {task: {"training": {"least_steps": 3}} for task in config.STUDIES["ablation"]}
    raw["ablation"].update(finetune=short, tasks=["category", "captioning"])
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    return folder


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(scorers, "score", lambda said, reference: SCORES)  # Java takes seconds
    shutil.rmtree("build/ablation_tasks", ignore_errors=True)
    shutil.rmtree(".work", ignore_errors=True)


@pytest.fixture
def heard(monkeypatch):
    """What is taught and what is examined: (verb, task, settings)."""
    calls = []
    teach = finetune.teach

    def told(task, bench, *rest, **more):
        calls.append(("teach", task, bench.settings))
        teach(task, bench, *rest, **more)

    def listened(task, exam):
        def asked(bench, *rest):
            calls.append(("examine", task, bench.settings))
            return exam(bench, *rest)

        return asked

    monkeypatch.setattr(finetune, "teach", told)
    for task, exam in list(examine.EXAMS.items()):
        monkeypatch.setitem(examine.EXAMS, task, listened(task, exam))
    return calls


def card_of(run: str) -> dict:
    return json.loads((OUT / run / "card.json").read_text())


def test_every_run_is_asked_the_same_and_seeds_differ_only_in_training(heard):
    for run in RUNS:
        ablation_tasks.main(run)
    taught = {settings.seed for verb, _, settings in heard if verb == "teach"}
    assert taught == {1, 2}
    assert len({repr(settings) for verb, _, settings in heard if verb == "examine"}) == 1
    assert len({repr(replace(settings, seed=0)) for _, _, settings in heard}) == 1
    cards = [card_of(run) for run in RUNS]
    assert len({json.dumps([card["recipes"], card["evaluate"]]) for card in cards}) == 1
    assert {card["steps"]["category"] for card in cards} == {3}
    assert {"category.both.accuracy", "category.both.macro_f_all", "captioning.causal.bleu4"} <= set(
        cards[0]["metrics"]
    )
    for file, columns in (("category/predictions", ["picture", "true"]), ("captioning/captions", ["picture", "mode"])):
        tables = [pd.read_parquet(OUT / run / f"{file}.parquet") for run in RUNS]
        assert all(table[columns].equals(tables[0][columns]) for table in tables)
        split = pd.read_parquet("build/catalogue/products.parquet")["split"].to_numpy()
        assert set(split[tables[0]["product"]]) == {"val"}
    assert not list(OUT.glob("**/*.safetensors"))
    assert not list(Path(".work").glob("*"))


def test_a_finished_task_stays_and_a_killed_run_goes_on(heard, monkeypatch, capsys):
    ablation_tasks.main("full-1")
    straight = card_of("full-1")
    heard.clear()
    ablation_tasks.main("full-1")
    assert heard == []  # nothing is done twice
    shutil.rmtree(OUT)  # as DVC does before it runs a stage
    exam = examine.EXAMS["captioning"]
    monkeypatch.setitem(examine.EXAMS, "captioning", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ablation_tasks.main("full-1")
    assert not (OUT / "full-1").exists()
    monkeypatch.setitem(examine.EXAMS, "captioning", exam)
    heard.clear()
    ablation_tasks.main("full-1")
    assert [call[:2] for call in heard] == [("examine", "captioning")]
    assert card_of("full-1") == straight
    shutil.rmtree(OUT)
    ablation_tasks.main("full-1", stop_after=2)
    ablation_tasks.main("full-1")
    assert "goes on at step 2/3" in capsys.readouterr().out
    assert card_of("full-1") == straight


def test_a_task_with_another_recipe_is_learned_again_and_no_other(heard):
    ablation_tasks.main("full-1")
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["ablation"]["finetune"]["category"]["training"]["least_steps"] = 4
    Path("other.yaml").write_text(yaml.safe_dump(raw))
    heard.clear()
    ablation_tasks.main("full-1", params=Path("other.yaml"))
    assert [call[:2] for call in heard] == [("teach", "category"), ("examine", "category")]
    assert card_of("full-1")["steps"] == {"category": 4, "captioning": 3}


def test_the_training_of_an_override_is_merged_key_by_key():
    raw = test_ablations.raw_of(
        lambda raw: raw["ablation"].update(
            finetune={"category": {"readout": "cls", "training": {"least_steps": 40, "epochs": 1}}}
        )
    )
    Path("merged.yaml").write_text(yaml.safe_dump(raw))
    settings = config.load(Path("merged.yaml"))
    found, base = config.taught_by(settings, "ablation"), settings.finetune
    training = replace(base.category.training, least_steps=40, epochs=1.0)
    assert found == replace(base, category=replace(base.category, readout="cls", training=training))


def test_the_papers_cells_add_up_to_its_sums_and_its_steps_have_its_signs():
    assert {name: tuple(sums.values()) for name, sums in ablation_table.PAPER.items()} == {
        "fixed": (276.97, 313.43, 76.6),
        "whole": (303.80, 314.96, 79.7),
        "full": (319.52, 318.14, 84.0),
        "random": (299.50, 314.31, 78.6),
        "B": (295.70, 297.40, 77.9),
        "B+I": (297.18, 298.77, 79.0),
        "B+I-II": (300.82, 307.54, 79.2),
        "B+I-III": (312.65, 315.30, 81.6),
        "B+I-IV": (316.10, 316.88, 83.4),
        "B+V": (287.70, 300.21, 78.6),
    }
    lost = [
        (name, *step)
        for step in ablations.STEPS
        for name in ablation_table.SUMS
        if ablation_table.PAPER[step[1]][name] < ablation_table.PAPER[step[0]][name]
    ]
    assert lost == [("SumR", "B", "B+V")]


def shelve(runs: dict[str, float], *, captions: bool = True) -> config.Params:
    """Finished runs, with tasks that are as good as said -> the parameters they were asked by."""
    shutil.rmtree("table", ignore_errors=True)
    raw = test_ablations.raw_of(
        lambda raw: raw["ablation"].update(columns={"full": "kaleido", "random": "kaleido"}, seeds=[1, 2])
    )
    Path("table.yaml").write_text(yaml.safe_dump(raw))
    settings = config.load(Path("table.yaml"))
    for run, share in runs.items():
        test_ablations.shelve(Path("table/ablations"), run, 300.0, 5)
        found = dict.fromkeys(published.RECOGNISED, share) | {"category.both.accuracy.low": 0.0}
        if captions:
            found |= {f"captioning.{mode}.{key}": 10 * share for mode in ("causal", "mask_all") for key in SCORES}
        card = {**config.asked_of_tasks(settings, "ablation", 1), "metrics": found}
        checkpoint.write_card(Path("table/ablation_tasks") / run, card)
    return settings


def gathered() -> tuple[dict, str]:
    ablations.main(params=Path("table.yaml"), build=Path("table"))
    folder = Path("table/metrics")
    return json.loads((folder / "ablations.json").read_text()), (folder / "ablations.md").read_text()


SHARES = {"full-1": 0.9, "full-2": 0.8, "random-1": 0.5, "random-2": 0.4}


def test_the_tables_sums_are_those_of_the_metrics_and_its_signs_are_compared():
    shelve(SHARES)
    found, text = gathered()
    both = {task: {"accuracy": 0.85, "macro_f_all": 0.85} for task in published.RECOGNITION}
    assert found["full"]["SumCLS"] == pytest.approx(metrics.sum_of_recognition(both))
    assert found["full"]["SumCAP"] == pytest.approx(metrics.sum_of_caption_scores(dict.fromkeys(SCORES, 8.5)))
    assert found["full"]["captioning.causal.cider"] == pytest.approx(8.5)
    assert found["full"]["SumCLS.sd"] == pytest.approx(40 / 2**0.5)
    assert "category.both.accuracy.low" not in found["full"]
    step = found["full - random"]
    assert (step["SumCLS"], step["SumCLS.agrees"], step["SumCLS.clear"]) == (160, True, True)
    assert step["SumCLS.error"] == pytest.approx(28.284)
    assert (step["SumCAP"], step["SumCAP.paper"]) == (16, 5.4)
    assert (step["SumR"], step["agrees"]) == (0, False)
    assert "| full | 85.0 ± 7.1 | 85.0 ± 7.1 | 85.0 ± 7.1 | 85.0 ± 7.1 | 340.0 ± 28.3 | 8.5 ± 0.7 |" in text
    assert "| full, paper | 95.1 | 71.4 | 88.1 | 63.6 | 318.1 | 5.7 | 12.8 | 32.9 | 32.6 | 84.0 |" in text
    assert "| full - random | +3.8 | +160.0 ± 28.3 | as the paper's | +5.4 | +16.0 ± 2.8 | as the paper's |" in text
    shown = page.ablations(found)
    assert "340.0<small>± 28.3</small>" in shown
    assert "What each step adds to SumCAP" in shown


def test_a_gain_against_the_papers_is_called_so_and_a_small_one_not_clear():
    shelve({**SHARES, "random-1": 0.99, "random-2": 0.99})
    found, text = gathered()
    assert found["full - random"]["SumCLS.agrees"] is False
    assert "against the paper's" in text
    shelve({**SHARES, "random-1": 0.88, "random-2": 0.78})
    assert "as the paper's, not clear" in gathered()[1]


def test_without_java_captions_are_not_measured_even_where_one_run_lacks_them():
    shelve(SHARES, captions=False)
    found, text = gathered()
    assert "SumCAP" not in found["full"]
    assert found["full"]["SumCLS"] == pytest.approx(340)
    assert text.count("not measured") == 2 * 5 + 1
    assert "adds to SumCAP" not in page.ablations(found)
    shelve(SHARES)
    card = checkpoint.read_card(Path("table/ablation_tasks/full-2"))
    card["metrics"] = {key: value for key, value in card["metrics"].items() if not key.startswith("captioning")}
    checkpoint.write_card(Path("table/ablation_tasks/full-2"), card)
    found, text = gathered()
    assert "SumCAP" in found["random"]
    assert "SumCAP" not in found["full"]
    assert "SumCAP" not in found["full - random"]


def test_runs_without_tasks_leave_retrieval_alone_and_a_sentence():
    shelve(SHARES)
    shutil.rmtree("table/ablation_tasks/random-2")
    found, text = gathered()
    assert "CR, SUB and FC are not shown: 1 of 4 runs have not been through `ablation_tasks` (random-2" in text
    assert "SumCLS" not in found["full"]
    assert "| full | 100 | 1.0 | 50.0 ± 0.0 |" in text
    assert "The tasks were not learned" in page.ablations(found)


def test_runs_that_were_asked_otherwise_are_not_put_into_one_table():
    settings = shelve(SHARES)
    asked = config.asked_of_tasks(settings, "ablation", 1)
    card = checkpoint.read_card(Path("table/ablation_tasks/full-2"))
    card["evaluate"] = asdict(replace(config.ranked_by(settings, "ablation"), ranking_on="test"))
    assert card["evaluate"] != asked["evaluate"]
    checkpoint.write_card(Path("table/ablation_tasks/full-2"), card)
    with pytest.raises(
        Problem, match=r"full-2 was taught or examined by other parameters .* run `ablation_tasks full-2`"
    ):
        gathered()


def test_a_run_that_is_not_there_is_one_sentence():
    with pytest.raises(Problem, match=r"full-3 has no card\.json"):
        ablation_tasks.main("full-3")
