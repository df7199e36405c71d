"""How the service is: /health, /metrics."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fashionvl.service.described import errors
from fashionvl.service.forms import HealthOut, Pulse
from fashionvl.service.room import room_of

routes = APIRouter()
OPEN = {status: told for status, told in errors().items() if status != 401}  # what wants no key


@routes.get("/health", response_model=HealthOut, responses=OPEN)
async def health(request: Request) -> Any:
    """What is served, and whether it can be asked now."""
    room = room_of(request)
    serving = room.desk.serving
    return HealthOut(
        live=True,
        ready=room.desk.is_ready(),
        versions=dict(serving.versions),
        can=list(serving.can),
        swaps=room.swaps,
        refused=room.refused,
    )


@routes.head("/health/live", include_in_schema=False)
@routes.get("/health/live", response_model=Pulse, responses=OPEN)
async def live() -> Any:
    """200 as long as anything answers."""
    return Pulse(yes=True)


@routes.head("/health/ready", include_in_schema=False)
@routes.get(
    "/health/ready",
    response_model=Pulse,
    responses={**OPEN, 503: {"model": Pulse, "description": "The model is stuck, or was stopped"}},
)
async def ready(request: Request) -> Any:
    """200 while the model answers, else 503."""
    is_ready = room_of(request).desk.is_ready()
    return JSONResponse({"yes": is_ready}, 200 if is_ready else 503)


@routes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **errors()},
)
async def metrics(request: Request) -> Any:
    """Numbers for Prometheus."""
    return Response(generate_latest(room_of(request).gauges.registry), headers={"content-type": CONTENT_TYPE_LATEST})
