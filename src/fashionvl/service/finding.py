"""What the service needs of whatever finds: `pretrained/finder.py` has it, and so has the fake one of the tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True)
class Query:
    """One search: by text, by picture, by both, for what is similar to a product, or for that with a text besides.

    where  name of a facet -> the values that are allowed
    """

    text: str | None = None
    picture: Image.Image | None = None
    product: str | None = None
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Why(Protocol):
    """A word of the query and where it points: left, top, right, bottom in 0..1 of the product's first picture."""

    @property
    def word(self) -> str: ...
    @property
    def box(self) -> tuple[float, float, float, float]: ...
    @property
    def score(self) -> float: ...


class Found(Protocol):
    """A product, as an answer shows it."""

    @property
    def product_id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def sub_category(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...
    @property
    def pictures(self) -> Sequence[str]: ...
    @property
    def recalled(self) -> float: ...
    @property
    def reranked(self) -> float | None: ...
    @property
    def why(self) -> Sequence[Why]: ...


class Answer(Protocol):
    """Products, the best first; how long each step took; what the index was made of."""

    @property
    def found(self) -> Sequence[Found]: ...
    @property
    def seconds(self) -> Mapping[str, float]: ...
    @property
    def versions(self) -> Mapping[str, str]: ...


class Model(Protocol):
    """A trained system; `facts["parts"]` names what it can do."""

    @property
    def facts(self) -> Mapping[str, Any]: ...
    def match(self, picture: Any, text: Any) -> Any: ...
    def classify(self, picture: Any = None, text: Any = None, *, task: str = ..., top: int = ...) -> Any: ...
    def caption(self, picture: Any, *, mode: str = ..., beam: int = ...) -> Any: ...


class Finder(Protocol):
    """An index and the models that ask it."""

    @property
    def model(self) -> Model | None: ...
    @property
    def root(self) -> Path: ...
    def find_many(
        self, queries: Sequence[Any], *, count: int, rerank: int | None, budget: float | None, explain: bool
    ) -> Sequence[Answer]:
        """
        rerank  how many of the first the cross-encoder scores; None for as many as the finder's own setting says
        budget  seconds that each query may take; None for as long as it takes
        """

    def product(self, product_id: str) -> Found | None: ...
    def facets(self) -> Mapping[str, Mapping[str, int]]: ...
