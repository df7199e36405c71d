"""What the model is asked: /search, /classify, /caption, /match."""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from typing import Any

from fastapi import APIRouter
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fashionvl.catalogue.problems import Problem
from fashionvl.service import asking, forms, uploads
from fashionvl.service.described import ASKED, body, errors
from fashionvl.service.desk import Asking
from fashionvl.service.finding import Query
from fashionvl.service.guard import AGAIN
from fashionvl.service.reading import read
from fashionvl.service.room import Room, room_of

log = logging.getLogger("fashionvl.service")
routes = APIRouter()


@routes.post(
    "/search",
    response_model=forms.AnswerOut,
    responses=ASKED | errors(404),
    openapi_extra=body(forms.Search, picture=False),
)
async def search(request: Request) -> Any:
    """Products for a text, a picture, both together, or similar to a product, with a text besides or without."""
    room = room_of(request)
    form, content = await read(request, forms.Search)
    if form.product is None and form.text is None and content is None:
        raise HTTPException(422, "ask by a text, a picture or a product")
    if form.product is not None and content is not None:
        raise HTTPException(422, "ask by a product or by a picture, not by both")
    if form.product is not None and room.desk.serving.finder.product(form.product) is None:
        raise HTTPException(404, "there is no such product")
    _check(form.where, room.desk.serving.facets)
    if form.rerank:
        _able(room, "match")
    query = Query(form.text, await _opened(room, content), form.product, form.where)
    answer = await _asked(room, asking.search, query, form.count, form.rerank, form.budget, form.explain)
    for step, seconds in answer.seconds.items():
        room.gauges.steps.labels(step).observe(seconds)
    return answer


@routes.post(
    "/classify", response_model=forms.ClassesOut, responses=ASKED, openapi_extra=body(forms.Classify, picture=False)
)
async def classify(request: Request) -> Any:
    """What a product is, by its picture, its text or both."""
    room = room_of(request)
    form, content = await read(request, forms.Classify)
    if form.text is None and content is None:
        raise HTTPException(422, "give a picture, a text, or both")
    _able(room, form.task)
    picture = await _opened(room, content)
    column = "text" if picture is None else "image" if form.text is None else "both"
    return await _asked(room, asking.classify, (picture, form.text), form.task, form.top, column)


@routes.post(
    "/caption", response_model=forms.CaptionOut, responses=ASKED, openapi_extra=body(forms.Caption, picture=True)
)
async def caption(request: Request) -> Any:
    """What a picture shows, in words."""
    room = room_of(request)
    form, content = await read(request, forms.Caption)
    picture = await _opened(room, _needed(content))
    _able(room, "caption")
    return await _asked(room, asking.caption, picture, form.mode, form.beam)


@routes.post("/match", response_model=forms.MatchesOut, responses=ASKED, openapi_extra=body(forms.Match, picture=True))
async def match(request: Request) -> Any:
    """Whether a picture and each of some texts belong together."""
    room = room_of(request)
    form, content = await read(request, forms.Match)
    picture = await _opened(room, _needed(content))
    _able(room, "match")
    return await _asked(room, asking.match, (picture, form.texts))


async def _opened(room: Room, content: bytes | None) -> Image.Image | None:
    if content is None:
        return None
    limit, loop = room.settings.max_megapixels, asyncio.get_running_loop()
    opening = loop.run_in_executor(room.opener, lambda: uploads.opened(content, max_megapixels=limit))
    try:
        return await asyncio.wait_for(opening, room.settings.seconds)
    except TimeoutError:
        raise _late() from None


async def _asked(room: Room, what: Asking, given: Any, *options: Hashable) -> Any:
    """The model's answer; what is no longer there since the request was looked at is the caller's to ask for again."""
    try:
        return await room.desk.ask(what, given, *options)
    except TimeoutError:
        raise _late() from None
    except Problem as problem:
        log.warning("a request could not be answered: %s", problem)
        raise HTTPException(422, "this cannot be answered; /facets and /health say what can be asked") from None


def _late() -> HTTPException:
    return HTTPException(503, "this took too long; come again", AGAIN)


def _needed(content: bytes | None) -> bytes:
    if content is None:
        raise HTTPException(422, "send a picture: multipart/form-data with a file `picture`")
    return content


def _able(room: Room, what: str) -> None:
    if what not in room.desk.serving.can:
        raise HTTPException(501, f"no trained system here can do this ({what}); /health says what can be asked")


def _check(where: forms.Where, facets: Mapping[str, Mapping[str, int]]) -> None:
    """Raises HTTPException 422 for a filter or a value that no product has."""
    for name, values in where.items():
        if name not in facets:
            raise HTTPException(422, f"no product has {name!r}; /facets lists what can be filtered by")
        for value in values:
            if value not in facets[name]:
                raise HTTPException(422, f"no product has {value!r} as {name!r}; /facets lists the values")
