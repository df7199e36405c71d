"""What is hidden from the model: words (MLM, Kaleido-BERT section 3.6 task 1) and patches (section 3.4).

Pure functions from tensors without gradient and a generator to indices; they know no model.
"""

import torch
from torch import Generator, Tensor

from fashionvl.words import NO_WORD

IGNORE = -100
MOST_HIDDEN = 10  # pieces of a text (specification 3.1)


def quota(real: Tensor, *, share: float, most: int) -> Tensor:
    """How many pieces of each text may be hidden: a share of all, [CLS] and [SEP] counted, at least one.

    real (B, T) bool   True where a piece stands -> (B,) int64
    """
    pieces = real.sum(dim=1)
    return (pieces * share).round().clamp(min=1, max=most).long() * (pieces > 0)


def hide_words(
    ids: Tensor,
    whole: Tensor,
    *,
    share: float = 0.15,
    most: int = MOST_HIDDEN,
    mask_id: int,
    vocabulary: int,
    special: Tensor,
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hide whole words at random: 80 % become [MASK], 10 % a random piece, 10 % stay as they are.

    ids     (B, T) int64   word-piece ids
    whole   (B, T) int64   the number of the word of each piece, NO_WORD at [CLS], [SEP] and padding
    special (K,) int64     ids that a random piece may not be
    ->
    seen    (B, T) int64   the ids with the hidden ones replaced
    slots   (B, most) int64   where a piece was hidden, 0 where fewer were
    answer  (B, most) int64   the piece that stood there, IGNORE where fewer were
    """
    hidden = choose_words(whole, quota(whole != NO_WORD, share=share, most=most), most=most, generator=generator)
    fate = torch.rand(ids.shape, generator=generator)
    pieces = torch.ones(vocabulary).index_fill(0, special, 0.0)
    random = torch.multinomial(pieces, ids.numel(), replacement=True, generator=generator).view(ids.shape)
    seen = torch.where(hidden & (fate < 0.8), mask_id, ids)
    seen = torch.where(hidden & (fate >= 0.9), random, seen)
    slots = hidden.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    taken = hidden.gather(1, slots)
    return seen, slots.masked_fill(~taken, 0), ids.gather(1, slots).masked_fill(~taken, IGNORE)


def choose_words(whole: Tensor, room: Tensor, *, most: int, generator: Generator) -> Tensor:
    """Choose whole words in random order, each only if all its pieces still fit.

    whole (B, T) int64   the number of the word of each piece, NO_WORD where none
    room  (B,) int64     how many pieces may be chosen, at most `most`
    -> hidden (B, T) bool   True where a piece is hidden
    """
    rows, slots = whole.shape
    number = whole.clamp(min=0)
    length = torch.zeros(rows, slots, dtype=torch.int64).scatter_add_(1, number, (whole != NO_WORD).long())
    order = torch.rand(rows, slots, generator=generator).masked_fill(length == 0, -1.0)  # (B, W) one draw a word
    chosen = torch.zeros(rows, slots, dtype=torch.bool)  # (B, W)
    room = room.clone()
    for _ in range(most):
        draw = order.masked_fill(length > room[:, None], -1.0)
        best, word = draw.max(dim=1)
        takes = best >= 0
        chosen[takes, word[takes]] = True
        order[takes, word[takes]] = -1.0
        room -= length.gather(1, word[:, None])[:, 0] * takes
    return chosen.gather(1, number) & (whole != NO_WORD)


def hide_patches(rows: int, patches: int, count: int, *, generator: Generator) -> Tensor:
    """Choose some patches of one level, all sets alike likely.

    -> (rows, count) int64   distinct indices inside the level, in rising order
    """
    return torch.rand(rows, patches, generator=generator).argsort(dim=1)[:, :count].sort(dim=1).values
