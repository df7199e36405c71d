"""Pairs a second of scoring a full gallery with the matching head, against the plain way.

    python benchmarks/scoring.py [--catalogue FOLDER] [--products 160] [--rounds 5]

Every picture meets every text. The plain way is one padded forward of the whole model a batch of pairs: texts of 64
slots in catalogue order, patches embedded anew for every pair, all tokens through every layer. Ours is `score_pairs` as
the stages call it: pictures embedded once, texts in order of length with little padding, the last layer at [CLS].
Same weights (the size of the row `kaleido`, untrained), batches of one size, same precision and threads, texts of a
real catalogue. Rounds are interleaved; the last line is one JSON object:

ratio                    median over rounds of ours / plain, pairs a second, in bf16 autocast as the stages compute
ratio_float32            the same in float32
ours, plain              pairs a second, medians, in bf16
largest_difference       of the log-odds of all pairs, in float32
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pretrain_step
import torch
from numpy.typing import NDArray

from fashionvl import config, words
from fashionvl.batches import Batch
from fashionvl.catalogue import Catalogue
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.patches.store import VERSION, Store, write_shard
from fashionvl.stages import machine
from fashionvl.tasks import matching, ranking

PARAMS = Path(__file__).parents[1] / "params.yaml"
AT_ONCE = 256  # pairs of the plain way
DIM, SLOTS, TEXT = 256, 64, ["title", "description", "attributes.colour", "attributes.pattern"]


def desk_of(folder: Path, of: Catalogue) -> ranking.Desk:
    """The texts of a catalogue's products and random vectors of as many pictures."""
    texts = of.texts(TEXT)
    vocabulary = words.learn(texts, vocabulary=pretrain_step.VOCABULARY, slots=SLOTS)
    draw = np.random.default_rng(0)
    vectors = draw.random((len(texts), KALEIDO.vectors, DIM), dtype=np.float32).astype(np.float16)
    entry = {"file": write_shard(folder, 0, vectors).name, "rows": len(texts)}
    manifest = {"version": VERSION, "dim": DIM, "grids": KALEIDO.sides, "shards": [entry]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ranking.Desk(vocabulary, vocabulary.encode(texts), Store.open(folder), 0.0, 0.0)


@torch.inference_mode()
def plain(
    model: SingleStream, desk: ranking.Desk, pictures: NDArray[np.int64], products: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Every pair read whole -> (n,) log-odds."""
    scores = []
    for at in range(0, len(pictures), AT_ONCE):
        rows = slice(at, at + AT_ONCE)
        ids, patches = desk.texts.ids[products[rows]], desk.store.clean(pictures[rows])
        shown = torch.ones(patches.shape[:2], dtype=torch.bool)
        places, levels = desk.store.layout.places(), desk.store.layout.levels_of()
        states = model(Batch(ids, ids != desk.words.pad, patches, shown, places, levels))
        scores.append(model.log_odds(states).double().numpy())
    return np.concatenate(scores)


def main() -> None:
    """Time both, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, default=pretrain_step.default_catalogue())
    parser.add_argument("--products", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if not (asked.catalogue / "catalogue.csv").exists():
        sys.exit(f"{asked.catalogue} holds no catalogue.csv; give --catalogue, or `make run` once for the sample")
    machine.keep_freed_memory()
    row = config.load(PARAMS).systems["kaleido"].model
    with tempfile.TemporaryDirectory() as folder:
        desk = desk_of(Path(folder), pretrain_step.read_catalogue(asked.catalogue, asked.products))
        torch.manual_seed(0)
        sizes = {"width": row.width, "layers": row.layers, "heads": row.heads, "inner": row.inner}
        model = SingleStream(
            vocabulary=desk.words.vocabulary, dim=DIM, dropout=0.0, objectives=["itm"], meeting=row.meeting, **sizes
        ).eval()
        count = len(desk.store)
        pairs = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
        said = {way: score(model, desk, *pairs) for way, score in WAYS.items()}
        rates: dict[tuple[str, str], list[float]] = {}
        for number in range(asked.rounds):
            for kind in ("bf16", "float32"):
                for way, score in WAYS.items():
                    rates.setdefault((kind, way), []).append(rate(kind, score, model, desk, *pairs))
            print(f"round {number + 1}/{asked.rounds}  {[round(values[-1]) for values in rates.values()]}", flush=True)
    print(json.dumps(report(rates, float(np.abs(said["ours"] - said["plain"]).max()))))


WAYS: dict[str, Callable[..., NDArray[np.float64]]] = {"ours": matching.score_pairs, "plain": plain}


def rate(kind: str, score: Callable, model: SingleStream, desk: ranking.Desk, *pairs: NDArray[np.int64]) -> float:
    """Pairs a second of one way in one precision."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16) if kind == "bf16" else nullcontext():
        score(model, desk, *pairs)
    return len(pairs[0]) / (time.perf_counter() - began)


def report(rates: dict[tuple[str, str], list[float]], difference: float) -> dict[str, float]:
    """The figures of the last line."""
    ratio = {
        kind: statistics.median(
            one / other for one, other in zip(rates[kind, "ours"], rates[kind, "plain"], strict=True)
        )
        for kind in ("bf16", "float32")
    }
    return {
        "ratio": round(ratio["bf16"], 3),
        "ratio_float32": round(ratio["float32"], 3),
        "ours": round(statistics.median(rates["bf16", "ours"]), 1),
        "plain": round(statistics.median(rates["bf16", "plain"]), 1),
        "largest_difference": round(difference, 7),
    }


if __name__ == "__main__":
    main()
