"""What the catalogue has: /products, /pictures, /facets."""

import asyncio
import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fashionvl.service import asking, forms
from fashionvl.service.described import errors
from fashionvl.service.room import room_of
from fashionvl.service.serving import SIDES

routes = APIRouter()
Named = Annotated[str, Path(min_length=1, max_length=forms.LONGEST_NAME, description="of a product")]


@routes.get("/products/{product_id:path}", response_model=forms.ProductOut, responses=errors(404, 422))
async def product(request: Request, product_id: Named) -> Any:
    """One product of the catalogue."""
    finder = room_of(request).desk.serving.finder
    found = finder.product(product_id)
    if found is None:
        raise HTTPException(404, "there is no such product")
    return asking.product(found)


@routes.get(
    "/pictures/{number}/{product_id:path}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "As it was"}, **errors(404, 422)},
)
async def picture(
    request: Request,
    product_id: Named,
    number: Annotated[int, Path(ge=0, le=9999)],
    side: Annotated[int, Query(ge=1, le=SIDES[-1], description="pixels of the longer side, or a little more")] = 640,
) -> Any:
    """A picture of a product, by its number."""
    room = room_of(request)
    size = next(known for known in SIDES if known >= side)
    loop, shown = asyncio.get_running_loop(), room.desk.serving.picture
    content = await loop.run_in_executor(room.opener, shown, product_id, number, size)
    if content is None:
        raise HTTPException(404, "there is no such picture")
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "private, max-age=300"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)


@routes.get("/facets", response_model=dict[str, dict[str, int]], responses=errors())
async def facets(request: Request) -> Any:
    """What can be filtered by: name -> value -> products."""
    return Response(room_of(request).desk.serving.told, media_type="application/json")
