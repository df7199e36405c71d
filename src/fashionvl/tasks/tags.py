"""Object tags (OSCAR, Li et al. 2020): what a detector sees in a picture, as words that are read beside its regions.

From what is generally known of the paper. Its text is words and tags; here tags belong to the picture, whose they are,
so that a text meets many pictures without being read anew. They have positions of their own, from 0 on, and BERT's
type 1.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from fashionvl.catalogue.problems import Problem
from fashionvl.patches.pyramid import Regions
from fashionvl.patches.store import Store
from fashionvl.words import NO_WORD, Words

AT_ONCE = 1024  # pictures


def tagged(store: Store, words: Words, slots: int) -> Store:
    """The same store, with tags where a system has slots for any."""
    if slots:
        store.tags = tags_of(store, words, slots)
    return store


def tags_of(store: Store, words: Words, slots: int) -> tuple[Tensor, Tensor]:
    """The tags of every picture: the likeliest class of each region, those of the surest first, each once.

    -> a Problem where these words read two classes alike
    ids  (N, slots) int64   word pieces, what does not fit is left out
    real (N, slots) bool    True where a piece stands
    """
    assert isinstance(store.layout, Regions), "grids have no classes"
    names = store.layout.names
    _check(names, words)
    texts = [text for some in torch.arange(len(store)).split(AT_ONCE) for text in _texts(store.classes(some), names)]
    told = words.encode(texts)
    real = told.whole[:, 1 : 1 + slots] != NO_WORD
    ids = told.ids[:, 1 : 1 + slots].masked_fill(~real, words.pad)
    lacking = slots - ids.shape[1]
    if lacking > 0:
        ids = torch.nn.functional.pad(ids, (0, lacking), value=words.pad)
        real = torch.nn.functional.pad(real, (0, lacking), value=False)
    return ids, real


@lru_cache(8)  # it is asked again for the pictures of every query
def _check(names: tuple[str, ...], words: Words) -> None:
    read: dict[tuple[int, ...], str] = {}
    different = list(dict.fromkeys(name.lower() for name in names))
    for name, ids in zip(different, words.encode(different).ids.tolist(), strict=True):
        other = read.setdefault(tuple(ids), name)
        if other != name:
            raise Problem(
                f"the words of this build read the classes {other!r} and {name!r} alike, so a tag could not tell which"
                " was seen: give params.yaml words that know both (words.source), a detector whose classes your texts"
                " name, or fewer regions.classes"
            )


def _texts(likely: Tensor, names: Sequence[str]) -> list[str]:
    """likely (n, R, K)   how likely each class of each region is, all 0 where there is none"""
    best = torch.where(likely.sum(dim=2) > 0, likely.float().argmax(dim=2), -1)
    return [" ".join(dict.fromkeys(names[at] for at in row if at >= 0)) for row in best.tolist()]
