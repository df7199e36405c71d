"""What is asked of a search, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fashionvl.pretrained.explaining import Why
from fashionvl.pretrained.given import OnePicture


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
