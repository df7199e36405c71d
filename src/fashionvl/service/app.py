"""The service as an ASGI app."""

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fashionvl.service import pulse, questions, shelf
from fashionvl.service.desk import Desk
from fashionvl.service.finding import Finder
from fashionvl.service.gauges import Gauges
from fashionvl.service.guard import Guard, refusal
from fashionvl.service.reading import sentence_of
from fashionvl.service.room import Room
from fashionvl.service.serving import serving_of
from fashionvl.service.settings import Settings

log = logging.getLogger("fashionvl.service")
PAGE = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def app_of(finder: Finder, settings: Settings) -> FastAPI:
    """A service that asks one finder until another takes over (`swap`); what belongs to it is in `app.state.room`."""
    gauges = Gauges()
    desk = Desk(serving_of(finder), settings, gauges.batches.observe)
    room = Room(desk, settings, gauges, ThreadPoolExecutor(settings.decoders, "opener"))
    gauges.show(desk.serving.versions)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        await desk.close()
        room.opener.shutdown(cancel_futures=True)

    app = FastAPI(
        title="fashionvl",
        summary="Search of a fashion catalogue by text and picture",
        version="1",
        docs_url=None,  # both of these fetch what they need from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.room = room
    locked = [Security(HTTPBearer(auto_error=False))] if settings.key else []  # says so; guard.py sees to it
    app.include_router(questions.routes, dependencies=locked)
    app.include_router(shelf.routes, dependencies=locked)
    app.include_router(pulse.routes)
    _add_page(app)
    app.add_middleware(Guard, settings=settings, gauges=gauges)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(Exception, _failed)
    return app


def swap(app: FastAPI, finder: Finder) -> None:
    """Let another finder answer what is asked from now on; no request is dropped. From any thread; asks it once first.

    Raises what the finder raises where it cannot be asked; then the one there is goes on.
    """
    app.state.room.swap(serving_of(finder))


def _add_page(app: FastAPI) -> None:
    folder = Path(__file__).parent / "page"
    for address, name in PAGE.items():
        content, kind = (folder / name).read_bytes(), KINDS[Path(name).suffix]

        app.add_route(address, _page(content, kind), ["GET"], include_in_schema=False)


def _page(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(_: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return page


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, dict(error.headers or {}))


async def _not_understood(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return refusal(422, sentence_of(error.errors()))


async def _failed(_: Request, error: Exception) -> Response:
    name = secrets.token_hex(4)
    log.error("request %s failed", name, exc_info=error)
    return refusal(500, f"something went wrong here; the service's log has it as {name}")
