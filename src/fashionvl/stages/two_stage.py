"""Stage `two_stage SYSTEM`: what re-ranking adds to recall -> build/two_stage/<system>, build/metrics.

SYSTEM recalls the first `search.first` answers of every query of the full gallery, `search.rerank` ranks them again:
alone, and together with what a cosine counts, which the validation split says. Queries, hits and ties are those of the
stage `evaluate`, so that its systems can be compared with, pair by pair.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionvl import checkpoint, config, metrics, training
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import weights_checksum
from fashionvl.models.single_stream import SingleStream
from fashionvl.stages import duals, machine, options, recallers, run
from fashionvl.stages.compare import paired
from fashionvl.stages.evaluate import PairScorer, pair_scorer
from fashionvl.stages.vectors import store_of
from fashionvl.tasks import matching, two_stage
from fashionvl.tasks.contrast import Dual
from fashionvl.words import Words

WAYS = ("recall", "rerank", "both")


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Weigh both stages on the validation split, then measure them on the split that is reported."""
    machine.keep_freed_memory()
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    dual, mark = recallers.recaller(system, build, settings, machine.accelerator())
    model, score = reranker(settings, catalogue, build)
    counts = settings.search.cosine
    if counts is None:
        counts = weighed(Split.of(dual, catalogue, "val", settings), score)
    asked = Split.of(dual, catalogue, settings.evaluate.ranking_on, settings)
    began = time.monotonic()
    tables = asked.ranked(score, counts)
    seconds = time.monotonic() - began
    found = {**recalls(tables, asked, settings.seed), **compared(tables, system, settings, build)}
    found |= {"first": settings.search.first, "cosine": round(counts, 4)}
    found |= {"rerank_ms_a_query": round(1000 * seconds / len(tables["both"]), 2)}
    checkpoint.write_json(build / "metrics" / f"{system}-two_stage.json", found)
    folder = build / "two_stage" / system
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat([table.assign(way=way) for way, table in tables.items()]).to_parquet(folder / "ranks.parquet")
    card = {"stage": "two_stage", "item": system, "recall": mark, "rerank": weights_checksum(model)}
    checkpoint.write_card(folder, {**card, "cosine": counts, "metrics": found})
    _say(found, system)


def reranker(settings: config.Params, catalogue: Catalogue, build: Path) -> tuple[SingleStream, PairScorer]:
    """The single stream of `search.rerank`, fine-tuned for retrieval where it is, and how it scores pairs."""
    name = settings.search.rerank
    if name is None:
        raise Problem("params.yaml: search.rerank is null, and there is no second stage to be measured")
    tuned = build / "finetuned" / f"{name}-retrieval"
    weights, card = checkpoint.load(tuned if (tuned / "card.json").is_file() else build / "runs" / name)
    model = SingleStream(**card["model"], dropout=0.0).eval()
    model.load_state_dict(weights)
    words = Words.load(build / "words")
    store = store_of(settings.systems[name], words, build)
    texts = words.encode(catalogue.texts(settings.text.fields))
    desk = matching.Sides(words, texts, store)
    accelerator = machine.accelerator()
    return model, pair_scorer(model.to(accelerator.device), desk, accelerator, f"two_stage {name}")


@dataclass(frozen=True)
class Split:
    """What is asked of one split, by direction, and what the answers are.

    answers  the answers of each direction: products of ITR, pictures of TIR
    """

    asked: dict[str, two_stage.Asked]
    answers: dict[str, NDArray[np.int64]]
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, dual: Dual, catalogue: Catalogue, split: str, settings: config.Params) -> "Split":
        """Embed a split and recall; the view that asks for a product is the one that `evaluate` draws."""
        products, pictures = catalogue.in_split(split), catalogue.pictures_in(split)
        if not len(products):
            raise Problem(f"the split {split!r} has no product; look at the splits in build/catalogue/report.html")
        seen, said = duals.seen(dual, catalogue, split), duals.said(dual, catalogue, split, settings)
        cosine = (seen.float() @ said.float().T).numpy().astype(np.float64)
        first, views = catalogue.first_pictures(), catalogue.view_counts()
        chance = np.random.default_rng(training.seed_of(settings.seed, 6))
        view = (first + (chance.random(len(first)) * views).astype(np.int64))[products]
        groups = catalogue.groups()
        of_picture = groups[catalogue.pictures["product"].to_numpy()[pictures]]
        tables = {"itr": cosine[np.searchsorted(pictures, view)], "tir": cosine.T}
        theirs = {"itr": groups[products], "tir": of_picture}
        asked = {}
        for direction, table in tables.items():
            own = theirs[direction][None] == groups[products][:, None]
            asked[direction] = two_stage.Asked(
                products, view, table, own, two_stage.first_of(table, own, settings.search.first)
            )
        return cls(asked, {"itr": products, "tir": pictures}, groups)

    def odds(self, score: PairScorer, direction: str) -> NDArray[np.float64]:
        """-> (Q, K) float   what the second stage says of the answers that are recalled"""
        asked = self.asked[direction]
        answers = self.answers[direction][asked.first]
        queries = (asked.view if direction == "itr" else asked.query)[:, None].repeat(answers.shape[1], axis=1)
        pairs = (queries, answers) if direction == "itr" else (answers, queries)
        return score(*(side.ravel() for side in pairs)).reshape(answers.shape)

    def ranked(self, score: PairScorer, counts: float) -> dict[str, pd.DataFrame]:
        """By way: the rank of every query, in the columns that the stage `evaluate` writes."""
        rows: dict[str, list[pd.DataFrame]] = {way: [] for way in WAYS}
        for direction, asked in self.asked.items():
            odds, recalled = self.odds(score, direction), asked.recalled(asked.cosine)
            scores = {"recall": recalled, "rerank": odds, "both": two_stage.both(asked, odds, counts)}
            keys = {"protocol": "full", "direction": direction, "draw": 0, "product": asked.query}
            keys |= {"picture": asked.view, "group": self.groups[asked.query], "inside": asked.inside}
            for way in WAYS:
                rows[way].append(pd.DataFrame({**keys, "rank": two_stage.ranks(asked, scores[way])}))
        return {way: pd.concat(tables, ignore_index=True) for way, tables in rows.items()}


def weighed(asked: Split, score: PairScorer) -> float:
    """What a cosine counts, by the validation split; 0 where that split cannot say."""
    odds = [asked.odds(score, direction) for direction in asked.asked]
    found = two_stage.balance(list(asked.asked.values()), odds)
    if found is None:
        print("two_stage  the validation split recalls no right answer beside a wrong one: cosines count 0", flush=True)
    return found or 0.0


def recalls(tables: dict[str, pd.DataFrame], asked: Split, seed: int) -> dict[str, Any]:
    """Every recall and the ceiling of the first stage, as shares, with the ends of their 95 % intervals."""
    found: dict[str, Any] = {}
    for way, table in tables.items():
        for direction, rows in table.groupby("direction", sort=False):
            hits = {f"R@{at}": rows["rank"] <= at for at in metrics.RANKS}
            hits |= {"ceiling": rows["inside"]} if way == "recall" else {}
            for name, hit in hits.items():
                chance = np.random.default_rng(training.seed_of(seed, 7))
                low, high = metrics.interval(hit.to_numpy(float), rows["group"].to_numpy(), generator=chance)
                key = f"{way}.{direction}.{name}"
                values = {key: float(hit.mean()), f"{key}.low": low, f"{key}.high": high}
                found |= {name: round(value, 6) for name, value in values.items()}
    return found


def compared(
    tables: dict[str, pd.DataFrame], system: str, settings: config.Params, build: Path
) -> dict[str, dict[str, list[float]]]:
    """Paired differences in points of a hundred: of the ways, and of both stages to other dual encoders there are."""
    pairs = [("rerank", "recall"), ("both", "recall"), ("both", "rerank")]
    found = {f"{one} - {other}": paired(tables[one], tables[other], settings.seed, "both ways") for one, other in pairs}
    for other in [*settings.run_contrast, *settings.run_clip]:
        file = build / "evaluation" / other / "ranks.parquet"
        if other != system and file.exists():
            ranks = pd.read_parquet(file)
            ranks = ranks[ranks["protocol"] == "full"]
            if len(ranks):
                found[f"both - {other}"] = paired(tables["both"], ranks, settings.seed, f"two_stage and {other}")
    return found


def _say(found: dict[str, Any], system: str) -> None:
    for name, value in found.items():
        if name.endswith((".R@1", ".ceiling")):
            print(f"two_stage {system}  {name:22s} {100 * value:.1f} %")
    for name, differences in found.items():
        for key, (mean, low, high) in (differences if isinstance(differences, dict) else {}).items():
            print(f"two_stage {system}  {name:22s} {key:16s} {mean:+6.1f}  [{low:+.1f}, {high:+.1f}]", flush=True)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument(
        "system", help="a row under `contrast` or `clip` in params.yaml, or one of `towers` with `start`"
    )
    run(lambda: main(**vars(parser.parse_args())))
