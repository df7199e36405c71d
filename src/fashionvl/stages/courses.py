"""What each downstream task trains: a pre-trained model with the heads of the task, its questions and its losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from fashionvl import checkpoint, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models import recognisers
from fashionvl.models.single_stream import SingleStream, layout_of
from fashionvl.patches.store import Store
from fashionvl.stages.vectors import store_of
from fashionvl.tasks import captioning as saying
from fashionvl.tasks import labels, matching, ranking, recognition, retrieval
from fashionvl.tasks.pairs import Shop
from fashionvl.words import Texts, Words

BALANCED_BY, BALANCED_AMONG = 250, 50  # queries and wrong candidates by which a likeness is weighed


@dataclass(frozen=True)
class Bench:
    """What every task is trained with.

    row      the system's, settings all of params.yaml
    start    the folder of the weights that are started from, with its card
    texts    of every product, store the vectors of every picture
    shop     the training split
    """

    row: config.System
    settings: config.Params
    catalogue: Catalogue
    build: Path
    start: Path
    card: dict[str, Any]
    weights: dict[str, Tensor]
    words: Words
    texts: Texts
    store: Store
    shop: Shop

    @classmethod
    def of(cls, row: config.System, settings: config.Params, catalogue: Catalogue, build: Path, start: Path) -> "Bench":
        """Open everything; a Problem where the patches are not those that the system was pre-trained on."""
        weights, card = checkpoint.load(start)
        words = Words.load(build / "words")
        store = store_of(row, words, build)
        if layout_of(card["model"]) != store.layout or card["model"]["dim"] != store.dim:
            raise Problem(f"{start} learned from other patches than {store.folder} holds: run `dvc repro` again")
        texts = words.encode(catalogue.texts(settings.text.fields))
        shop = Shop.of(catalogue, "train")
        return cls(row, settings, catalogue, build, start, card, weights, words, texts, store, shop)

    @property
    def sizes(self) -> dict[str, Any]:
        """What the model of these weights is built from."""
        return self.card["model"]

    def inputs(self) -> list[Path]:
        """The files and folders that a training reads."""
        tables = [self.build / "catalogue" / name for name in ("products.parquet", "pictures.parquet")]
        return [*tables, self.build / "words" / "tokenizer.json", self.store.folder, self.start / "model.safetensors"]

    def model(self, objectives: list[str], **heads: Any) -> tuple[SingleStream, dict[str, Any]]:
        """The pre-trained model with the heads that a task needs, those it had not fresh -> it and its sizes."""
        sizes = {**self.sizes, "objectives": objectives, **heads}
        torch.manual_seed(training.seed_of(self.settings.seed, 0))
        model = SingleStream(**sizes, dropout=self.row.model.dropout, checkpointing=self.row.training.checkpointing)
        lacking, _ = model.load_state_dict(self.weights, strict=False)
        assert not [name for name in lacking if not name.startswith(("heads.", "recognisers.", "likeness."))], lacking
        return model, sizes


@dataclass(frozen=True)
class Course:
    """One training.

    sizes    what the model is built from
    weights  of each loss, by name
    taught   how many products an epoch shows
    facts    for the card
    begin    what is done once before the first step
    finish   what is done once after the last -> more facts for the card
    """

    model: SingleStream
    sizes: dict[str, Any]
    draw: training.Draw
    losses: training.Losses
    weights: Mapping[str, float]
    taught: int
    facts: dict[str, Any] = field(default_factory=dict)
    begin: Callable[[], None] = lambda: None
    finish: Callable[[Accelerator], dict[str, Any]] = lambda accelerator: {}


def ranked(bench: Bench, recipe: config.Ranking) -> Course:
    """ITR and TIR over groups of candidates."""
    where = "params.yaml: finetune.retrieval"
    if recipe.loss not in ranking.LOSSES:
        raise config.ConfigError(f"{where}.loss must be one of {list(ranking.LOSSES)}, not {recipe.loss!r}")
    batch, parts = recipe.training.batch, recipe.training.accumulate
    if recipe.block < 2 or batch % recipe.block or batch // recipe.block < parts:
        raise config.ConfigError(
            f"{where}.block must be 2 or more and divide the batch of {batch} into {parts} (`accumulate`) or more,"
            f" not {recipe.block}"
        )
    model, sizes = bench.model(["itm"], likeness=recipe.likeness)
    desk = ranking.Desk(bench.words, bench.texts, bench.store, recipe.word_dropout, recipe.vector_dropout)
    chance = training.chance_of(bench.settings.seed)
    draw = ranking.drawing(
        desk,
        bench.shop,
        blocks=recipe.training.batch // recipe.block,
        block=recipe.block,
        same_kind=recipe.same_subcategory,
        chance=chance,
    )
    losses = partial(ranking.losses_of, loss=recipe.loss, margin=recipe.margin)
    course = Course(model, sizes, draw, losses, {"rank": 1.0}, len(bench.shop.products))
    likeness = model.likeness
    if likeness is None:
        return course
    likeness.requires_grad_(False)

    def begin() -> None:
        torch.manual_seed(training.seed_of(bench.settings.seed, 10))
        likeness.requires_grad_(True)
        found = ranking.acquaint(model, desk, bench.shop, chance=chance)
        likeness.requires_grad_(False)
        print(f"words and patches are acquainted: InfoNCE {found[0]:.2f} -> {found[-1]:.2f}", flush=True)

    return replace(course, begin=begin, finish=partial(_balanced, bench, model, desk))


def _balanced(bench: Bench, model: SingleStream, desk: ranking.Desk, accelerator: Accelerator) -> dict[str, Any]:
    """Let the validation split say how much the likeness counts beside the head."""
    if len(np.unique(bench.catalogue.groups()[bench.catalogue.in_split("val")])) < 2:
        print("the validation split holds fewer than two groups: the likeness counts as it began", flush=True)
        return {}
    lists = retrieval.candidate_lists(
        bench.catalogue,
        "val",
        queries=BALANCED_BY,
        candidates=BALANCED_AMONG,
        draws=1,
        generator=np.random.default_rng(training.seed_of(bench.settings.seed, 11)),
    )
    assert model.likeness is not None
    model.likeness.gain.fill_(1.0)
    pairs = retrieval.pairs_needed(lists)
    alone = matching.glances(model, desk, *pairs)
    with accelerator.autocast():
        odds = matching.head_odds(model, desk, *pairs)
    products = len(bench.catalogue.products)
    of_head, of_likeness = (
        retrieval.listed(lists, retrieval.looked_up(*pairs, scores, products)) for scores in (odds, alone)
    )
    gain = ranking.balance(of_head, of_likeness)
    model.likeness.gain.fill_(gain)
    print(f"the likeness counts {gain:.2f} beside the log-odds, by {len(of_head)} lists of val", flush=True)
    return {"gain": round(gain, 4)}


def category(bench: Bench, recipe: config.Recognition, task: str = "category") -> Course:
    """CR, or with `sub_category` SUB."""
    if recipe.readout not in recognisers.READOUTS:
        raise config.ConfigError(
            f"params.yaml: finetune.{task}.readout must be one of {list(recognisers.READOUTS)}, not {recipe.readout!r}"
        )
    names = labels.classes(bench.catalogue, task)
    model, sizes = bench.model([], classes_of={task: len(names)}, readout=recipe.readout)
    answers = {task: torch.from_numpy(labels.answers(bench.catalogue, task, names))}
    desk = recognition.Desk(bench.words, bench.texts, bench.store, answers)
    draw = recognition.drawing(
        desk,
        bench.shop,
        task=task,
        batch=recipe.training.batch,
        chance=training.chance_of(bench.settings.seed),
        columns=recipe.columns,
        word_dropout=recipe.word_dropout,
        patch_dropout=recipe.patch_dropout,
        kept=1 if bench.row.model.streams == 2 else 0,  # [CLS] of two streams is made of the first
    )
    taught = len(recognition.taught(desk, bench.shop, task))
    return Course(model, sizes, draw, recognition.losses_of, {task: 1.0}, taught, {"classes": names})


def why_not(catalogue: Catalogue, row: config.System, task: str, settings: config.Params) -> str | None:
    """Why a system cannot be taught a task by a catalogue, None where it can."""
    if lacking := labels.why_not(catalogue, task):
        return lacking
    if task == "captioning" and row.model.streams == 2 and settings.finetune.captioning.modes.get("causal"):
        return "two streams do not say captions word by word; set finetune.captioning.modes.causal to 0"
    return None


def captioning(bench: Bench, recipe: config.Captioning) -> Course:
    """FC, in one mode or both."""
    where = "params.yaml: finetune.captioning.modes"
    modes = {mode: weight for mode, weight in recipe.modes.items() if weight}
    if not modes or not set(modes) <= set(saying.MODES):
        raise config.ConfigError(f"{where} must give one or more of {list(saying.MODES)} a weight, not {recipe.modes}")
    model, sizes = bench.model(["mlm"])
    draw = saying.drawing(
        matching.Sides(bench.words, bench.texts, bench.store),
        bench.shop,
        batch=recipe.training.batch,
        modes=modes,
        word_dropout=recipe.word_dropout,
        chance=training.chance_of(bench.settings.seed),
    )
    return Course(model, sizes, draw, saying.losses_of, modes, len(bench.shop.products))


COURSES: dict[str, Callable[[Bench, Any], Course]] = {
    "retrieval": ranked,
    "category": category,
    "sub_category": partial(category, task="sub_category"),
    "captioning": captioning,
}
