"""From a request to what it says: JSON, or a multipart form with a picture."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fashionvl.service.forms import Form

JSON, MULTIPART = "application/json", "multipart/form-data"
LONGEST_JSON = 1_000_000  # bytes; no question is as long
MOST_FIELDS, LONGEST_FIELD = 12, 64 * 1024
PICTURE = "picture"
AS_THEY_ARE = ("text", "product", "task", "mode")  # fields of a form that are words; the others are JSON

Kind = TypeVar("Kind", bound=Form)


async def read(request: Request, kind: type[Kind]) -> tuple[Kind, bytes | None]:
    """-> what the request asks, and the bytes of its picture, None where it brings none.

    In a multipart form the picture is the file `picture`, every other field a key of the JSON; what is no word is
    written as in JSON (count=5, where={"colour": ["red"]}).

    Raises HTTPException 400 (cannot be read), 415 (neither JSON nor multipart) or 422 (says what `kind` has not).
    """
    media, charset = _media_of(request)
    if charset not in ("", "utf-8", "utf8"):
        raise HTTPException(415, "only UTF-8 is read")
    if media == JSON:
        said, picture = parsed(await request.body(), "the body"), None
    elif media == MULTIPART:
        said, picture = await _form(request)
    else:
        raise HTTPException(415, f"send {JSON}, or {MULTIPART} with a picture")
    try:
        return kind.model_validate(said), picture
    except ValidationError as error:
        raise HTTPException(422, sentence_of(error.errors())) from None


def parsed(content: bytes | str, what: str) -> Any:
    """The value of a JSON text; NaN and Infinity are none. Raises HTTPException 400 or 413."""
    if len(content) > LONGEST_JSON:
        raise HTTPException(413, f"{what} is too long: at most {LONGEST_JSON:,} bytes of JSON are read")
    try:
        text = content.decode() if isinstance(content, bytes) else content
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise HTTPException(400, f"{what} is nested too deeply") from None
    except UnicodeDecodeError:
        raise HTTPException(400, f"{what} is not UTF-8") from None
    except ValueError:
        raise HTTPException(400, f"{what} is not JSON") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _media_of(request: Request) -> tuple[str, str]:
    """The media type and the charset of the body, in small letters; empty where they are not said."""
    media, *options = (part.strip() for part in request.headers.get("content-type", "").lower().split(";"))
    said = dict(option.split("=", 1) for option in options if "=" in option)
    return media, said.get("charset", "").strip('" ')


async def _form(request: Request) -> tuple[dict[str, Any], bytes | None]:
    said: dict[str, Any] = {}
    picture = None
    async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD) as form:
        for name, value in form.multi_items():
            if name in said or (name == PICTURE and picture is not None):
                raise HTTPException(400, "a field of the form is given twice")
            if isinstance(value, UploadFile) != (name == PICTURE):
                raise HTTPException(422, f"a form has one file, the field {PICTURE!r}; its other fields are plain")
            if isinstance(value, UploadFile):
                picture = await value.read()
            else:
                said[name] = value if name in AS_THEY_ARE else parsed(value, "a field of the form")
    return said, picture


def sentence_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing that pydantic finds wrong, by its place; what was sent is not said again."""
    place = ".".join(str(step) for step in errors[0]["loc"])[:100]
    message = errors[0]["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
