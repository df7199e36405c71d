"""One pre-training step against `transformers`' VisualBertForPreTraining, on the same batches of a real catalogue.

    python benchmarks/pretrain_step.py [--catalogue FOLDER] [--rounds 7] [--sizes small base]

Both have the same depth, width, vocabulary (8,000), dropout (0.1), bf16 autocast and threads, and do forward, backward
and optimiser step on masked words + matching; batches have the text lengths of the catalogue and hold random patch
vectors. Rounds are interleaved; the last line is one JSON object with the medians.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import VisualBertConfig, VisualBertForPreTraining

from fashionvl import words
from fashionvl.alignment import Aligned
from fashionvl.batches import Batch
from fashionvl.catalogue import Catalogue
from fashionvl.masking import IGNORE
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.patches.store import VERSION, Store, write_shard
from fashionvl.stages import machine
from fashionvl.tasks import pretrain, spoil
from fashionvl.tasks.pairs import Shop
from fashionvl.training import chance_of

VOCABULARY, DROPOUT = 8000, 0.1
SIZES = {
    "small": {"width": 256, "layers": 4, "heads": 4, "inner": 1024, "batch": 64, "dim": 256},
    "base": {"width": 768, "layers": 12, "heads": 12, "inner": 3072, "batch": 8, "dim": 2048},
}


def default_catalogue() -> Path:
    """The first catalogue of FASHIONVL_CATALOGUES, or data/."""
    catalogues = os.environ.get("FASHIONVL_CATALOGUES")
    found = sorted(Path(catalogues).glob("*/catalogue.csv")) if catalogues else []
    return found[0].parent if found else Path("data")


def read_catalogue(folder: Path, most: int) -> Catalogue:
    """The first products of a catalogue.csv, all for training; pictures are not opened."""
    rows = pd.read_csv(folder / "catalogue.csv", dtype=str, keep_default_na=False, nrows=most)
    products = rows.drop_duplicates("product_id").reset_index(drop=True).assign(split="train")
    pictures = pd.DataFrame({"product": np.arange(len(products)), "path": products["image_path"], "view": "main"})
    return Catalogue(products, pictures, folder)


def questions(of: Catalogue, folder: Path, size: dict, objectives: list[str], count: int) -> list[spoil.Question]:
    """The first batches of an epoch, made once and given to both models."""
    texts = of.texts(["title", "description", "attributes.colour", "attributes.pattern"])
    vocabulary = words.learn(texts, vocabulary=VOCABULARY, slots=64)
    path = folder / str(size["dim"])
    path.mkdir(exist_ok=True)
    vectors = (
        np.random.default_rng(0).random((len(texts), KALEIDO.vectors, size["dim"]), dtype=np.float32).astype(np.float16)
    )
    shard = {"file": write_shard(path, 0, vectors).name, "rows": len(vectors)}
    manifest = {"version": VERSION, "dim": size["dim"], "grids": KALEIDO.sides, "shards": [shard]}
    (path / "manifest.json").write_text(json.dumps(manifest))
    store = Store.open(path)
    desk = spoil.Desk(vocabulary, vocabulary.encode(texts), store, objectives, [], Aligned.none(len(store)))
    draw = spoil.drawing(desk, Shop.of(of, "train"), batch=size["batch"], same_kind=0.5, chance=chance_of(7))
    return [draw(step, 0, 1) for step in range(count)]


def ours(size: dict, objectives: list[str]) -> Callable[[spoil.Question], None]:
    """One step of this project."""
    sizes = {name: size[name] for name in ("width", "layers", "heads", "inner", "dim")}
    model = SingleStream(vocabulary=VOCABULARY, dropout=DROPOUT, objectives=objectives, **sizes).train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(question: spoil.Question) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            sums = pretrain.losses_of(model, question)
        sum(value / max(1.0, question.counts[name]) for name, value in sums.items()).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def encoder_alone(size: dict) -> Callable[[spoil.Question], None]:
    """Forward and backward of the encoder's layers only: no embeddings, heads, losses or optimiser."""
    sizes = {name: size[name] for name in ("width", "layers", "heads", "inner", "dim")}
    model = SingleStream(vocabulary=VOCABULARY, dropout=DROPOUT, objectives=["itm"], **sizes).train()

    def step(question: spoil.Question) -> None:
        batch = question.batch
        shape = (len(batch.words), batch.words.shape[1] + KALEIDO.patches, size["width"])
        x = torch.randn(shape, dtype=torch.bfloat16, requires_grad=True)
        shown = torch.cat([batch.real, batch.shown], dim=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = model.read(x[:, : -KALEIDO.patches], x[:, -KALEIDO.patches :], shown, question.wanted)
        states.backward(torch.ones_like(states))
        for parameter in model.parameters():
            parameter.grad = None

    return step


def theirs(size: dict) -> Callable[[spoil.Question], None]:
    """One step of VisualBERT as its documentation shows it."""
    config = VisualBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=size["width"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        intermediate_size=size["inner"],
        visual_embedding_dim=size["dim"],
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
    )
    model = VisualBertForPreTraining(config).train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(question: spoil.Question) -> None:
        batch = question.batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            said = model(
                input_ids=batch.words,
                attention_mask=batch.real.long(),
                visual_embeds=batch.patches.float(),
                visual_attention_mask=batch.shown.long(),
                labels=labels_of(question),
                sentence_image_labels=question.itm,
            )
        said.loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def labels_of(question: spoil.Question) -> Tensor:
    """The same hidden words as VisualBERT wants them: -> (B, T + P) int64, IGNORE elsewhere."""
    batch: Batch = question.batch
    labels = torch.full((len(batch.words), batch.words.shape[1] + KALEIDO.patches), IGNORE)
    assert question.mlm is not None
    rows, columns = (question.mlm != IGNORE).nonzero(as_tuple=True)
    labels[rows, question.wanted[rows, 1 + columns]] = question.mlm[rows, columns]
    return labels


def encoder_flop(size: dict, question: spoil.Question) -> float:
    """Multiplications and additions of forward and backward in the encoder, as executed (the last layer answers at
    the positions that are asked for only)."""
    rows, tokens = len(question.itm), question.batch.words.shape[1] + KALEIDO.patches
    width, inner, asked = size["width"], size["inner"], question.wanted.shape[1]

    def layer(queries: int) -> float:
        linear = 2 * (tokens * 2 * width**2 + queries * (2 * width**2 + 2 * width * inner))
        return linear + 4 * queries * tokens * width

    return 3 * rows * ((size["layers"] - 1) * layer(tokens) + layer(asked))


def matmul_rate() -> float:
    """The machine's bf16 FLOP/s: the best of a few large products."""
    best = 0.0
    for m, k, n in ((2048, 1024, 1024), (4096, 768, 3072), (2048, 2048, 2048)):
        a, b = torch.randn(m, k).bfloat16(), torch.randn(k, n).bfloat16()
        for _ in range(8):
            began = time.perf_counter()
            a @ b
            best = max(best, 2 * m * k * n / (time.perf_counter() - began))
    return best


def seconds(step: Callable[[spoil.Question], None], batches: list[spoil.Question]) -> float:
    began = time.perf_counter()
    for question in batches:
        step(question)
    return time.perf_counter() - began


def measure(name: str, of: Catalogue, folder: Path, rounds: int, count: int) -> dict[str, float]:
    """Interleaved rounds over the same batches -> medians."""
    size = SIZES[name]
    pair = questions(of, folder, size, ["mlm", "itm"], count)
    seven = questions(of, folder, size, list(spoil.OBJECTIVES), count)
    runs = {
        "ours": (ours(size, ["mlm", "itm"]), pair),
        "theirs": (theirs(size), pair),
        "seven": (ours(size, list(spoil.OBJECTIVES)), seven),
        "encoder": (encoder_alone(size), pair),
    }
    for step, batches in runs.values():
        seconds(step, batches[:2])
    times: dict[str, list[float]] = {key: [] for key in runs}
    rates = []
    for number in range(rounds):
        for key, (step, batches) in runs.items():
            times[key].append(seconds(step, batches))
        rates.append(matmul_rate())
        print(
            f"{name}  round {number + 1}/{rounds}  " + "  ".join(f"{k} {v[-1]:.2f} s" for k, v in times.items()),
            flush=True,
        )
    samples = count * size["batch"]
    flop = sum(encoder_flop(size, question) for question in pair)
    paired = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
    return {
        "ratio": round(statistics.median(paired), 3),
        "ratio_low": round(min(paired), 3),
        "ratio_high": round(max(paired), 3),
        "ours": round(samples / statistics.median(times["ours"]), 2),
        "theirs": round(samples / statistics.median(times["theirs"]), 2),
        "seven_losses": round(samples / statistics.median(times["seven"]), 2),
        "mfu": round(statistics.median(flop / t / r for t, r in zip(times["encoder"], rates, strict=True)), 3),
        "mfu_of_step": round(statistics.median(flop / t / r for t, r in zip(times["ours"], rates, strict=True)), 3),
        "tokens": statistics.mean(q.batch.words.shape[1] + KALEIDO.patches for q in pair),
        "matmul_gflops": round(statistics.median(rates) / 1e9),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, default=default_catalogue())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    arguments = parser.parse_args()
    if not (arguments.catalogue / "catalogue.csv").exists():
        sys.exit(f"{arguments.catalogue} holds no catalogue.csv; give --catalogue, or `make run` once for the sample")
    machine.keep_freed_memory()
    of = read_catalogue(arguments.catalogue, 600)
    found = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sizes:
            count = 6 if name == "small" else 4
            found[name] = measure(name, of, Path(folder), arguments.rounds, count)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
