"""A handful of golden numbers: a change that should not alter results leaves them alone (float32, one thread)."""

import json

import pytest
import shop
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from fashionvl import training
from fashionvl.config import Training
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import pretrain, spoil
from fashionvl.tasks.pairs import Shop

FIRST = {
    "mlm": 4.794,
    "itm": 0.702,
    "rotation": 1.401,
    "jigsaw": 3.119,
    "camouflage": 2.304,
    "grey": 0.325,
    "blank": 0.295,
}
LAST = {
    "mlm": 2.409,
    "itm": 0.698,
    "rotation": 1.386,
    "jigsaw": 3.217,
    "camouflage": 2.201,
    "grey": 0.173,
    "blank": 0.308,
}


def test_a_small_training_gives_the_numbers_it_gave(tmp_path):
    of = shop.catalogue(products=96)
    desk = shop.desk(tmp_path / "patches", of)
    torch.manual_seed(7)
    sizes = {"width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.1}
    model = SingleStream(
        vocabulary=desk.words.vocabulary, dim=desk.store.dim, objectives=list(shop.OBJECTIVES), **sizes
    )
    recipe = Training(
        epochs=20, batch=16, lr=0.003, warmup=0.1, weight_decay=0.0001, clip=1.0, accumulate=1, checkpointing=False
    )
    AcceleratorState._reset_state(reset_partial_state=False)
    training.train(
        model,
        draw=spoil.drawing(desk, Shop.of(of, "train"), batch=16, same_kind=0.5, chance=training.chance_of(7)),
        losses=pretrain.losses_of,
        weights=dict.fromkeys(shop.OBJECTIVES, 1.0),
        steps=80,
        recipe=recipe,
        seed=7,
        work=tmp_path,
        name="numbers",
        accelerator=Accelerator(cpu=True, mixed_precision="no"),
    )
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    first = {name: round(history[0][name], 3) for name in shop.OBJECTIVES}
    last = {name: round(sum(line[name] for line in history[-10:]) / 10, 3) for name in shop.OBJECTIVES}
    assert first == pytest.approx(FIRST, abs=0.002)
    assert last == pytest.approx(LAST, abs=0.05)
