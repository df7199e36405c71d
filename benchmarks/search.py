"""Search as it is served, at many sizes of catalogue, beside the plain way.

    python benchmarks/search.py [--sizes 1000 10000 100000 1000000] [--queries 100] [--above ivf|hnsw]

Text queries through the Finder: a text tower as large as `baseline`'s, the index of params.yaml over generated
vectors, and a re-ranker as large as `kaleido`'s (untrained, with its likeness) on the first K = 50, caches warm. The
vectors lie in clusters: categories, families inside them, products; a query lies near one product, and apart from all
pictures as texts do. The plain way compares everything with numpy, and reads every pair with the cross-encoder: that is
measured for 1,000 products and extrapolated for more. The last line is one JSON object; X is 1k, 10k, 100k, 1m:

p50_ms_X, p99_ms_X            of a whole search
queries_a_second_X            one after the other
embed_, recall_, rerank_ms_X  p50 of each stage; recall_p99_ms_X
index_kind_X, index_recall_X  flat, ivf or hnsw; share of the exact first 50 that the index finds
build_seconds_X, memory_mib_X making the index; peak of this process so far
plain_recall_ms_X             p50 of numpy
plain_rerank_ms_X             of the cross-encoder over everything; extrapolated from 1k beyond that
index_recall                  the least of all sizes
load                          of the machine, before and after: numbers mean little where others compute too
"""

import argparse
import json
import os
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fashionvl import config, words
from fashionvl.catalogue import Catalogue
from fashionvl.models.single_stream import SingleStream
from fashionvl.models.two_towers import TwoTowers
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.patches.store import Store
from fashionvl.pretrained.finder import Finder
from fashionvl.pretrained.reranking import Reranker
from fashionvl.search import index as search
from fashionvl.search.facets import Facets
from fashionvl.stages import machine
from fashionvl.tasks import contrast

PARAMS = Path(__file__).parents[1] / "params.yaml"
DIM, SLOTS, FIRST, WARM = 256, 64, 50, 10
STORED = 2000  # pictures whose patches are made; larger catalogues use them again, since a million are 28 GB
PLAIN = 1000  # products that the cross-encoder reads all of
COLOURS = ("black", "white", "dark blue", "red", "light beige", "green melange", "grey", "yellow")
THINGS = ("jersey dress", "leather ankle boots", "slim jeans", "padded jacket", "cotton shirt", "knitted sweater")
DETAILS = ("with a round neckline", "with long sleeves", "with a low heel", "with side pockets", "in a soft weave")


def clustered(count: int, width: int) -> NDArray[np.float32]:
    """Unit vectors (count, width): near their family, that near its category."""
    draw = np.random.default_rng(0)
    categories = _unit(draw.standard_normal((100, width), dtype=np.float32))
    families = max(20, count // 20)
    family = categories[draw.integers(100, size=families)] + 0.9 * _unit(
        draw.standard_normal((families, width), dtype=np.float32)
    )
    vectors = np.empty((count, width), np.float32)
    for at in range(0, count, 100_000):
        many = min(100_000, count - at)
        own = _unit(draw.standard_normal((many, width), dtype=np.float32))
        vectors[at : at + many] = _unit(family[draw.integers(families, size=many)] + 0.7 * own)
    return vectors


def queries_near(vectors: NDArray[np.float32], many: int) -> NDArray[np.float32]:
    """Unit vectors (many, width), each near one of `vectors`, all on one side of them."""
    draw = np.random.default_rng(1)
    chosen = vectors[draw.integers(len(vectors), size=many)]
    apart = _unit(draw.standard_normal((1, vectors.shape[1]), dtype=np.float32))
    return _unit(chosen + 0.8 * _unit(draw.standard_normal(chosen.shape, dtype=np.float32)) + apart)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def texts_of(many: int) -> list[str]:
    """Different short texts, as people type them."""
    sides = [len(COLOURS), len(THINGS), len(DETAILS)]
    places = np.unravel_index(np.arange(many) % int(np.prod(sides)), sides)
    return [f"{COLOURS[c]} {THINGS[t]} {DETAILS[d]} {n}" for n, (c, t, d) in enumerate(zip(*places, strict=True))]


def finder_of(
    vectors: NDArray[np.float32], texts: list[str], near: NDArray[np.float32], settings: config.Params
) -> Finder:
    """The Finder over made-up products; what the text tower says takes its time, and is answered by `near`."""
    count = len(vectors)
    number = np.arange(count)
    products = pd.DataFrame({"product_id": number.astype(str), "title": "", "description": "", "category": "clothes"})
    products = products.assign(sub_category="", attributes="{}")
    of = Catalogue(products, pd.DataFrame({"product": number, "path": "none.jpg"}), Path())
    engine = search.engine(vectors, **asdict(settings.search.index), seed=7)
    vocabulary = words.learn(texts, vocabulary=8000, slots=SLOTS)
    tower = TwoTowers(
        channels=settings.contrast["baseline"].channels, levels=1, width=DIM, rarity=torch.ones(vocabulary.vocabulary)
    )
    answers = {text: torch.from_numpy(vector) for text, vector in zip(texts, near, strict=True)}

    def say(asked: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=machine.has_bf16()):
            contrast.embed_texts(tower, vocabulary.encode(asked).ids)
        return torch.stack([answers[text] for text in asked])

    return Finder(
        catalogue=of,
        index=search.Index(vectors, number, engine),
        dual=SimpleNamespace(say=say),  # type: ignore[arg-type]
        stated=Facets.of(products.head(0)),
        numbers={},
        fields=["title"],
        settings=settings.search,
        max_megapixels=50,
        model=None,
        second=reranker_of(of, vocabulary, settings),
        counts=10.0,
        versions={},
    )


def reranker_of(of: Catalogue, vocabulary: words.Words, settings: config.Params) -> Reranker:
    """A cross-encoder of the size of `kaleido` with random weights, and patches in memory."""
    row = settings.systems["kaleido"].model
    sizes = {"width": row.width, "layers": row.layers, "heads": row.heads, "inner": row.inner}
    torch.manual_seed(0)
    stream = SingleStream(
        vocabulary=vocabulary.vocabulary,
        dim=DIM,
        dropout=0.0,
        objectives=["itm"],
        meeting=row.meeting,
        likeness=True,
        **sizes,
    ).eval()
    model: Any = SimpleNamespace(
        facts={"parts": {"retrieval": {}}},
        words=vocabulary,
        device=torch.device("cpu"),
        stream=lambda part: stream,
    )
    stored = min(STORED, len(of.products))
    vectors = np.random.default_rng(2).random((stored, KALEIDO.patches, DIM), dtype=np.float32).astype(np.float16)
    store = Store(Path(), {"grids": KALEIDO.sides, "dim": DIM}, [vectors])
    rows = np.arange(len(of.products)) % stored
    return Reranker(model, of, ["title"], store, rows, lambda picture: vectors[picture])


def measured(finder: Finder, texts: list[str]) -> dict[str, float]:
    """Search for every text, one after the other -> milliseconds."""
    for text in texts[:WARM]:
        finder.find(text=text)
    whole, stages = [], []
    for text in texts:
        began = time.perf_counter()
        answer = finder.find(text=text)
        whole.append(1000 * (time.perf_counter() - began))
        stages.append({name: 1000 * seconds for name, seconds in answer.seconds.items()})
        assert sum(found.reranked is not None for found in answer.found) == len(answer.found)
    found = {"p50_ms": np.quantile(whole, 0.5), "p99_ms": np.quantile(whole, 0.99)}
    found |= {f"{name}_ms": np.median([each[name] for each in stages]) for name in ("embed", "recall", "rerank")}
    found |= {"recall_p99_ms": np.quantile([each["recall"] for each in stages], 0.99)}
    return found | {"queries_a_second": 1000 * len(whole) / sum(whole)}


def plain_recall(vectors: NDArray[np.float32], near: NDArray[np.float32], many: int = 20) -> float:
    """Everything by numpy -> milliseconds, the median."""
    took = []
    for query in near[:many]:
        began = time.perf_counter()
        cosines = vectors @ query
        first = np.argpartition(-cosines, FIRST)[:FIRST]
        first[np.argsort(-cosines[first])]
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))


def plain_rerank(finder: Finder, texts: list[str], many: int = 3) -> float:
    """The cross-encoder over PLAIN products -> milliseconds, the median."""
    assert finder.second is not None
    rows, took = np.arange(PLAIN) % len(finder.index.product), []
    for text in texts[:many]:
        began = time.perf_counter()
        finder.second.odds(finder.second.see(text, None, 1.0), rows, rows)
        took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))


def name_of(size: int) -> str:
    return f"{size // 1_000_000}m" if size % 1_000_000 == 0 else f"{size // 1000}k" if size % 1000 == 0 else str(size)


def main() -> None:
    """Measure every size, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--above", choices=search.KINDS, default=None, help="another index than params.yaml says")
    asked = parser.parse_args()
    if min(asked.sizes) <= FIRST or asked.queries < 1:
        sys.exit(f"sizes must be above {FIRST}, and there must be a query")
    settings = config.load(PARAMS)
    if asked.above:
        settings = config.build(config.Params, _changed(asdict(settings), asked.above), "")
    machine.keep_freed_memory()
    load, texts, found = [round(os.getloadavg()[0], 2)], texts_of(asked.queries), dict[str, Any]()
    for size in asked.sizes:
        for name, value in _of_size(size, texts, settings).items():
            found[f"{name}_{name_of(size)}"] = round(value, 3) if isinstance(value, float) else value
        print(f"{size} products  { ({k: v for k, v in found.items() if k.endswith('_' + name_of(size))}) }", flush=True)
    found["index_recall"] = min(value for name, value in found.items() if name.startswith("index_recall_"))
    print(json.dumps(found | {"load": [*load, round(os.getloadavg()[0], 2)]}))


def _of_size(size: int, texts: list[str], settings: config.Params) -> dict[str, Any]:
    vectors = clustered(size, DIM)
    near = queries_near(vectors, len(texts))
    began = time.perf_counter()
    finder = finder_of(vectors, texts, near, settings)
    found: dict[str, Any] = {"build_seconds": time.perf_counter() - began}
    found |= {"index_kind": search.kind_of(finder.index.engine)}
    found |= {"index_recall": search.recall(finder.index, near, FIRST), **measured(finder, texts)}
    found |= {"plain_recall_ms": plain_recall(vectors, near)}
    found |= {"plain_rerank_ms": plain_rerank(finder, texts) * size / PLAIN}
    found["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {name: float(value) if isinstance(value, np.floating) else value for name, value in found.items()}


def _changed(table: dict[str, Any], above: str) -> dict[str, Any]:
    table["search"]["index"]["above"] = above
    return table


if __name__ == "__main__":
    main()
