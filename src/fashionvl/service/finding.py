"""What the service needs of whatever finds: `pretrained/finder.py` has it, and so has the fake one of the tests."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fashionvl.pretrained.answers import Answer, Found, Query, Why

__all__ = ["Answer", "Finder", "Found", "Model", "Query", "Why"]


class Model(Protocol):
    """A trained system; `facts["parts"]` names what it can do."""

    @property
    def facts(self) -> Mapping[str, Any]: ...
    def read(self) -> None:
        """Have all of its parts in memory."""

    def match(self, picture: Any, text: Any) -> Any: ...
    def classify(self, picture: Any = None, text: Any = None, *, task: str = ..., top: int = ...) -> Any: ...
    def caption(self, picture: Any, *, mode: str = ..., beam: int = ...) -> Any: ...


class Finder(Protocol):
    """An index and the models that ask it."""

    @property
    def model(self) -> Model | None: ...
    @property
    def root(self) -> Path: ...
    def find_each(
        self, queries: Sequence[Any], *, count: int, rerank: int | None, budget: float | None, explain: bool
    ) -> Iterator[Answer]:
        """The answers in the order of the queries, each as soon as it is there.

        rerank  how many of the first the cross-encoder scores; None for as many as the finder's own setting says
        budget  seconds that each query may take; None for as long as it takes
        """

    def product(self, product_id: str) -> Found | None: ...
    def facets(self) -> Mapping[str, Mapping[str, int]]: ...
