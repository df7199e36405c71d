"""What is asked of a search, and what it answers."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.pretrained.given import OnePicture, pictures_of
from fashionvl.search.facets import plain


@dataclass(frozen=True)
class Query:
    """What is looked for; product and text give what is like that product and as the text says.

    picture  a path, bytes, a PIL picture or an array; product  the id of one of the catalogue, itself left out
    where    category, sub_category or any attribute -> allowed values
    """

    text: str | None = None
    picture: OnePicture | None = None
    product: str | None = None
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Why:
    """A word, and the place of the picture that it points at.

    box    left, top, right, bottom in 0..1 of the picture
    score  share of what the word points at that lies in that place
    """

    word: str
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Found:
    """One product.

    pictures  paths relative to the catalogue's folder, the best view first
    recalled  cosine of the first stage
    reranked  log-odds of the cross-encoder, None where it was not asked
    why       where that was asked for
    """

    product_id: str
    title: str
    description: str
    category: str
    sub_category: str
    attributes: dict[str, str]
    pictures: tuple[str, ...]
    recalled: float
    reranked: float | None
    why: tuple[Why, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What was found, the best first.

    seconds   embed, recall, rerank, explain: how long each took
    versions  what answered: model and data of the index, the cross-encoder, and what a cosine counts beside it
    """

    found: tuple[Found, ...]
    seconds: dict[str, float]
    versions: dict[str, str]


def opened(query: Query, products: Container[str], *, max_megapixels: float) -> Image.Image | None:
    """The picture of a query, None where it has none; a Problem where it asks for nothing, or for what cannot be."""
    if query.text is not None and not isinstance(query.text, str):
        raise Problem(f"the text of a query is a str, this is {type(query.text).__name__}")
    if query.text is not None and not query.text.strip():
        raise Problem("the text of the query is empty")
    if query.text is None and query.picture is None and query.product is None:
        raise Problem("a query has a text, a picture, both, or the id of a product")
    if query.product is not None and query.picture is not None:
        raise Problem("a query has a picture or the id of a product, not both")
    if query.product is not None and query.product not in products:
        raise Problem(f"the catalogue has no product {query.product!r}")
    if query.picture is None:
        return None
    (picture,), _ = pictures_of([query.picture], max_megapixels=max_megapixels)
    return picture


def told(
    catalogue: Catalogue, number: int, views: Sequence[int], cosine: float, odds: float | None, why: tuple[Why, ...]
) -> Found:
    """What is said of one product; `views` are its pictures, the best first."""
    row = catalogue.products.iloc[number]
    return Found(
        product_id=row["product_id"],
        title=row["title"],
        description=row["description"],
        category=row["category"],
        sub_category=row["sub_category"],
        attributes=plain(row["attributes"]),
        pictures=tuple(catalogue.pictures["path"].iloc[list(views)]),
        recalled=cosine,
        reranked=odds,
        why=why,
    )
