"""What is hidden from the model: words (MLM, Kaleido-BERT section 3.6 task 1) and patches, the words and patches that
belong together first and never both of them (AGM, section 3.4).

Pure functions from tensors without gradient and a generator to indices; they know no model. All that is random is
drawn before anything is looked at (`draw`), then decided (`hide`), then written into the text (`spell`).

B rows, T text slots, W numbers of words (as many as slots), M pairs, P patches of all quotas one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from fashionvl.words import NO_WORD

Array = np.ndarray  # in loops of small steps: torch would split each over threads that the model needs meanwhile

IGNORE = -100
MOST_HIDDEN = 10  # pieces of a text (specification 3.1)
WORD_SIDE = 0.5  # of a pair, the word is hidden this often where both could be; the paper does not say


@dataclass(frozen=True)
class Quota:
    """How many patches of one level are hidden in every picture.

    level    its index in the pyramid
    patches  that it has
    count    that are hidden
    """

    level: int
    patches: int
    count: int


@dataclass(frozen=True)
class Luck:
    """All that is random about a batch; a row's luck depends on no text, picture or pair.

    words   (B, T) float            one draw a word, the highest is hidden first
    fate    (B, T) float            what becomes of a hidden piece
    pieces  (B, T) int64            the random piece that it may become
    patches (B, n) float a quota    one draw a patch, the lowest are hidden
    order   (B, M) float            one draw a pair, the highest is tried first
    side    (B, M) float            which side of the pair is tried first
    """

    words: Tensor
    fate: Tensor
    pieces: Tensor
    patches: tuple[Tensor, ...]
    order: Tensor
    side: Tensor

    def __getitem__(self, rows: slice) -> "Luck":
        patches = tuple(draws[rows] for draws in self.patches)
        return Luck(self.words[rows], self.fate[rows], self.pieces[rows], patches, self.order[rows], self.side[rows])


@dataclass(frozen=True)
class Hidden:
    """What a batch may not see.

    words   (B, T) bool                   True where a piece is hidden
    patches (B, count) int64 a quota      distinct indices inside the level, in rising order
    """

    words: Tensor
    patches: tuple[Tensor, ...]


def draw(
    rows: int,
    slots: int,
    quotas: Sequence[Quota] = (),
    *,
    pairs: int = 0,
    vocabulary: int,
    special: Tensor,
    generator: Generator,
) -> Luck:
    """Draw the luck of `rows` texts of `slots` slots and their pictures.

    pairs    M: how many pairs a row may have. The number of the whole table makes what is drawn from the generator
             later independent of the batch; the luck itself stays the same with more of them, and 0 draws none
    special  (K,) int64   ids that a random piece may not be
    """
    words = torch.rand(rows, slots, generator=generator)
    fate = torch.rand(rows, slots, generator=generator)
    likely = torch.ones(vocabulary).index_fill(0, special, 0.0)
    pieces = torch.multinomial(likely, rows * slots, replacement=True, generator=generator).view(rows, slots)
    patches = tuple(torch.rand(rows, quota.patches, generator=generator) for quota in quotas)
    order, side = torch.rand(pairs, 2, rows, generator=generator).permute(1, 2, 0)  # pair by pair: see `pairs`
    return Luck(words, fate, pieces, patches, order, side)


def room_for(real: Tensor, *, share: float, most: int = MOST_HIDDEN) -> Tensor:
    """How many pieces of each text may be hidden: a share of all, at least one.

    real (B, T) bool   True where a piece stands -> (B,) int64
    """
    pieces = real.sum(dim=1)
    return (pieces * share).round().clamp(min=1, max=most).long() * (pieces > 0)


def hide(
    whole: Tensor, pairs: Tensor, luck: Luck, *, room: Tensor, quotas: Sequence[Quota], most: int = MOST_HIDDEN
) -> Hidden:
    """Hide one side of as many pairs as the quotas let, then whole words and patches that are in no pair (AGM).

    Never both sides of a pair. Every level hides exactly its quota: a word is left alone where its patches are needed
    for that. Without pairs this is plain random hiding, every word and every patch alike likely.

    whole (B, T) int64      the number of the word of each piece, NO_WORD at [CLS], [SEP] and padding
    pairs (B, M, 3) int64   word number, index of the level in the pyramid, patch inside the level; -1 where none.
                            Pairs of a word that is not in the text or of a level without a quota do not count
    luck                    as `draw` made it for these rows, these quotas and at least M pairs
    room  (B,) int64        how many pieces of each text may be hidden, at most `most`
    Raises ValueError on a patch that its level does not have.
    """
    rows, slots = whole.shape
    sizes = [quota.patches for quota in quotas]
    number = whole.clamp(min=0)
    length = torch.zeros(rows, slots, dtype=torch.int64).scatter_add_(1, number, (whole != NO_WORD).long())  # (B, W)
    word, patch, stands = _ends(pairs, length, quotas)
    row, column = stands.nonzero(as_tuple=True)
    links = np.zeros((rows, slots, sum(sizes)), dtype=bool)
    links[row, word[row, column], patch[row, column]] = True
    order, word_first = luck.order[:, : pairs.shape[1]], luck.side[:, : pairs.shape[1]] < WORD_SIDE
    turn = order.masked_fill(~stands, -1.0).argsort(dim=1, descending=True)[:, : int(stands.sum(dim=1).max())]
    turns = [of_pair.gather(1, turn).T.numpy() for of_pair in (word, patch, stands, word_first)]
    words, patches, kept, left = _one_side(turns, links, length.numpy(), room.numpy(), quotas)
    alone = luck.words.masked_fill(length == 0, -1.0).numpy()
    alone[row, word[row, column]] = -1.0  # a word of a pair had its turn
    words |= _highest(alone, length.numpy(), left, most=most)
    hides = torch.from_numpy(words).gather(1, number) & (whole != NO_WORD)
    first_last = (torch.from_numpy(kept).float() - torch.from_numpy(patches).float()).split(sizes, dim=1)  # -1, 0, 1
    chosen = [_lowest(d + f, q.count) for d, f, q in zip(luck.patches, first_last, quotas, strict=True)]
    return Hidden(hides, tuple(chosen))


def _ends(pairs: Tensor, length: Tensor, quotas: Sequence[Quota]) -> tuple[Tensor, Tensor, Tensor]:
    """Where the pairs end: word (B, M), patch (B, M) among those of all quotas, (B, M) True where the pair counts."""
    number, level, inside = pairs.unbind(dim=2)
    word = number.clamp(0, length.shape[1] - 1)
    patch = torch.zeros_like(level)
    stands = torch.zeros_like(level, dtype=torch.bool)
    start = 0
    for quota in quotas:
        here = level == quota.level
        if (here & ((inside < 0) | (inside >= quota.patches))).any():
            raise ValueError(f"a pair names a patch that level {quota.level} with its {quota.patches} does not have")
        patch = torch.where(here, start + inside, patch)
        stands |= here
        start += quota.patches
    return word, patch, stands & (word == number) & (length.gather(1, word) > 0)


def _one_side(
    turns: Sequence[Array], links: Array, length: Array, room: Array, quotas: Sequence[Quota]
) -> tuple[Array, Array, Array, Array]:
    """Take the pairs in turn and hide one side of each: the other where that cannot be, none where neither can.

    turns  (M, B) each      word, patch, True where a pair stands, True where its word is tried first
    links  (B, W, P) bool   True where word and patch are a pair
    length (B, W) int64     pieces of each word
    ->
    words   (B, W) bool     True where hidden
    patches (B, P) bool     True where hidden
    kept    (B, P) bool     True where a word of that patch is hidden
    room    (B,) int64      pieces that may still be hidden
    """
    row, sizes = np.arange(len(links)), np.array([quota.patches for quota in quotas], dtype=np.int64)
    level, starts = np.arange(len(quotas)).repeat(sizes), sizes.cumsum() - sizes  # (P,), (L,)
    left = np.tile(np.array([quota.count for quota in quotas], dtype=np.int64), (len(links), 1))  # (B, L) to hide yet
    words, patches = np.zeros(length.shape, dtype=bool), np.zeros(links.shape[::2], dtype=bool)
    closed_words, closed = words.copy(), patches.copy()  # hidden, or the other side is
    for word, patch, stands, word_first in zip(*turns, strict=True):
        partners, cost = links[row, word], length[row, word]  # (B, P), (B,)
        free = np.add.reduceat(~(closed | partners), starts, axis=1, dtype=np.int64)  # (B, L)
        enough = (free >= left).all(axis=1)  # patches for the quotas, were the word hidden
        hides_word = stands & ~closed_words[row, word] & (cost <= room) & enough
        hides_patch = stands & ~closed[row, patch] & (left[row, level[patch]] > 0)
        hides_word &= word_first | ~hides_patch
        hides_patch &= ~hides_word
        words[row, word] |= hides_word
        patches[row, patch] |= hides_patch
        closed |= (partners & hides_word[:, None]) | patches
        closed_words |= (links[row, :, patch] & hides_patch[:, None]) | words
        room = room - cost * hides_word
        left[row, level[patch]] -= hides_patch
    return words, patches, closed & ~patches, room


def hide_regions(shown: Tensor, draws: Tensor, *, share: float) -> tuple[Tensor, Tensor]:
    """Hide a share of the regions of each picture, at least one of those it has (ImageBERT, VL-BERT, ViLBERT).

    shown (B, P) bool    True where a region may be hidden
    draws (B, P) float   in [0, 1), the lowest are hidden
    ->
    slots (B, K) int64   distinct; K is that share of all slots
    taken (B, K) bool    True where the slot is hidden
    """
    most = max(1, round(share * shown.shape[1]))
    order = draws.masked_fill(~shown, 1.0).argsort(dim=1)[:, :most]
    room = (share * shown.sum(dim=1)).round().clamp(min=1)
    taken = shown.gather(1, order) & (torch.arange(most) < room[:, None])
    return order, taken


def _highest(order: Array, length: Array, room: Array, *, most: int) -> Array:
    """Choose words, the highest first, each only if all its pieces still fit.

    order  (B, W) float    one draw a word in [0, 1), below 0 for a word that may not be chosen; changed in place
    length (B, W) int64    pieces of each word
    room   (B,) int64      how many pieces may be chosen, at most `most`
    -> (B, W) bool         True where chosen
    """
    row, chosen = np.arange(len(order)), np.zeros(order.shape, dtype=bool)
    for _ in range(most):
        fits = np.where(length <= room[:, None], order, -1.0)
        word = fits.argmax(axis=1)
        takes = fits[row, word] >= 0
        chosen[row, word] |= takes
        order[row, word] = -1.0
        room = room - length[row, word] * takes
    return chosen


def _lowest(draws: Tensor, count: int) -> Tensor:
    """draws (B, n) -> (B, count) int64   where the lowest stand, in rising order."""
    return draws.argsort(dim=1)[:, :count].sort(dim=1).values


def spell(
    ids: Tensor, hidden: Tensor, luck: Luck, *, mask_id: int, most: int = MOST_HIDDEN
) -> tuple[Tensor, Tensor, Tensor]:
    """Write what is hidden into the text: 80 % become [MASK], 10 % a random piece, 10 % stay as they are.

    ids    (B, T) int64   word-piece ids
    hidden (B, T) bool    True where a piece is hidden, at most `most` a row
    ->
    seen   (B, T) int64      the ids with the hidden ones replaced
    slots  (B, most) int64   where a piece was hidden, 0 where fewer were
    answer (B, most) int64   the piece that stood there, IGNORE where fewer were
    """
    seen = torch.where(hidden & (luck.fate < 0.8), mask_id, ids)
    seen = torch.where(hidden & (luck.fate >= 0.9), luck.pieces, seen)
    slots = hidden.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    taken = hidden.gather(1, slots)
    return seen, slots.masked_fill(~taken, 0), ids.gather(1, slots).masked_fill(~taken, IGNORE)
