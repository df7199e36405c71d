"""The one training loop: draw, ask, judge, step; log every step; survive a kill at any moment.

Everything random is a function of (seed, step), so a checkpoint needs no random state but the number of the step, and
a training that was killed goes on to the same bits.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fashionvl.catalogue.problems import Problem
from fashionvl.checkpoint import read_tensors, write_tensors
from fashionvl.config import Training

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 30.0
REPORT_SECONDS = 5.0


class Question(Protocol):
    """Plain tensors that a model is asked with, and how many items each loss is summed over."""

    counts: Mapping[str, float]

    def to(self, device: torch.device) -> "Question": ...


Draw = Callable[[int, int, int], Any]  # (step, part, parts) -> Question
Losses = Callable[[Any, Any], dict[str, Tensor]]  # sums by name
Balance = Callable[[Tensor], Tensor]  # (K,) float, the mean of each loss -> (K,) float, without gradient


def seed_of(*numbers: int) -> int:
    """One seed of 63 bits from several numbers, the same on every machine."""
    digest = hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def chance_of(seed: int) -> Callable[..., torch.Generator]:
    """-> numbers -> a generator that depends on the seed and these numbers and on nothing else."""
    return lambda *numbers: torch.Generator().manual_seed(seed_of(seed, *numbers))


def learning_rate(step: int, steps: int, recipe: Training) -> float:
    """Linear warm-up over a share of the steps, then decay towards zero; `step` counts from 0."""
    warm = max(1, round(steps * recipe.warmup))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    left = (steps - step) / max(1, steps - warm)
    return recipe.lr * (left if recipe.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)


def optimiser(model: nn.Module, recipe: Training) -> torch.optim.AdamW:
    """AdamW without decay on biases and norms (every parameter of one dimension)."""
    kept = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in kept if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in kept if p.ndim <= 1], "weight_decay": 0.0},
    ]
    first, second = recipe.betas
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(first, second), eps=recipe.epsilon, fused=True)


class _Asked(nn.Module):
    """A model together with its losses, so that one forward holds both (what a wrapper for several devices needs)."""

    def __init__(self, model: nn.Module, losses: Losses):
        super().__init__()
        self.model = model
        self.losses = losses

    def forward(self, question: Any) -> dict[str, Tensor]:
        return self.losses(self.model, question)


def train(
    model: nn.Module,
    *,
    draw: Draw,
    losses: Losses,
    weights: Mapping[str, float],
    steps: int,
    recipe: Training,
    seed: int,
    work: Path,
    name: str,
    accelerator: Accelerator,
    balance: Balance | None = None,
    stop_after: int | None = None,
) -> None:
    """Train in place, or go on where `work` says the last run stopped.

    draw        (step, part, parts) -> the question of one part of the global batch of a step; pure
    losses      (model, question) -> the sum of each loss over its items, by name
    weights     the weight of each loss, by name
    work        the folder of history.jsonl and of the checkpoint
    name        what progress lines are headed with
    balance     how much each loss counts besides, by the values of all of them; each micro-batch by its own
    stop_after  leave after this step, with a checkpoint, as if killed there

    Raises Problem when a loss is no number, naming it and the step; the last checkpoint stays.
    """
    model.to(accelerator.device)
    asked, adam = accelerator.prepare(_Asked(model, losses), optimiser(model, recipe))
    start, before = _resume(model, adam, work, accelerator)
    end = max(start, min(steps, stop_after or steps))
    clock = _Clock(name, start, steps, before, accelerator.is_main_process)
    parts = accelerator.num_processes * recipe.accumulate
    mine = [accelerator.process_index * recipe.accumulate + k for k in range(recipe.accumulate)]
    model.train()
    with ThreadPoolExecutor(1) as ahead, (work / "history.jsonl").open("a", encoding="utf-8") as history:
        upcoming = ahead.submit(lambda s: [draw(s, part, parts) for part in mine], start) if start < steps else None
        for step in range(start, end):
            assert upcoming is not None
            questions = [question.to(accelerator.device) for question in upcoming.result()]
            if step + 1 < steps:
                upcoming = ahead.submit(lambda s: [draw(s, part, parts) for part in mine], step + 1)
            lr = learning_rate(step, steps, recipe)
            said = _step(asked, adam, questions, weights, balance, recipe, lr, (seed, step), mine, accelerator)
            if accelerator.is_main_process:
                line = {"step": step + 1, "seconds": clock.seconds(), "lr": lr, **said}
                print(json.dumps({k: round(v, 7) for k, v in line.items()}), file=history, flush=True)
            clock.tick(step + 1, said["loss"])
            if clock.due() and accelerator.is_main_process:
                clock.timed(partial(_save, model, adam, work, step + 1, clock.seconds()))
        if accelerator.is_main_process:
            _save(model, adam, work, end, clock.seconds())
    model.eval()


def _step(
    asked: nn.Module,
    adam: Any,
    questions: list[Any],
    weights: Mapping[str, float],
    balance: Balance | None,
    recipe: Training,
    lr: float,
    moment: tuple[int, int],
    mine: list[int],
    accelerator: Accelerator,
) -> dict[str, float]:
    """One optimiser step over the micro-batches of this process -> the mean of each loss, and `loss`, their sum."""
    names, device = list(weights), accelerator.device
    each = torch.tensor([[float(q.counts[n]) for n in names] for q in questions], device=device)
    each = accelerator.reduce(each, reduction="sum")  # (micro-batches, K)
    counts = each.sum(dim=0).clamp(min=1)
    weight = torch.tensor([weights[n] for n in names], device=device)
    scale = weight / counts
    total = torch.zeros(len(names), device=accelerator.device)
    for index, (part, question) in enumerate(zip(mine, questions, strict=True)):
        torch.manual_seed(seed_of(*moment, part))  # dropout: the same whether or not the run was ever killed
        last = index + 1 == len(questions)
        with nullcontext() if last else accelerator.no_sync(asked):
            sums = asked(question)
            said = torch.stack([sums[n].float() for n in names])
            share = scale
            if balance is not None:
                share = scale * balance(accelerator.reduce(said.detach(), reduction="sum") / each[index].clamp(min=1))
            accelerator.backward((said * share).sum() * accelerator.num_processes)  # ranks are averaged
        total += said.detach()
    mean = accelerator.reduce(total, reduction="sum") / counts
    said_by_name = dict(zip(names, mean.tolist(), strict=True))
    _stop_unless_numbers(said_by_name, moment[1] + 1)
    slope = float(accelerator.clip_grad_norm_(asked.parameters(), recipe.clip))
    if not math.isfinite(slope):
        raise Problem(
            f"training stopped at step {moment[1] + 1}: the gradient is no number, although its losses are; lower the"
            " learning rate, or look at the inputs"
        )
    for group in adam.param_groups:
        group["lr"] = lr
    adam.step()
    adam.zero_grad(set_to_none=True)
    if balance is not None:
        weight = weight * balance(mean)
    return {"loss": float((weight * mean).sum()), **said_by_name}


def _stop_unless_numbers(means: Mapping[str, float], step: int) -> None:
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        listing = ", ".join(f"{name} {value:.4g}" for name, value in means.items())
        raise Problem(
            f"training stopped at step {step}: the loss {' and '.join(broken)} is no number ({listing});"
            " lower the learning rate, or look at the inputs of that loss"
        )


def _save(model: nn.Module, adam: Any, work: Path, step: int, seconds: float) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    write_tensors(work / CHECKPOINT, tensors, {"step": str(step), "seconds": str(seconds)})


def goes_on(work: Path) -> bool:
    """True where an earlier run left a checkpoint: `train` will load it, however the model was begun."""
    return (work / CHECKPOINT).exists()


def steps_done(work: Path) -> int:
    """How far an earlier run has come that left a checkpoint; 0 where there is none."""
    path = work / CHECKPOINT
    return int(read_tensors(path)[1]["step"]) if path.exists() else 0


def _resume(model: nn.Module, adam: Any, work: Path, accelerator: Accelerator) -> tuple[int, float]:
    """Load the checkpoint, if there is one, and cut the history back to it -> steps and seconds done."""
    path = work / CHECKPOINT
    step, seconds = _load(model, adam, path) if path.exists() else (0, 0.0)
    history = work / "history.jsonl"
    if accelerator.is_main_process:
        lines = history.read_text(encoding="utf-8").splitlines(keepends=True)[:step] if history.exists() else []
        history.write_text("".join(lines), encoding="utf-8")
    accelerator.wait_for_everyone()
    return step, seconds


def _load(model: nn.Module, adam: Any, path: Path) -> tuple[int, float]:
    tensors, facts = read_tensors(path)
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, part = key.split(".", 2)
            state.setdefault(int(index), {})[part] = value
    adam.load_state_dict({"state": state, "param_groups": adam.state_dict()["param_groups"]})
    return int(facts["step"]), float(facts["seconds"])


class _Clock:
    """Says how far a training is, and when the next checkpoint is due."""

    def __init__(self, name: str, start: int, steps: int, before: float, speaks: bool):
        self.name, self.start, self.steps, self.before, self.speaks = name, start, steps, before, speaks
        self.began = self.spoke = self.saved = time.monotonic()
        self.saving = 0.0
        if start and speaks:
            print(f"{name}  goes on at step {start}/{steps}", flush=True)

    def seconds(self) -> float:
        """Of training in all, whatever lay between."""
        return self.before + time.monotonic() - self.began

    def tick(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if self.speaks and (now - self.spoke > REPORT_SECONDS or step == self.steps):
            self.spoke = now
            left = (now - self.began) / max(1, step - self.start) * (self.steps - step)
            print(f"{self.name}  step {step}/{self.steps}  loss {loss:.3f}  {left:.0f} s left", flush=True)

    def due(self) -> bool:
        """True when a checkpoint would cost less than a twentieth of the time since the last."""
        return time.monotonic() - self.saved > max(CHECKPOINT_SECONDS, 20 * self.saving)

    def timed(self, save: Callable[[], None]) -> None:
        before = time.monotonic()
        save()
        self.saved = time.monotonic()
        self.saving = self.saved - before
