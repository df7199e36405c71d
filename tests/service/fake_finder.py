"""A finder whose answers can be told beforehand: products are colours and things, a text finds those that it names."""

import io
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from fashionvl.catalogue.problems import Problem

COLOURS = {"red": (200, 30, 30), "green": (30, 150, 60), "blue": (40, 60, 200), "black": (20, 20, 20)}
THINGS = ("boots", "coat", "dress")


@dataclass(frozen=True)
class Why:
    word: str
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Found:
    product_id: str
    title: str
    description: str
    category: str
    sub_category: str
    attributes: dict[str, str]
    pictures: tuple[str, ...]
    recalled: float = 0.0
    reranked: float | None = None
    why: tuple[Why, ...] = ()


@dataclass(frozen=True)
class Answer:
    found: tuple[Found, ...]
    seconds: dict[str, float]
    versions: dict[str, str]


def picture_bytes(
    colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (60, 80), kind: str = "PNG"
) -> bytes:
    """A picture file of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


class Model:
    """Sees the colour of a picture, and reads it out of a text."""

    def __init__(self, parts: Sequence[str] = ("model", "captioning", "category", "sub_category")):
        self.facts = {"parts": {part: {} for part in parts}}

    def read(self) -> None:
        self.is_read = True

    def classify(self, picture: Any = None, text: Any = None, *, task: str, top: int) -> list:
        shown = picture if picture is not None else text
        names = [_colour(one) if not isinstance(one, str) else one for one in shown]
        return [[(name, 0.75), ("other", 0.25)][:top] for name in names]

    def caption(self, picture: Any, *, mode: str, beam: int) -> list[str]:
        return [f"a {_colour(one)} thing by {mode}" for one in picture]

    def match(self, picture: Any, text: Any) -> Any:
        return np.array([3.0 if _colour(picture) in one else -3.0 for one in text], np.float32)


@dataclass
class Finder:
    """
    slow     seconds that every asking takes
    asked    how many queries came together, asking by asking
    threads  that asked
    hold     while it is not set, askings wait; what they asked with is kept
    """

    root: Path
    version: str = "one"
    slow: float = 0.0
    model: Model | None = field(default_factory=Model)
    asked: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()
        self.products = {}
        for number, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS):
            (self.root / f"{colour}.png").write_bytes(picture_bytes(COLOURS[colour], (300, 400)))
            (self.root / f"{colour} back.jpg").write_bytes(picture_bytes(COLOURS[colour], (90, 60), "JPEG"))
            self.products[f"p/{number}"] = Found(
                f"p/{number}", f"{colour.title()} {thing}", f"A {colour} {thing} of {self.version}", "clothes", thing,
                {"colour": colour}, (f"{colour}.png", f"{colour} back.jpg"),
            )  # fmt: skip

    def find_each(
        self,
        queries: Sequence[Any],
        *,
        count: int = 10,
        rerank: int | None = None,
        budget: float | None = None,
        explain: bool = False,
    ) -> Iterator[Answer]:
        self.asked.append(len(queries))
        self.threads.add(threading.get_ident())
        self.hold.wait(100)
        time.sleep(self.slow)
        for query in queries:
            yield self._find(query, count, rerank, explain)

    def product(self, product_id: str) -> Found | None:
        return self.products.get(product_id)

    def facets(self) -> dict[str, dict[str, int]]:
        return {
            "category": {"clothes": len(self.products)},
            "sub_category": {thing: len(COLOURS) for thing in THINGS},
            "colour": {colour: len(THINGS) for colour in COLOURS},
        }

    def _find(self, query: Any, count: int, rerank: int | None, explain: bool) -> Answer:
        if query.text == "a bug":
            raise ZeroDivisionError("in /secret/path.py")
        if query.text == "a problem":
            raise Problem("there is no /secret/build/index: run the stage `index`")
        words = (query.text or "").split()
        words += [_colour(query.picture)] if query.picture is not None else []
        words += self.products[query.product].title.lower().split() if query.product else []
        kept = [one for one in self.products.values() if one.product_id != query.product and _is_in(one, query.where)]
        ranked = sorted(kept, key=lambda one: -_likeness(one, words))[:count]
        why = (Why("red", (0.1, 0.2, 0.6, 0.7), 0.8), Why("boots", (0.3, 0.5, 0.9, 0.95), 0.4)) if explain else ()
        most = len(ranked) if rerank is None else rerank
        found = [
            SimpleNamespace(
                **vars(one) | {
                    "pictures": one.pictures[::-1] if "back" in words else one.pictures,
                    "recalled": np.float32(_likeness(one, words)),
                    "reranked": 1.5 if at < most else None,
                    "why": why,
                }
            )
            for at, one in enumerate(ranked)
        ]  # fmt: skip
        return Answer(tuple(found), {"embed": 0.001, "recall": 0.002}, {"model": self.version, "data": "d"})


def _is_in(product: Found, where: Mapping[str, Sequence[str]]) -> bool:
    facts = {"category": product.category, "sub_category": product.sub_category, **product.attributes}
    return all(facts[name] in values for name, values in where.items())


def _likeness(product: Found, words: Sequence[str]) -> float:
    return len(set(product.title.lower().split()) & set(words)) / 2


def _colour(picture: Image.Image) -> str:
    seen = np.asarray(picture.resize((1, 1)))[0, 0].astype(int)
    return min(COLOURS, key=lambda name: np.abs(seen - COLOURS[name]).sum())
