"""What is served at a time: a finder, what is known of it, and its pictures."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from fashionvl.catalogue.pictures import BrokenPicture, open_rgb
from fashionvl.service.finding import Finder, Query

PARTS = {"match": "model", "caption": "captioning", "category": "category", "sub_category": "sub_category"}
SIDES = (160, 320, 640, 1280)  # pixels of the longer side that pictures are shown with
KEPT = 500  # pictures that are kept ready to be sent


@dataclass(frozen=True, eq=False)
class Serving:
    """A finder and what is known of it: replaced as a whole when another one takes over.

    versions  what its index was made of
    facets    name -> value -> products
    told      the same as JSON, made once: a catalogue may have a million values
    can       what its trained system can be asked; empty where there is none
    picture   (product, number of its picture, pixels of the longer side) -> JPEG, None where there is no such picture
    """

    finder: Finder
    versions: Mapping[str, str]
    facets: Mapping[str, Mapping[str, int]]
    told: bytes
    can: tuple[str, ...]
    picture: Callable[[str, int, int], bytes | None]


def serving_of(finder: Finder) -> Serving:
    """Have a finder read all that it will ever need, so that nobody waits for it and nothing is read of files that a
    training has replaced since; then ask it once.
    """
    if finder.model is not None:
        finder.model.read()
    (answer,) = finder.find_each([Query(text="a")], count=1, rerank=None, budget=None, explain=False)
    parts = () if finder.model is None else finder.model.facts["parts"]
    can, facets = tuple(name for name, part in PARTS.items() if part in parts), finder.facets()
    told, shown = json.dumps(facets).encode(), lru_cache(KEPT)(partial(_picture, finder))
    return Serving(finder, dict(answer.versions), facets, told, can, shown)


def _picture(finder: Finder, product_id: str, number: int, side: int) -> bytes | None:
    """A picture of a product, written anew: nothing else of its file goes out, and no path comes in."""
    product = finder.product(product_id)
    if product is None or number >= len(product.pictures):
        return None
    try:
        image = open_rgb(finder.root, product.pictures[number])
    except BrokenPicture:
        return None
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return stream.getvalue()
