"""Table 4 as parameters: columns are the base row with other values, seeds have equal steps, signs are compared."""

import json
from pathlib import Path

import pandas as pd
import pytest
import shop
import yaml
from accelerate.state import AcceleratorState

from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import ablation, ablation_table, ablations, budget, clock

PARAMS = Path(__file__).parents[2] / "params.yaml"


def raw_of(change=lambda raw: None) -> dict:
    raw = yaml.safe_load(PARAMS.read_text())
    change(raw)
    return raw


def load(folder: Path, raw: dict) -> config.Params:
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    return config.load(folder / "params.yaml")


def test_every_column_of_the_paper_is_there_and_is_built():
    settings = config.load(PARAMS)
    assert set(settings.ablation.columns) == set(ablation_table.PAPER)
    assert config.column(settings, "full") == settings.systems["kaleido"]
    built = {name: config.column(settings, name) for name in ablation_table.PAPER}
    assert built["whole"].objectives == built["full"].objectives
    assert list(built["B"].objectives) == ["mlm", "itm"]
    assert [name for name, row in built.items() if row.alignment == "none"] == ["random"]
    for before, after, puzzle in [
        ("B", "B+I", "rotation"),
        ("B+I", "B+I-II", "jigsaw"),
        ("B+I-II", "B+I-III", "camouflage"),
        ("B+I-III", "B+I-IV", "grey"),
        ("B+I-IV", "full", "blank"),
        ("B", "B+V", "blank"),
    ]:
        assert set(built[after].objectives) - set(built[before].objectives) == {puzzle}


def test_the_papers_steps_have_the_papers_signs():
    gained = {
        (before, after): ablation_table.PAPER[after]["SumR"] - ablation_table.PAPER[before]["SumR"]
        for before, after in ablations.STEPS
    }
    assert [step for step, gain in gained.items() if gain < 0] == [("B", "B+V")]
    assert gained["random", "full"] == pytest.approx(20.02)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda asked: asked.update(base="kaledo"), "no row 'kaledo' under systems"),
        (lambda asked: asked.update(base_patches="whole"), "base_patches must be 'kaleido', as systems.kaleido says"),
        (lambda asked: asked.update(steps=10), "minutes or steps, one of them"),
        (lambda asked: asked.update(minutes=None), "minutes or steps, one of them"),
        (lambda asked: asked.update(minutes=-1), "above 0"),
        (lambda asked: asked.update(seeds=[]), r"ablation\.seeds must be different numbers"),
        (lambda asked: asked.update(seeds=[1, 1]), r"ablation\.seeds must be different numbers"),
        (lambda asked: asked["table"].update({"B-1": {}}), "without a - before a last number"),
        (lambda asked: asked["table"].update({"a b": {}}), "of letters, digits"),
        (lambda asked: asked["table"]["B"].update(lr=1), r"unknown key 'ablation\.table\.B\.lr'"),
        (lambda asked: asked["table"]["random"].update(alignment="off"), r"table\.random\.alignment must be one of"),
        (lambda asked: asked["columns"].update(B="whole"), r"columns\.B must be the patches of that column, 'kaleido'"),
        (lambda asked: asked["columns"].update(C="kaleido"), r"no row 'C' under ablation\.table"),
        (lambda asked: asked.update(patches=["fixed"]), "columns.whole must be listed by run_patches or"),
        (lambda asked: asked.update(patches=["whole", "fixed", "kaleido"]), "DVC makes each of them once"),
        (lambda asked: asked.update(tasks=["retrieval"]), r"ablation\.tasks must be of \['category', .* each once"),
        (lambda asked: asked.update(tasks=["category", "category"]), r"ablation\.tasks must be of .* each once"),
        (lambda asked: asked.update(finetune={"retrieval": {}}), r"ablation\.finetune must be a table with keys of"),
        (lambda asked: asked.update(finetune={"category": 3}), r"ablation\.finetune\.category must be a table"),
        (
            lambda asked: asked.update(finetune={"category": {"lr": 1}}),
            r"unknown key 'ablation\.finetune\.category\.lr'",
        ),
        (lambda asked: asked.update(finetune={"category": {"training": 3}}), r"category\.training must be a table"),
        (
            lambda asked: asked.update(finetune={"captioning": {"training": {"step": 1}}}),
            r"unknown key 'ablation\.finetune\.captioning\.training\.step'",
        ),
        (lambda asked: asked["evaluate"].update(ask=1), r"unknown key 'ablation\.evaluate\.ask'"),
    ],
)
def test_a_wrong_table_of_columns_is_one_sentence(tmp_path, change, says):
    with pytest.raises(config.ConfigError, match=says):
        load(tmp_path, raw_of(lambda raw: change(raw["ablation"])))


def test_a_run_is_named_by_its_column_and_its_seed():
    assert ablation.parts_of("B+I-II-3") == ("B+I-II", 3)
    for wrong in ("full", "3", "full-x", "-3"):
        with pytest.raises(config.ConfigError, match="COLUMN-SEED"):
            ablation.parts_of(wrong)


def test_minutes_become_steps_in_round_figures():
    assert clock.steps_in(120, 0.31) == 390
    assert clock.steps_in(120, 0.3101) == 390  # a little slower, the same number
    assert clock.steps_in(1, 30) == 1


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A catalogue of tensors with two kinds of patches, and a table whose trainings take no time."""

    def small(raw: dict) -> None:
        raw["systems"]["kaleido"]["model"].update(width=16, layers=1, heads=2, inner=32, start=None)
        raw["systems"]["kaleido"]["training"].update(batch=8)
        raw["systems"]["kaleido"].update(alignment="none")
        raw["text"].update(fields=["title", "description"])
        raw["evaluate"].update(draws=2)
        raw["ablation"].update(minutes=None, steps=12, seeds=[1, 2], columns={"full": "kaleido", "fixed": "fixed"})

    load(tmp_path, raw_of(small))
    shop.bring(shop.catalogue(), tmp_path / "build")
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=False)
    yield tmp_path
    AcceleratorState._reset_state(reset_partial_state=False)


def facts(run: str) -> dict:
    return json.loads((Path("build/ablations") / run / "card.json").read_text())


def test_a_column_is_trained_by_every_seed_ranked_and_gathered(here):
    for column in ("full", "fixed"):
        budget.main(column)
        for seed in (1, 2):
            ablation.main(f"{column}-{seed}")
    card = facts("fixed-1")
    assert card["steps"] == 12
    assert card["metrics"]["val.blank"] > 0
    assert "val.rotation" not in card["metrics"]
    assert facts("full-1")["metrics"]["itm"] != facts("full-2")["metrics"]["itm"]
    assert not list(Path(".work").glob("ablation-*"))
    lists = {(Path("build/ablations") / run / "lists.parquet").read_bytes() for run in ("full-1", "full-2", "fixed-1")}
    assert len(lists) == 1
    products = pd.read_parquet("build/catalogue/products.parquet")
    asked = pd.read_parquet("build/ablations/full-1/ranks.parquet")["product"]
    assert set(products["split"].to_numpy()[asked]) == {"val"}
    ablations.main()
    found = json.loads(Path("build/metrics/ablations.json").read_text())
    sums = [facts(f"full-{seed}")["metrics"]["sampled.SumR"] for seed in (1, 2)]
    assert found["full"]["sampled.SumR"] == pytest.approx(sum(sums) / 2, abs=1e-5)
    assert found["full"]["steps.sd"] == 0


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(here, capsys):
    budget.main("full")
    ablation.main("full-1")
    whole = facts("full-1")
    ablation.main("full-1", stop_after=5)
    ablation.main("full-1")
    assert "goes on at step 5/12" in capsys.readouterr().out
    assert facts("full-1")["metrics"] == whole["metrics"]


def test_minutes_are_timed_once_and_then_stay(here):
    raw = yaml.safe_load(Path("params.yaml").read_text())
    raw["ablation"].update(minutes=0.01, steps=None)
    load(here, raw)
    clock.main("ablation")
    timed = json.loads(Path("build/clock/ablation/card.json").read_text())["metrics"]
    fit = 0.6 / timed["seconds_a_step"]  # few, on a busy machine: what is rounded down must not fail there
    assert 0.94 * fit - 1 <= timed["steps"] <= max(1, 1.06 * fit)
    budget.main("full")
    budget.main("fixed")
    said = facts("fixed")["metrics"]
    assert said["steps"] == round(timed["steps"] / said["relative_cost"])
    assert facts("full")["metrics"] == {"steps": timed["steps"], "relative_cost": 1.0}
    assert not list(Path(".work").glob("*"))
    ablation.main("fixed-1")
    ablation.main("fixed-2")
    assert facts("fixed-1")["steps"] == facts("fixed-2")["steps"] == said["steps"]


def test_the_cost_of_a_column_is_a_ratio_in_twentieths(monkeypatch):
    settings = config.load(PARAMS)
    row = config.column(settings, "B")
    nowhere = (Path(), Path(), Path())
    for seconds, cost in (((0.4, 0.22), 0.55), ((0.8, 0.441), 0.55), ((1.0, 0.001), 0.05), ((0.3, 0.45), 1.5)):
        monkeypatch.setattr(clock, "seconds_a_step", lambda rows, *rest, s=seconds: dict(zip(rows, s, strict=True)))
        assert budget.relative_cost("B", row, settings, *nowhere) == cost


def test_equal_steps_are_given_and_nothing_is_timed(here):
    clock.main("ablation")
    budget.main("fixed")
    assert json.loads(Path("build/clock/ablation/card.json").read_text())["metrics"] == {}
    assert facts("fixed")["metrics"] == {"steps": 12}


def test_a_run_without_its_steps_is_one_sentence(here):
    with pytest.raises(Problem, match=r"full has no card\.json"):
        ablation.main("full-1")


def shelve(folder: Path, run: str, sum_of: float, hits: int) -> None:
    """A run folder in which the first `hits` of ten queries a direction are right."""
    out = folder / run
    out.mkdir(parents=True)
    metrics = dict.fromkeys(ablation_table.SHOWN, hits / 10) | {ablation_table.SUM: sum_of, "sampled.itr.R@1.low": 0.0}
    checkpoint.write_card(out, {"steps": 100, "ranking_seconds": 1.0, "metrics": metrics})
    (out / "history.jsonl").write_text('{"step": 100, "seconds": 60.0}\n')
    query = {"protocol": "sampled", "draw": 0, "picture": 0}
    ranks = [
        {**query, "direction": way, "product": n, "group": n, "rank": 1 + (n >= hits)}
        for way in ("itr", "tir")
        for n in range(10)
    ]
    pd.DataFrame(ranks).to_parquet(out / "ranks.parquet")


def test_the_table_has_means_spreads_and_signs(tmp_path):
    folder = tmp_path / "ablations"
    for seed, (full, base) in enumerate([(300.0, 310.0), (302.0, 314.0)], 1):
        shelve(folder, f"full-{seed}", full, 8)
        shelve(folder, f"random-{seed}", base, 5)
    columns = {name: ablations.read(name, [1, 2], folder) for name in ("full", "random")}
    step = ablations.step(columns, "random", "full", 7)
    assert step.gains["SumR"].ours == -11.0
    assert step.gains["SumR"].error == pytest.approx((2 / 2 + 8 / 2) ** 0.5)
    assert not step.gains["SumR"].agrees  # the paper gains
    assert step.gains["SumR"].clear
    mean, low, high = step.paired["sampled.itr.R@1"]
    assert mean == pytest.approx(30)
    assert 0 <= low < mean < high
    found = ablations.numbers(columns, {"full - random": step})
    assert found["full"][ablation_table.SUM] == 301
    assert found["full"][f"{ablation_table.SUM}.sd"] == pytest.approx(2**0.5)
    assert "sampled.itr.R@1.low" not in found["full"]
    assert found["full - random"]["agrees"] is False
    assert "| full | 100 | 1.0 | 80.0 ± 0.0 |" in ablation_table.table(columns)
    assert "| full - random | +20.0 | -11.0 ± 2.2 |" in ablation_table.signs({"full - random": step})
    assert "against the paper's |" in ablation_table.signs({"full - random": step})


def test_one_seed_has_no_spread_and_settles_nothing(tmp_path):
    folder = tmp_path / "ablations"
    shelve(folder, "full-1", 300.0, 8)
    shelve(folder, "random-1", 290.0, 5)
    columns = {name: ablations.read(name, [1], folder) for name in ("full", "random")}
    step = ablations.step(columns, "random", "full", 7)
    assert step.gains["SumR"].agrees
    assert not step.gains["SumR"].clear
    assert f"{ablation_table.SUM}.sd" not in ablations.numbers(columns, {})["full"]
    assert "as the paper's, not clear" in ablation_table.signs({"full - random": step})


def test_a_run_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(Problem, match=r"full-1 has no card\.json"):
        ablations.read("full", [1], tmp_path)
