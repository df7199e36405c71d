"""What the model's thread is asked: some requests of one kind -> one answer each, in the form that goes out."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from PIL import Image
from scipy.special import expit

from fashionvl.catalogue.problems import Problem
from fashionvl.service import forms
from fashionvl.service.finding import Answer, Finder, Found, Model, Query, Why
from fashionvl.service.serving import Serving

Shown = tuple[Image.Image | None, str | None]  # a picture, a text, or both


def search(
    serving: Serving, queries: Sequence[Query], count: int, rerank: int | None, budget: float | None, explain: bool
) -> Iterator[forms.AnswerOut]:
    """The products of every query."""
    answers = serving.finder.find_each(queries, count=count, rerank=rerank, budget=budget, explain=explain)
    return (_answer(serving.finder, answer) for answer in answers)


def classify(serving: Serving, shown: Sequence[Shown], task: str, top: int, column: str) -> list[forms.ClassesOut]:
    """The likeliest classes of everything shown; column: what all of it shows, image, text or both."""
    pictures = None if column == "text" else [picture for picture, _ in shown]
    texts = None if column == "image" else [text for _, text in shown]
    classes = _model(serving).classify(pictures, texts, task=task, top=top)
    return [
        forms.ClassesOut(task=task, classes=[forms.ClassOut(name=name, probability=share) for name, share in named])
        for named in classes
    ]


def caption(serving: Serving, pictures: Sequence[Image.Image], mode: str, beam: int) -> list[forms.CaptionOut]:
    """What every picture shows."""
    return [forms.CaptionOut(caption=said) for said in _model(serving).caption(list(pictures), mode=mode, beam=beam)]


def match(serving: Serving, asked: Sequence[tuple[Image.Image, list[str]]]) -> list[forms.MatchesOut]:
    """Every picture with each of its texts."""
    return [_matches(texts, _model(serving).match(picture, texts)) for picture, texts in asked]


def product(found: Found) -> forms.ProductOut:
    """A product by itself, its pictures in the catalogue's order."""
    return forms.ProductOut(**_facts(found), pictures=_addresses(found.product_id, range(len(found.pictures))))


def _model(serving: Serving) -> Model:
    if serving.finder.model is None:  # there was one when the request was looked at
        raise Problem("no trained system is served any more")
    return serving.finder.model


def _matches(texts: list[str], scores: Any) -> forms.MatchesOut:
    told = zip(texts, scores, strict=True)
    return forms.MatchesOut(
        matches=[
            forms.MatchOut(text=text, log_odds=float(score), probability=float(expit(score))) for text, score in told
        ]
    )


def _answer(finder: Finder, answer: Answer) -> forms.AnswerOut:
    return forms.AnswerOut(
        found=[_found(finder, found) for found in answer.found],
        seconds=dict(answer.seconds),
        versions=dict(answer.versions),
    )


def _found(finder: Finder, found: Found) -> forms.FoundOut:
    whole = finder.product(found.product_id)
    assert whole is not None  # it was found
    order = [whole.pictures.index(path) for path in found.pictures]
    return forms.FoundOut(
        **_facts(found),
        pictures=_addresses(found.product_id, order),
        recalled=float(found.recalled),
        reranked=None if found.reranked is None else float(found.reranked),
        why=[_why(why) for why in found.why],
    )


def _why(why: Why) -> forms.WhyOut:
    left, top, right, bottom = (float(side) for side in why.box)
    return forms.WhyOut(word=why.word, box=(left, top, right, bottom), score=float(why.score))


def _facts(found: Found) -> dict[str, Any]:
    names = ("product_id", "title", "description", "category", "sub_category")
    return {name: getattr(found, name) for name in names} | {"attributes": dict(found.attributes)}


def _addresses(product_id: str, numbers: Sequence[int]) -> list[str]:
    return [f"/pictures/{number}/{quote(product_id, safe='')}" for number in numbers]
