"""What is nearly the same is kept apart: products of a group in different batches, equal texts in one group."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Generator, Tensor

NOTHING = -1  # stands for a piece that says nothing


def deal(products: Tensor, group: Tensor, *, batch: int, generator: Generator) -> Tensor:
    """Deal products out to batches like cards, group after group: no two of a group are in one batch, unless a group
    has more products than there are batches.

    products (n,) int64
    group    (N,) int64   of every product of the catalogue
    -> (n // batch, batch) int64   what is left over is another rest every time
    """
    batches = len(products) // batch
    drawn = products[torch.randperm(len(products), generator=generator)[: batches * batch]]
    turn = torch.rand(int(group.max()) + 1, generator=generator)  # when the group is dealt
    return drawn[turn[group[drawn]].argsort(stable=True)].view(batch, batches).T


def joined(group: Tensor, ids: Tensor, *, without: Sequence[int]) -> Tensor:
    """Join the groups of products that say the same: of the same pieces, in whatever order and number.

    group   (N,) int64
    ids     (N, T) int64   the text of every product
    without pieces that say nothing ([PAD], [CLS], [SEP]); a text of nothing else joins nothing
    -> (N,) int64          new numbers of the groups
    """
    pieces = np.where(np.isin(ids, list(without)), NOTHING, ids)
    pieces.sort(axis=1)
    pieces[:, 1:][pieces[:, 1:] == pieces[:, :-1]] = NOTHING  # said again
    pieces.sort(axis=1)
    text = np.unique(pieces, axis=0, return_inverse=True)[1].reshape(-1)
    silent = pieces[:, -1] == NOTHING
    text[silent] = text.max(initial=0) + 1 + np.arange(silent.sum())
    groups, texts = int(group.max()) + 1, int(text.max()) + 1
    links = coo_matrix((np.ones(len(text)), (group.numpy(), groups + text)), shape=(groups + texts, groups + texts))
    return torch.from_numpy(connected_components(links, directed=False)[1]).long()[group]
