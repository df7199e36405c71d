"""What is served at a time: a finder, what is known of it, and its pictures."""

import io
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
    can       what its trained system can be asked; empty where there is none
    picture   (product, number of its picture, pixels of the longer side) -> JPEG, None where there is no such picture
    """

    finder: Finder
    versions: Mapping[str, str]
    facets: Mapping[str, Mapping[str, int]]
    can: tuple[str, ...]
    picture: Callable[[str, int, int], bytes | None]


def serving_of(finder: Finder) -> Serving:
    """Ask a finder once, so that it has read what it needs before anybody waits for it."""
    (answer,) = finder.find_many([Query(text="a")], count=1, rerank=None, budget=None, explain=False)
    parts = () if finder.model is None else finder.model.facts["parts"]
    can = tuple(name for name, part in PARTS.items() if part in parts)
    return Serving(finder, dict(answer.versions), finder.facets(), can, lru_cache(KEPT)(partial(_picture, finder)))


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
