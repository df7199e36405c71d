"""Which texts meet which pictures: matched and mismatched pairs, drawn for a whole epoch at once.

A product is the unit: one random view of it an epoch. What counts as a hit is never trained as a mismatch: a negative
never shares the query's group (specification D8, section 5.2).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Generator, Tensor

from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem

Chance = Callable[..., Generator]  # numbers -> a generator that depends on nothing else

ROUNDS = 16  # redraws of a negative that hit its own group, before any product is taken
POOL = 16  # batches among which rows are sorted by length


@dataclass(frozen=True)
class Shop:
    """What pairs are drawn from; N products of the whole catalogue, some of which are in the split.

    products (n,) int64   indices of the products of the split
    group    (N,) int64   products of one group count as the same answer
    kind     (N,) int64   the sub-category, or the category where there is none
    first    (N,) int64   the first picture of each product
    views    (N,) int64   how many pictures it has
    """

    products: Tensor
    group: Tensor
    kind: Tensor
    first: Tensor
    views: Tensor

    @classmethod
    def of(cls, catalogue: Catalogue, split: str) -> "Shop":
        """The shop of one split; a split with fewer than two groups has no mismatched pair and is a Problem."""
        inside, group = catalogue.in_split(split), catalogue.groups()
        if len(np.unique(group[inside])) < 2:
            raise Problem(f"the split {split!r} holds fewer than two groups of products: no pair could be mismatched")
        columns = (inside, group, catalogue.kinds(), catalogue.first_pictures(), catalogue.view_counts())
        return cls(*map(torch.from_numpy, columns))

    def view(self, products: Tensor, *, generator: Generator) -> Tensor:
        """products (n,) int64 -> (n,) int64   a random picture of each."""
        draw = torch.rand(len(products), generator=generator)
        return self.first[products] + (draw * self.views[products]).long()

    def stranger(self, products: Tensor, *, same_kind: float, generator: Generator) -> Tensor:
        """For each product another of the split, of another group.

        products  (n,) int64
        same_kind share of the draws that stay inside the sub-category, where it holds another group
        -> (n,) int64
        """
        pool = self.products[self.kind[self.products].argsort(stable=True)]
        kinds = self.kind[pool].contiguous()
        low = torch.searchsorted(kinds, self.kind[products])
        high = torch.searchsorted(kinds, self.kind[products], right=True)
        anywhere = torch.rand(len(products), generator=generator) >= same_kind
        low = torch.where(anywhere, 0, low)
        high = torch.where(anywhere, len(pool), high)
        found = products.clone()
        for attempt in range(2 * ROUNDS):
            wrong = self.group[found] == self.group[products]
            if not wrong.any():
                return found
            if attempt == ROUNDS:  # its sub-category seems to hold no other group
                low, high = torch.zeros_like(low), torch.full_like(high, len(pool))
            draw = low + (torch.rand(len(products), generator=generator) * (high - low)).long()
            found = torch.where(wrong, pool[draw], found)
        return self._other_group(found, products, pool)

    def _other_group(self, found: Tensor, products: Tensor, pool: Tensor) -> Tensor:
        """For the few that only ever met their own group: the first product of any other."""
        found = found.clone()
        for row in (self.group[found] == self.group[products]).nonzero()[:, 0].tolist():
            found[row] = pool[self.group[pool] != self.group[products[row]]][0]
        return found


@dataclass(frozen=True)
class Pairs:
    """Text and picture side by side.

    text     (n,) int64   the product whose text is read
    picture  (n,) int64   the picture that is seen
    matched  (n,) bool    True where all that is read and seen is of one product
    stranger (n,) int64   a picture of another group than the seen one, to borrow a patch or the tags from
    retagged (n,) bool    True where the tags, and they alone, are the stranger's: no match (OSCAR)
    """

    text: Tensor
    picture: Tensor
    matched: Tensor
    stranger: Tensor
    retagged: Tensor

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, rows: Tensor | slice) -> "Pairs":
        return Pairs(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_epoch(shop: Shop, *, same_kind: float, mismatched: float, tags: float = 0.0, generator: Generator) -> Pairs:
    """Every product of the split once, in random order, matched or with its text, its picture or its tags swapped.

    same_kind   share of the mismatches drawn from the same sub-category
    mismatched  share of the pairs that are no match (1:1 is 0.5)
    tags        share of the mismatches whose tags alone are swapped
    """
    products = shop.products[torch.randperm(len(shop.products), generator=generator)]
    other = shop.stranger(products, same_kind=same_kind, generator=generator)
    matched = torch.rand(len(products), generator=generator) >= mismatched
    swap_text = torch.rand(len(products), generator=generator) < 0.5
    retagged = torch.zeros_like(matched)
    if tags:
        retagged = ~matched & (torch.rand(len(products), generator=generator) < tags)
    swapped = ~matched & ~retagged
    text = torch.where(swapped & swap_text, other, products)
    seen = torch.where(swapped & ~swap_text, other, products)
    lender = shop.stranger(seen, same_kind=0.0, generator=generator)
    view, lent = shop.view(seen, generator=generator), shop.view(lender, generator=generator)
    return Pairs(text, view, matched, lent, retagged)


def matched_epoch(shop: Shop, products: Tensor, lengths: Tensor, *, batch: int, generator: Generator) -> Pairs:
    """Some products (n,) int64 once, each with its text and one random view, as `by_length` puts them in batches."""
    drawn = products[torch.randperm(len(products), generator=generator)]
    view = shop.view(drawn, generator=generator)
    matched = torch.ones(len(drawn), dtype=torch.bool)
    pairs = Pairs(drawn, view, matched, view, ~matched)
    return by_length(pairs, lengths, batch=batch, generator=generator)


def by_length(pairs: Pairs, lengths: Tensor, *, batch: int, generator: Generator) -> Pairs:
    """Put texts of like length into one batch, to save padding; whole batches come in random order.

    lengths (N,) int64   word pieces of every product's text
    """
    full = len(pairs) // batch * batch
    if full == 0:
        return pairs
    order = torch.arange(full)
    for start in range(0, full, batch * POOL):
        pool = order[start : start + batch * POOL]
        order[start : start + batch * POOL] = pool[lengths[pairs.text[pool]].argsort(stable=True)]
    batches = order.view(-1, batch)
    batches = batches[torch.randperm(len(batches), generator=generator)]
    return pairs[torch.cat([batches.flatten(), torch.arange(full, len(pairs))])]
