"""Stage `evaluate SYSTEM`: build/runs/<system> -> build/evaluation/<system> and build/metrics/<system>.json."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate import Accelerator

from fashionvl import checkpoint, config, metrics, training
from fashionvl.alignment import Aligned
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store
from fashionvl.stages import duals, machine, options, run
from fashionvl.stages.vectors import store_of
from fashionvl.tasks import matching, pretrain, retrieval, spoil
from fashionvl.tasks.pairs import Shop, draw_epoch
from fashionvl.words import Words

PairScorer = Callable[[np.ndarray, np.ndarray], np.ndarray]

PASSES = 4  # over the split whose losses are measured, each with other masks, puzzles and mismatches


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Measure one system; what depends on the catalogue and the seed alone is the same for every system."""
    began = time.monotonic()
    machine.keep_freed_memory()
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    folder = build / "evaluation" / system
    folder.mkdir(parents=True, exist_ok=True)
    if system in settings.systems:
        losses, scorer = _single_stream(system, settings, catalogue, build)
        if not can_rank(settings.systems[system]):
            print(f"evaluate {system}  pre-trained without itm: it ranks only where it is fine-tuned", flush=True)
            for name in ("ranks.parquet", "lists.parquet"):
                (folder / name).unlink(missing_ok=True)
            publish(losses, "evaluate", system, settings, folder, build, began)
            return
    else:
        config.dual(settings, system)
        dual = duals.load(build / "runs" / system, build, settings, machine.accelerator())
        losses, scorer = {}, duals.scorer(dual, catalogue, settings.evaluate.ranking_on, settings)
    found = {**losses, **rank(catalogue, settings, scorer, folder)}
    publish(found, "evaluate", system, settings, folder, build, began)


def can_rank(row: config.System) -> bool:
    """True where a system has a matching head after pre-training (VL-BERT has none)."""
    return bool(row.objectives.get("itm"))


def publish(
    found: dict[str, float],
    stage: str,
    item: str,
    settings: config.Params,
    folder: Path,
    build: Path,
    began: float,
) -> None:
    """Put what was measured where DVC and people look for it: build/metrics, the card of its folder, and a few lines.

    began  when, by time.monotonic
    """
    found = {name: round(value, 6) for name, value in found.items()}
    checkpoint.write_json(build / "metrics" / f"{item}.json", found)
    card = {"stage": stage, "item": item, "split": settings.evaluate.ranking_on, "seed": settings.seed}
    checkpoint.write_card(folder, {**card, "text": settings.text.fields, "metrics": found})
    shown = {name: value for name, value in found.items() if name.endswith(("R@1", "accuracy"))}
    for name, value in shown.items():
        print(f"{stage} {item}  {name} {100 * value:.1f} %")
    print(f"{stage} {item}  {time.monotonic() - began:.0f} s", flush=True)


def _single_stream(
    system: str, settings: config.Params, catalogue: Catalogue, build: Path
) -> tuple[dict[str, float], PairScorer]:
    """The validation losses of a single-stream system on the shelf, and how it scores pairs."""
    row = config.row(settings.systems, system, "systems")
    weights, card = checkpoint.load(build / "runs" / system)
    model = SingleStream(**card["model"], dropout=0.0)
    model.load_state_dict(weights)
    folder = build / "patches" / row.patches
    layout = Store.open(folder).layout
    if layout != model.layout:
        raise Problem(
            f"{build / 'runs' / system} learned from {model.layout.called} and {folder} holds {layout.called}:"
            " run the stage `pretrain` again"
        )
    return single_stream(model, card["model"]["objectives"], row, settings, catalogue, build, f"evaluate {system}")


def single_stream(
    model: SingleStream,
    objectives: list[str],
    row: config.System,
    settings: config.Params,
    catalogue: Catalogue,
    build: Path,
    name: str,
) -> tuple[dict[str, float], PairScorer]:
    """The validation losses of a model that a row has trained, and how it scores pairs; `name` heads its lines."""
    accelerator = machine.accelerator()
    model.to(accelerator.device).eval()
    words = Words.load(build / "words")
    store = store_of(row, words, build)
    texts = words.encode(catalogue.texts(settings.text.fields))
    # Hidden at random whatever guided the training, so that the losses of systems can be compared.
    desk = spoil.Desk(words, texts, store, objectives, row.matched_only, Aligned.none(len(store)))
    chance = training.chance_of(settings.seed)
    shop = Shop.of(catalogue, settings.evaluate.losses_on)
    sums: dict[str, float] = {}
    with accelerator.autocast():
        for number in range(PASSES):
            pairs = draw_epoch(
                shop,
                same_kind=row.negatives["same_subcategory"],
                mismatched=spoil.mismatched(objectives),
                tags=row.negatives.get("tags", 0.0),
                generator=chance(3, number),
            )
            said = pretrain.examine(
                model, desk, pairs, batch=row.training.batch, chance=lambda *n, p=number: chance(4, p, *n)
            )
            sums = {name: sums.get(name, 0.0) + value / PASSES for name, value in said.items()}

    losses = {f"{settings.evaluate.losses_on}.{name}": value for name, value in sums.items()}
    return losses, pair_scorer(model, desk, accelerator, name)


def pair_scorer(model: SingleStream, desk: matching.Desk, accelerator: Accelerator, name: str) -> PairScorer:
    """How a model that lies on its device scores pairs; `name` heads its lines of progress."""

    def score(pictures: np.ndarray, products: np.ndarray) -> np.ndarray:
        with accelerator.autocast():
            say = lambda line: print(f"{name}  {line}", flush=True)  # noqa: E731
            return matching.score_pairs(model, desk, pictures, products, say=say)

    return score


def rank(catalogue: Catalogue, settings: config.Params, scorer: PairScorer, folder: Path) -> dict[str, float]:
    """Both protocols, both directions: writes the lists and the ranks -> recalls with intervals."""
    asked, split, lists = settings.evaluate, settings.evaluate.ranking_on, lists_of(catalogue, settings)
    pictures, products = catalogue.pictures_in(split), catalogue.in_split(split)
    full = len(pictures) * len(products) <= asked.full_gallery_pairs
    if full:
        pairs = np.repeat(pictures, len(products)), np.tile(products, len(pictures))
    else:
        pairs = retrieval.pairs_needed(lists)
    score = retrieval.looked_up(*pairs, scorer(*pairs), len(catalogue.products))
    lists.table().to_parquet(folder / "lists.parquet")
    ranked = {"rank": retrieval.sampled_ranks(lists, score), "first": retrieval.sampled_firsts(lists, score)}
    sampled = lists.table().drop(columns="candidates").assign(**ranked)
    tables = [sampled.assign(protocol="sampled")]
    if full:
        chance = np.random.default_rng(training.seed_of(settings.seed, 6))
        tables.append(retrieval.full_ranks(catalogue, split, score, generator=chance).assign(protocol="full", draw=0))
    ranks = pd.concat(tables, ignore_index=True)
    ranks["group"] = catalogue.groups()[ranks["product"]]
    ranks.to_parquet(folder / "ranks.parquet")
    listed = (lists.candidates != retrieval.NOBODY).sum(axis=1)
    return {**recalls(ranks, settings.seed), **_protocol(listed, sampled, len(products))}


def lists_of(catalogue: Catalogue, settings: config.Params) -> retrieval.Lists:
    """The candidate lists of the sampled protocol, the same for every system."""
    asked = settings.evaluate
    return retrieval.candidate_lists(
        catalogue,
        asked.ranking_on,
        queries=asked.queries,
        candidates=asked.candidates,
        draws=asked.draws,
        generator=np.random.default_rng(training.seed_of(settings.seed, 5)),
    )


def recalls(ranks: pd.DataFrame, seed: int) -> dict[str, float]:
    """Every recall with its 95 % interval, by protocol and direction, and SumR.

    A query that is asked in several draws counts as one row with the mean of its hits.
    """
    found: dict[str, float] = {}
    for protocol, of_protocol in ranks.groupby("protocol", sort=False):
        means = {}
        for direction, rows in of_protocol.groupby("direction", sort=False):
            for at in metrics.RANKS:
                name = f"{protocol}.{direction}.R@{at}"
                hits = (rows["rank"] <= at).groupby([rows["group"], rows["product"]]).mean()
                means[name] = float((rows["rank"] <= at).mean())
                generator = np.random.default_rng(training.seed_of(seed, 7, at))
                groups = hits.index.get_level_values("group").to_numpy()
                low, high = metrics.interval(hits.to_numpy(), groups, generator=generator)
                found |= {name: means[name], f"{name}.low": low, f"{name}.high": high}
        found[f"{protocol}.SumR"] = metrics.sum_of_recalls(means)
    return found


def _protocol(listed: np.ndarray, sampled: pd.DataFrame, gallery: int) -> dict[str, Any]:
    """How the sampled lists came out: their length, and how far they are of the query's own sub-category."""
    return {
        "sampled.queries": len(sampled) / sampled["direction"].nunique() / sampled["draw"].nunique(),
        "sampled.candidates": float(listed.mean()),
        "sampled.chance_R@1": metrics.chance_recall(int(listed.min()), 1),
        "sampled.same_subcategory_share": float(sampled["same_kind"].mean()),
        "sampled.filled_queries_share": float((sampled["same_kind"] < 1).mean()),
        "full.gallery": gallery,
    }


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("system", help="a row under `systems`, `contrast` or `clip` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
