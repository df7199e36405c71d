"""From vectors of pictures to products: exact below a size, approximate above it, and filtered exactly always.

A product is found by the view of it that is nearest to the query. P pictures, N products, C numbers of a vector, Q
queries, K answers to each.
"""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

KINDS = ("hnsw", "ivf")
NOBODY = -1
COMPARED = 10_000  # allowed pictures up to which all are compared rather than looked for in an approximate index
BLOCK = 2**25  # cosines in memory while all vectors are compared
SAMPLE, ROUNDS = 64, 10  # vectors a list that its centre is learned from, at most; and how often these are seen

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """Pictures that can be searched.

    vectors (P, C) float32   of length 1
    product (P,) int64       the number of the product that each shows, rising from 0
    engine  faiss's index over `vectors`, in their order
    """

    vectors: NDArray[np.float32]
    product: Rows
    engine: Any

    @property
    def products(self) -> int:
        return int(self.product[-1]) + 1 if len(self.product) else 0


@dataclass(frozen=True)
class Hits:
    """What queries found, the best first, every product once.

    product (Q, K) int64    NOBODY where fewer than K are allowed
    picture (Q, K) int64    its view that is nearest
    cosine  (Q, K) float32  of that view; -inf where there is nobody
    """

    product: Rows
    picture: Rows
    cosine: NDArray[np.float32]


def engine(
    vectors: NDArray[np.float32],
    *,
    flat_below: int,
    above: str,
    links: int,
    built: int,
    breadth: int,
    lists: float,
    probed: float,
    seed: int,
) -> Any:
    """A faiss index of vectors (P, C) float32 of length 1, by their product.

    flat_below  fewer vectors than this are compared one by one, which is exact
    above       what more of them are kept in: hnsw, a graph of neighbours, or ivf, lists around centres
    links       of hnsw: neighbours of a vector
    built       of hnsw: how many are looked at to find these
    breadth     of hnsw: how many are looked at by a query
    lists       of ivf: how many there are, times the root of the number of vectors
    probed      of ivf: share of the lists that a query looks into
    """
    count, width = vectors.shape
    if count < flat_below:
        made: Any = faiss.IndexFlatIP(width)
    elif above == "hnsw":
        made = faiss.IndexHNSWFlat(width, links, faiss.METRIC_INNER_PRODUCT)
        made.hnsw.efConstruction, made.hnsw.efSearch = built, breadth
    else:
        many = max(1, min(count, round(lists * count**0.5)))
        made = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, many, faiss.METRIC_INNER_PRODUCT)
        made.cp.seed, made.cp.max_points_per_centroid, made.cp.min_points_per_centroid = seed, SAMPLE, 1
        made.cp.niter = ROUNDS
        made.nprobe = max(1, round(probed * many))
        made.train(vectors)
    made.add(vectors)
    return made


def kind_of(made: Any) -> str:
    """flat, hnsw or ivf"""
    return {"IndexHNSWFlat": "hnsw", "IndexIVFFlat": "ivf"}.get(type(made).__name__, "flat")


def search(index: Index, queries: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None = None) -> Hits:
    """The nearest `count` products of each query.

    queries (Q, C) float32  of length 1
    allowed (N,) bool       True where a product may be an answer, None for all; no other ever is, and as many come
                            back as there are, up to `count`, whatever kind the index is of
    """
    rows = None if allowed is None else np.flatnonzero(allowed[index.product])
    there = len(index.product) if rows is None else len(rows)
    wanted = min(count, index.products if rows is None else len(np.unique(index.product[rows])))
    if rows is not None and there <= COMPARED:
        return exact(index, queries, count, rows)
    hits, one_view = _nobody(len(queries), count), len(index.product) == index.products
    many, thorough = min(there, count if one_view else 2 * count), False
    left = np.arange(len(queries) if wanted else 0)
    while len(left):
        looked = _look(index.engine, queries[left], many, rows, thorough=thorough)
        short = []
        for row, cosine, picture in zip(left.tolist(), *looked, strict=True):
            found = _first_views(cosine, picture, index.product)
            _put(hits, row, [part[:count] for part in found])
            if len(found[0]) < wanted and not (thorough and many == there):  # a vector of no numbers is near nobody
                short.append(row)
        # Several views of one product, or an approximate index that gave out.
        many, thorough, left = min(2 * many, there), True, np.asarray(short, np.int64)
    return hits


def exact(index: Index, queries: NDArray[np.float32], count: int, rows: Rows | None = None) -> Hits:
    """`search` by comparing everything: rows (n,) int64, rising, are the pictures that may answer, None for all."""
    product = index.product if rows is None else index.product[rows]
    hits = _nobody(len(queries), count)
    if not len(product):
        return hits
    starts = np.flatnonzero(np.diff(product, prepend=-1))
    few = max(1, BLOCK // len(product))
    vectors = index.vectors if rows is None else index.vectors[rows]
    for at in range(0, len(queries), few):
        cosines = queries[at : at + few] @ vectors.T
        best = np.maximum.reduceat(cosines, starts, axis=1)
        most = min(count, best.shape[1])
        first = np.argpartition(-best, most - 1, axis=1)[:, :most]
        order = np.take_along_axis(first, np.argsort(-np.take_along_axis(best, first, 1), 1, kind="stable"), 1)
        for row, chosen in enumerate(order):
            ends = np.append(starts, len(product))
            views = [starts[c] + int(cosines[row, starts[c] : ends[c + 1]].argmax()) for c in chosen.tolist()]
            picture = np.asarray(views) if rows is None else rows[views]
            _put(hits, at + row, [product[starts[chosen]], picture, best[row, chosen]])
    return hits


def recall(index: Index, queries: NDArray[np.float32], count: int) -> float:
    """The share of the exact first `count` products that the index finds among its own."""
    found, true = search(index, queries, count).product, exact(index, queries, count).product
    return float(np.mean([len(np.intersect1d(one, other)) / count for one, other in zip(found, true, strict=True)]))


def _look(
    made: Any, queries: NDArray[np.float32], many: int, rows: Rows | None, *, thorough: bool
) -> tuple[NDArray[np.float32], Rows]:
    """-> cosines (Q, many), pictures (Q, many), NOBODY where faiss found fewer; `thorough` compares all of `rows`"""
    asked: dict[str, Any] = {}
    if rows is not None:
        bits = np.zeros(made.ntotal, bool)
        bits[rows] = True
        asked["sel"] = faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
    kind, share = kind_of(made), 1.0 if rows is None else len(rows) / made.ntotal
    if kind == "hnsw" and not thorough:
        parameters: Any = faiss.SearchParametersHNSW(**asked, efSearch=max(made.hnsw.efSearch, 2 * many))
    elif kind == "ivf":  # as many allowed vectors are met as without a filter
        probed = made.nlist if thorough else min(made.nlist, round(made.nprobe / share))
        parameters = faiss.SearchParametersIVF(**asked, nprobe=probed)
    else:
        made = faiss.downcast_index(made.storage) if kind == "hnsw" else made
        parameters = faiss.SearchParameters(**asked)
    return made.search(np.ascontiguousarray(queries, np.float32), many, params=parameters)


def _first_views(cosine: NDArray[np.float32], picture: Rows, product: Rows) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Pictures, the best first -> the products, their best views and cosines, the best first."""
    there = picture != NOBODY
    cosine, picture = cosine[there], picture[there]
    of = product[picture]
    first = np.sort(np.unique(of, return_index=True)[1])
    return of[first], picture[first], cosine[first]


def _nobody(queries: int, count: int) -> Hits:
    shape = (queries, count)
    cosine = np.full(shape, -np.inf, np.float32)
    return Hits(np.full(shape, NOBODY, np.int64), np.full(shape, NOBODY, np.int64), cosine)


def _put(hits: Hits, row: int, parts: Any) -> None:
    for name, part in zip(("product", "picture", "cosine"), parts, strict=True):
        getattr(hits, name)[row, : len(part)] = part
