"""Search that is served: a dual encoder recalls products, a cross-encoder ranks the first again, and says why."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fashionvl import config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.product import text_of
from fashionvl.pretrained.answers import Answer, Found, Query, Why, opened, told
from fashionvl.pretrained.explaining import can_explain, explained
from fashionvl.pretrained.face import FashionVL
from fashionvl.pretrained.given import OnePicture
from fashionvl.pretrained.reranking import Reranker, reranker, store_beside, trained, weight
from fashionvl.search import index as search
from fashionvl.search.facets import Facets
from fashionvl.search.order import composed, ordered, unit
from fashionvl.stages import index, machine, recallers
from fashionvl.tasks.contrast import Dual

__all__ = ["Answer", "Finder", "Found", "Query", "Why"]

SCORED = 16  # answers that are ranked between two looks at the clock

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Finder:
    """A catalogue that can be searched. `model` is None where no cross-encoder is trained."""

    catalogue: Catalogue
    index: search.Index
    dual: Dual
    stated: Facets
    numbers: Mapping[str, int]  # of products, by id
    fields: list[str]  # what a product says
    settings: config.Search
    max_megapixels: float
    model: FashionVL | None
    second: Reranker | None
    counts: float
    versions: dict[str, str]
    clock: Callable[[], float] = time.perf_counter

    @classmethod
    def load(cls, build: Path, data: Path, *, settings: config.Params, model: FashionVL | None = None) -> "Finder":
        """Open the index of `search.recall`, and the cross-encoder of `search.rerank` where it is trained.

        model  a cross-encoder to be used instead, of the registry say
        Raises Problem where the index is missing, or of another model or catalogue.
        """
        asked, most = settings.search, settings.catalogue.max_megapixels
        catalogue = Catalogue.load(build / "catalogue", data)
        dual, mark = recallers.recaller(asked.recall, build, settings, machine.accelerator())
        made = index.opened(build / "index" / asked.recall, catalogue, model=mark, data=index.data_of(build))
        versions = {
            "recall": asked.recall,
            "index": mark["weights"][:12],
            "data": index.data_of(build)["products"][:12],
        }
        model, second, counts = model or trained(build, asked, max_megapixels=most), None, 0.0
        if model is not None:
            store = store_beside(build, model, settings)
            second = reranker(model, catalogue, settings.text.fields, store, max_megapixels=most)
            counts, said = weight(build, asked, mark, second.mark())
            versions |= {"rerank": model.facts["system"], "reranker": second.mark()[:12], "order": said}
        numbers = {product: at for at, product in enumerate(catalogue.products["product_id"].tolist())}
        stated, fields = Facets.of(catalogue.products), settings.text.fields
        return cls(catalogue, made, dual, stated, numbers, fields, asked, most, model, second, counts, versions)

    @property
    def root(self) -> Path:
        """The folder of the pictures."""
        return self.catalogue.root

    def find(
        self,
        *,
        text: str | None = None,
        picture: OnePicture | None = None,
        product: str | None = None,
        count: int = 10,
        where: Mapping[str, Sequence[str]] | None = None,
        rerank: int | None = None,
        budget: float | None = None,
        explain: bool = False,
    ) -> Answer:
        """Text -> products, picture -> products, both -> a composed query, product -> similar ones.

        rerank   how many of the first the cross-encoder scores; None for as many as params.yaml says
        budget   seconds after which it scores no more: those that it has not seen follow as they were recalled
        explain  True for the words and places that matched
        """
        query = Query(text, picture, product, where or {})
        return self.find_many([query], count=count, rerank=rerank, budget=budget, explain=explain)[0]

    def find_many(
        self,
        queries: Sequence[Query],
        *,
        count: int = 10,
        rerank: int | None = None,
        budget: float | None = None,
        explain: bool = False,
    ) -> list[Answer]:
        """`find` for many queries, embedded together; each has a budget of its own."""
        return list(self.find_each(queries, count=count, rerank=rerank, budget=budget, explain=explain))

    def find_each(
        self, queries: Sequence[Query], *, count: int, rerank: int | None, budget: float | None, explain: bool
    ) -> Iterator[Answer]:
        """`find_many`, each answer as soon as it is there."""
        first = self._first(rerank, count, budget)
        if not queries:
            return
        began = self.clock()
        shown = [self._opened(query) for query in queries]
        masks = [self.stated.allowed(query.where) for query in queries]
        vectors = self._embedded(queries, shown)
        each = (self.clock() - began) / max(1, len(queries))
        for query, picture, allowed, vector in zip(queries, shown, masks, vectors, strict=True):
            seconds = {"embed": each}
            until = None if budget is None else self.clock() - each + budget
            with _timed(seconds, "recall", self.clock):
                hits = self._recalled(query, vector, max(count, first), allowed)
            with _timed(seconds, "rerank", self.clock):
                odds = self._odds(query, picture, hits, first, until)
            order = ordered(odds, hits.cosine[0].astype(np.float64), self.counts)[:count]
            with _timed(seconds, "explain", self.clock):
                why = self._why(query, picture, hits.picture[0][order]) if explain else [()] * len(order)
            found = [
                self._found(hits, at, odds[at] if at < len(odds) else None, why[rank])
                for rank, at in enumerate(order.tolist())
            ]
            yield Answer(tuple(found), seconds, self.versions)

    def checked(self, query: Query) -> Query:
        """The query with its picture opened; raises the Problem that `find` would, before anything is computed."""
        picture = self._opened(query)
        self.stated.allowed(query.where)
        return replace(query, picture=picture)

    def product(self, product_id: str) -> Found | None:
        """One product by its id, None where there is none."""
        number = self.numbers.get(product_id)
        return None if number is None else told(self.catalogue, number, self._views(number), 1.0, None, ())

    def facets(self) -> dict[str, dict[str, int]]:
        """What can be filtered by: name -> value -> how many products have it, the most frequent first."""
        return self.stated.counts()

    def _first(self, rerank: int | None, count: int, budget: float | None) -> int:
        """How many answers the second stage is to see."""
        if count < 1 or (rerank or 0) < 0 or (budget is not None and budget <= 0):
            raise Problem("count must be 1 or more, rerank 0 or more, and budget above 0 seconds")
        if self.second is None and rerank:
            raise Problem(
                "no cross-encoder is trained that could re-rank: run `dvc repro`, or ask with rerank=0 for recall alone"
            )
        return 0 if self.second is None else self.settings.first if rerank is None else rerank

    def _opened(self, query: Query) -> Image.Image | None:
        return opened(query, self.numbers, max_megapixels=self.max_megapixels)

    def _embedded(self, queries: Sequence[Query], pictures: Sequence[Image.Image | None]) -> Vectors:
        """-> (Q, C) float32 of length 1"""
        texts = [query.text for query in queries if query.text is not None]
        given = [picture for picture in pictures if picture is not None]
        said = iter(self.dual.say(texts).float().numpy() if texts else ())
        seen = iter(self.dual.look(given).float().numpy() if given else ())
        vectors = []
        for query, picture in zip(queries, pictures, strict=True):
            shown = None if picture is None else next(seen)
            if query.product is not None:
                shown = unit(self.index.vectors[self._views(self.numbers[query.product])].mean(axis=0))
            told = None if query.text is None else next(said)
            vectors.append(composed(told, shown, self.settings.text))
        if not np.isfinite(vectors).all():
            raise Problem(f"{self.settings.recall} gives no numbers for what is asked: its weights are broken")
        return np.stack(vectors)

    def _recalled(self, query: Query, vector: Vectors, many: int, allowed: NDArray[np.bool_] | None) -> search.Hits:
        """The first stage -> (1, K), K as many as there are; a product that is asked for is not among its likes."""
        own = None if query.product is None else self.numbers[query.product]
        hits = search.search(self.index, vector[None], many + (own is not None), allowed)
        there = (hits.product[0] != search.NOBODY) & (hits.product[0] != (-2 if own is None else own))
        keep = np.flatnonzero(there)[:many]
        return search.Hits(hits.product[:, keep], hits.picture[:, keep], hits.cosine[:, keep])

    def _odds(
        self, query: Query, picture: Image.Image | None, hits: search.Hits, first: int, until: float | None
    ) -> NDArray[np.float64]:
        """The second stage -> (n,) log-odds of the first n; all of `first`, or those that there is time for."""
        first = min(first, hits.product.shape[1])
        if self.second is None or not first:
            return np.empty(0)
        own = None if query.product is None else self.numbers[query.product]
        shown = picture if own is None else self._views(own)[0]
        text = query.text or (None if own is None else self._text(own))
        seen = self.second.see(text, shown, self.settings.text)
        odds, step, took = np.empty(0), first if until is None else SCORED, 0.0
        while len(odds) < first:
            began = self.clock()
            if until is not None and began + took > until:
                break
            some = slice(len(odds), min(first, len(odds) + step))
            odds = np.append(odds, self.second.odds(seen, hits.product[0, some], hits.picture[0, some]))
            took = self.clock() - began
        return odds

    def _why(self, query: Query, picture: Image.Image | None, pictures: Rows) -> list[tuple[Why, ...]]:
        """Of each picture, which of its places the words of the query point at: the query's own, those of the product
        that is asked for, or what the captioner says of the picture that is given."""
        if self.model is None or not can_explain(self.model) or not len(pictures):
            return [()] * len(pictures)
        text = query.text
        if text is None and query.product is not None:
            text = self._text(self.numbers[query.product])
        if text is None:
            if "captioning" not in self.model.facts["parts"]:
                return [()] * len(pictures)
            assert picture is not None, "a query has a text, a product or a picture"
            text = self.model.caption(picture, beam=1)
        paths, most = self.catalogue.pictures["path"].to_numpy()[pictures], self.max_megapixels
        return explained(self.model, [open_rgb(self.root, path, max_megapixels=most) for path in paths], text)

    def _text(self, number: int) -> str:
        return text_of(self.catalogue.products.iloc[number].to_dict(), self.fields)

    def _views(self, number: int) -> list[int]:
        """The pictures of a product."""
        start, stop = np.searchsorted(self.index.product, [number, number + 1]).tolist()
        return list(range(start, stop))

    def _found(self, hits: search.Hits, at: int, odds: float | None, why: tuple[Why, ...]) -> Found:
        number, picture, cosine = (int(hits.product[0, at]), int(hits.picture[0, at]), float(hits.cosine[0, at]))
        views = [picture, *(view for view in self._views(number) if view != picture)]
        return told(self.catalogue, number, views, cosine, None if odds is None else float(odds), why)


@contextmanager
def _timed(seconds: dict[str, float], name: str, clock: Callable[[], float]) -> Iterator[None]:
    began = clock()
    yield
    seconds[name] = clock() - began
