import dataclasses
import json
from dataclasses import dataclass

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from fashionvl import training
from fashionvl.catalogue.problems import Problem
from fashionvl.config import Training

RECIPE = Training(
    epochs=1, batch=8, lr=0.01, warmup=0.1, weight_decay=0.0001, clip=1.0, accumulate=1, checkpointing=False
)


@dataclass
class Sums:
    """A question: add four numbers. The second loss counts on the rows whose first number is positive."""

    x: torch.Tensor

    @property
    def counts(self):
        return {"add": len(self.x), "some": float((self.x[:, 0] > 0).sum())}

    def to(self, device):
        return self


def draw(step, part, parts):
    x = torch.randn(8, 4, generator=training.chance_of(3)(step))
    return Sums(x[part * 8 // parts : (part + 1) * 8 // parts])


def judge(model, question):
    wrong = (model(question.x)[:, 0] - question.x.sum(dim=1)).square()
    return {"add": wrong.sum(), "some": wrong[question.x[:, 0] > 0].sum()}


def train(work, *, stop_after=None, dropout=0.1, precision="no", losses=judge, **changes):
    work.mkdir(exist_ok=True)
    AcceleratorState._reset_state(reset_partial_state=False)  # one process, several precisions
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 1))
    training.train(
        model,
        draw=draw,
        losses=losses,
        weights={"add": 1.0, "some": 0.5},
        steps=30,
        recipe=dataclasses.replace(RECIPE, **changes),
        seed=3,
        work=work,
        name="test",
        accelerator=Accelerator(cpu=True, mixed_precision=precision),
        stop_after=stop_after,
    )
    return model.state_dict()


def history(work):
    return [json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path, precision):
    whole = train(tmp_path / "whole", precision=precision)
    for stop in (7, 19, None):
        pieces = train(tmp_path / "pieces", stop_after=stop, precision=precision)
    assert same(whole, pieces)
    losses = [[line["loss"] for line in history(tmp_path / name)] for name in ("whole", "pieces")]
    assert losses[0] == losses[1]
    seconds = [line["seconds"] for line in history(tmp_path / "pieces")]
    assert seconds == sorted(seconds)


def test_history_written_after_the_last_checkpoint_is_cut_back(tmp_path):
    train(tmp_path / "killed", stop_after=10)
    with (tmp_path / "killed" / "history.jsonl").open("a") as file:
        file.write('{"step": 11, "loss": 9}\n{"step": 12, "lo')  # as a kill leaves it
    train(tmp_path / "killed")
    assert [line["step"] for line in history(tmp_path / "killed")] == list(range(1, 31))


def test_accumulated_micro_batches_are_one_batch(tmp_path):
    whole = train(tmp_path / "whole", dropout=0.0)
    parts = train(tmp_path / "parts", dropout=0.0, accumulate=4)
    for name in whole:
        assert torch.allclose(whole[name], parts[name], atol=1e-5)


def test_losses_are_means_over_what_counts_and_the_sum_is_weighted(tmp_path):
    train(tmp_path / "run")
    line = history(tmp_path / "run")[0]
    assert line["loss"] == pytest.approx(line["add"] + 0.5 * line["some"], rel=1e-4)


def test_training_learns(tmp_path):
    train(tmp_path / "run", dropout=0.0, lr=0.05)
    lines = history(tmp_path / "run")
    assert lines[-1]["add"] < 0.2 * lines[0]["add"]


def test_a_loss_that_is_no_number_stops_the_run_and_is_named(tmp_path):
    def broken(model, question):
        sums = judge(model, question)
        return {**sums, "some": sums["some"] * float("nan")}

    with pytest.raises(Problem, match="step 1: the loss some is no number"):
        train(tmp_path / "run", losses=broken)
    assert history(tmp_path / "run") == []


def test_a_gradient_that_is_no_number_is_not_taken_and_the_last_checkpoint_is_sound(tmp_path):
    calls = []

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, slope):
            return slope * float("inf")

    def broken(model, question):
        sums = judge(model, question)
        calls.append(1)
        return {**sums, "some": Steep.apply(sums["some"])} if len(calls) > 3 else sums

    with pytest.raises(Problem, match="the gradient is no number, although its losses are"):
        train(tmp_path / "run", losses=broken)
    lines = history(tmp_path / "run")
    assert lines
    weights = train(tmp_path / "run")
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_the_learning_rate_warms_up_and_decays():
    rates = [training.learning_rate(step, 100, RECIPE) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[9] == max(rates) == pytest.approx(0.01)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.0002


def test_the_learning_rate_may_fall_as_a_cosine():
    recipe = dataclasses.replace(RECIPE, decay="cosine")
    rates = [training.learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[9] == max(rates) == pytest.approx(0.01)
    assert rates[55] == pytest.approx(0.005, rel=0.03)
    assert rates[-1] < 0.00001


def test_the_optimiser_is_as_the_recipe_says():
    recipe = dataclasses.replace(RECIPE, betas=[0.9, 0.98], epsilon=1e-6)
    adam = training.optimiser(nn.Linear(3, 3), recipe)
    assert (adam.defaults["betas"], adam.defaults["eps"]) == ((0.9, 0.98), 1e-6)


def test_biases_and_norms_do_not_decay():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    decays = {p.ndim: g["weight_decay"] for g in training.optimiser(model, RECIPE).param_groups for p in g["params"]}
    assert decays == {2: 0.0001, 1: 0.0}


def test_a_seed_is_a_function_of_its_numbers():
    assert training.seed_of(1, 2) == training.seed_of(1, 2)
    assert len({training.seed_of(1, step) for step in range(1000)}) == 1000
    assert training.seed_of(1, 23) != training.seed_of(12, 3)


TWO = """
import sys, torch, accelerate
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_training as t
torch.save(t.train(Path(sys.argv[2]), dropout=0.0), Path(sys.argv[2]) / f"{accelerate.PartialState().process_index}.pt")
"""


@pytest.mark.slow
@pytest.mark.ci
def test_two_processes_are_one_process_with_the_same_global_batch(tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    script = tmp_path / "two.py"
    script.write_text(TWO)
    (tmp_path / "two").mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
    subprocess.run([*launch, script, Path(__file__).parent, tmp_path / "two"], check=True, timeout=300)
    whole = train(tmp_path / "one", dropout=0.0)
    for rank in (0, 1):
        weights = torch.load(tmp_path / "two" / f"{rank}.pt")
        for name in whole:
            assert torch.allclose(whole[name], weights[name.removeprefix("module.")], atol=1e-5)
    losses = [[line["loss"] for line in history(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_small_catalogue_gets_its_least_steps():
    recipe = dataclasses.replace(RECIPE, epochs=2, least_steps=10)
    assert recipe.steps(20) == 10
    assert recipe.steps(100) == 25
