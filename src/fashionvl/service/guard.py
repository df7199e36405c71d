"""What stands before the routes: who may ask, how much, how many at a time; and what every answer bears."""

import asyncio
import hmac
import re
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fashionvl.service.gauges import Gauges
from fashionvl.service.settings import Settings

FOR_THE_MODEL = ("/search", "/classify", "/caption", "/match")
KEYED = (*FOR_THE_MODEL, "/products", "/pictures", "/facets", "/metrics")  # what wants the key, where one is set
LONGEST_HEADERS = 32_000  # bytes of all of them
_PORT = re.compile(r":\d*$")
AGAIN = {"retry-after": "1"}
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says what is wrong, whatever letters are in it."""
    said = sentence.encode("utf-8", "replace").decode()
    return JSONResponse({"error": said}, status, {**HEADERS, **(headers or {})})


class Guard:
    """The outermost part of the app that is ours (ASGI)."""

    def __init__(self, app: ASGIApp, settings: Settings, gauges: Gauges):
        self.app, self.settings, self.gauges = app, settings, gauges
        self.taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_ours(message["headers"])
            await send(message)

        try:
            await self._pass(scope, receive, sent)
        finally:
            what = getattr(scope.get("route"), "path", "nothing")
            self.gauges.answers.labels(what, status).inc()
            self.gauges.seconds.labels(what).observe(time.monotonic() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope["path"], scope["headers"])
        if refused is not None:
            await refused(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] in FOR_THE_MODEL:
            await self._take_in(scope, receive, send)
        else:
            await self.app(scope, self._limited(receive), send)

    def _refused(self, path: str, said: list[tuple[bytes, bytes]]) -> JSONResponse | None:
        """What a request is told that goes no further; None for the others."""
        settings, headers = self.settings, dict(said)
        if sum(len(name) + len(value) for name, value in said) > LONGEST_HEADERS:
            return refusal(431, "the request's headers are too long", {"connection": "close"})
        host = _PORT.sub("", headers.get(b"host", b"").decode("latin-1").lower())
        if settings.hosts and host not in settings.hosts:
            return refusal(421, "this service does not go by that name (Host)")
        if settings.key is not None and path.startswith(KEYED):
            brought = headers.get(b"authorization", b"")
            if not hmac.compare_digest(brought, b"Bearer " + settings.key.encode()):
                return refusal(401, "send the key: Authorization: Bearer ...", {"www-authenticate": "Bearer"})
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > settings.max_bytes:
            return refusal(413, self._too_long(), {"connection": "close"})
        return None

    async def _take_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.taken >= self.settings.at_once:
            self.gauges.full.inc()
            await refusal(503, "too many requests are waiting; come again", AGAIN)(scope, receive, send)
            return
        self.taken += 1
        self.gauges.taken.set(self.taken)
        try:
            await self.app(scope, self._limited(receive), send)
        finally:
            self.taken -= 1
            self.gauges.taken.set(self.taken)

    def _limited(self, receive: Receive) -> Receive:
        """As `receive`; raises HTTPException 413 for a body that is too long and 408 for one that is too slow."""
        had, ends = 0, asyncio.get_running_loop().time() + self.settings.reading_seconds
        whole = False

        async def received() -> Message:
            nonlocal had, whole
            if whole:
                return await receive()  # waits for the client to leave
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request's body took too long to arrive") from None
            had += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if had > self.settings.max_bytes:
                raise HTTPException(413, self._too_long())
            return message

        return received

    def _too_long(self) -> str:
        return f"the request is too long: at most {self.settings.max_bytes:,} bytes are read"


def _with_ours(headers: list[Any]) -> list[Any]:
    """The headers of an answer, and those of ours that it does not say itself."""
    said = {name.lower() for name, _ in headers}
    ours = ((name.encode(), value.encode()) for name, value in HEADERS.items())
    return [*headers, *((name, value) for name, value in ours if name not in said)]
