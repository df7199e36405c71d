"""The OpenAPI description of what routes take: their forms as JSON and as multipart, with examples."""

from typing import Any

from fashionvl.service.forms import Classify, Form, Problem, Search
from fashionvl.service.reading import AS_THEY_ARE, JSON, MULTIPART, PICTURE

SENTENCES = {
    400: "The request cannot be read",
    401: "The key is missing",
    404: "There is no such thing",
    408: "The body took too long to arrive",
    413: "The body, or the picture in it, is too large",
    415: "Neither JSON nor multipart, or no picture of a known kind",
    421: "The service does not go by that name (Host)",
    422: "The request asks for what cannot be",
    431: "The headers are too long",
    501: "No trained system here can do this",
    503: "Too many wait, or it took too long: come again",
}

EXAMPLES: dict[type[Form], dict[str, Any]] = {
    Search: {
        "text": {"value": {"text": "red boots with a low heel", "count": 5}},
        "filters": {"value": {"text": "dress", "where": {"colour": ["Red", "Black"]}, "rerank": 50, "explain": True}},
        "similar": {"value": {"product": "P0001"}},
    },
    Classify: {"text": {"value": {"text": "red boots with a low heel", "task": "category", "top": 3}}},
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer but for its own answer."""
    return {status: {"model": Problem, "description": SENTENCES[status]} for status in (401, 421, 431, *statuses)}


ASKED = errors(400, 408, 413, 415, 422, 501, 503)  # of the routes that ask the model


def body(kind: type[Form], *, picture: bool) -> dict[str, Any]:
    """What a route's `openapi_extra` says of its body; picture: True where there must be one, and so no JSON."""
    content: dict[str, Any] = {MULTIPART: _multipart(kind, picture)}
    if not picture:
        content = {JSON: {"schema": _schema(kind), "examples": EXAMPLES[kind]}} | content
    return {"requestBody": {"required": True, "content": content}}


def _schema(kind: type[Form]) -> dict[str, Any]:
    return kind.model_json_schema()


def _multipart(kind: type[Form], must: bool) -> dict[str, Any]:
    schema = _schema(kind)
    for name in AS_THEY_ARE:  # a field of a form may be left out, and is never null
        told = schema["properties"].get(name, {})
        if "anyOf" in told:
            del told["default"]
            told |= told.pop("anyOf")[0]
    schema["properties"] = {PICTURE: {"type": "string", "format": "binary"}} | schema["properties"]
    schema["required"] = [*schema.get("required", []), *([PICTURE] if must else [])]
    plain = {name: {"contentType": "text/plain"} for name in schema["properties"] if name in AS_THEY_ARE}
    written = {name: {"contentType": JSON} for name in schema["properties"] if name not in (*AS_THEY_ARE, PICTURE)}
    return {"schema": schema, "encoding": {PICTURE: {"contentType": "image/*"}, **plain, **written}}
