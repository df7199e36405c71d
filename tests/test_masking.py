import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionvl.masking import IGNORE, choose_words, hide_patches, hide_words, quota
from fashionvl.words import NO_WORD


def text(lengths: list[int], slots: int) -> torch.Tensor:
    """The word numbers of a text with [CLS] and [SEP] around words of these lengths."""
    whole = [NO_WORD]
    for number, length in enumerate(lengths):
        whole += [number] * length
    return torch.tensor([*whole, NO_WORD][:slots] + [NO_WORD] * max(0, slots - len(whole) - 1))


def hide(ids, whole, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    return hide_words(
        ids,
        whole,
        **{"mask_id": 4, "vocabulary": 100, "special": torch.arange(5), "generator": generator, **changes},
    )


texts = st.lists(st.lists(st.integers(1, 5), min_size=0, max_size=25), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(texts, st.integers(0, 2**32))
def test_the_quota_is_never_exceeded_and_words_go_as_a_whole(lengths, seed):
    whole = torch.stack([text(row, 32) for row in lengths])
    room = quota(whole != NO_WORD, share=0.15, most=10)
    hidden = choose_words(whole, room, most=10, generator=torch.Generator().manual_seed(seed))
    assert (hidden.sum(dim=1) <= room).all()
    assert not hidden[whole == NO_WORD].any()
    for row in range(len(whole)):
        for word in range(25):
            pieces = hidden[row][whole[row] == word]
            assert pieces.all() or not pieces.any()


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(0, 2**32))
def test_answers_are_the_pieces_that_stood_at_the_slots(lengths, seed):
    whole = torch.stack([text(row, 32) for row in lengths])
    ids = torch.randint(5, 100, whole.shape, generator=torch.Generator().manual_seed(seed))
    seen, slots, answer = hide(ids, whole, seed)
    taken = answer != IGNORE
    assert (ids.gather(1, slots)[taken] == answer[taken]).all()
    assert (slots[~taken] == 0).all()
    changed = seen != ids
    assert (changed.sum(dim=1) <= taken.sum(dim=1)).all()
    assert not changed[whole == NO_WORD].any()


def test_one_piece_words_fill_the_quota_exactly():
    whole = text([1] * 30, 32)[None].repeat(200, 1)
    _, _, answer = hide(torch.full(whole.shape, 7), whole)
    assert ((answer != IGNORE).sum(dim=1) == round(30 * 0.15)).all()


def test_hidden_words_are_masked_replaced_and_kept_eight_to_one_to_one():
    whole = text([1] * 30, 32)[None].repeat(3000, 1)
    ids = torch.full(whole.shape, 7)
    seen, slots, answer = hide(ids, whole)
    fates = seen.gather(1, slots)[answer != IGNORE]
    assert abs((fates == 4).float().mean() - 0.8) < 0.02
    assert abs((fates == 7).float().mean() - 0.101) < 0.02
    assert fates.min() >= 4  # a random piece is never special


def test_every_word_is_hidden_alike_often():
    whole = text([1] * 20, 22)[None].repeat(6000, 1)
    room = torch.full((6000,), 3)
    often = choose_words(whole, room, most=10, generator=torch.Generator().manual_seed(1)).float().mean(dim=0)[1:21]
    assert (often - 3 / 20).abs().max() < 0.02


def test_patches_are_chosen_distinct_and_alike_often():
    chosen = hide_patches(8000, 25, 3, generator=torch.Generator().manual_seed(1))
    assert chosen.shape == (8000, 3)
    assert (chosen.diff(dim=1) > 0).all()
    often = torch.bincount(chosen.flatten(), minlength=25) / 8000
    assert (often - 3 / 25).abs().max() < 0.02


def test_the_same_seed_hides_the_same():
    whole = text([2, 1, 3, 1, 1, 2], 16)[None].repeat(9, 1)
    ids = torch.randint(5, 100, whole.shape)
    assert all(torch.equal(a, b) for a, b in zip(hide(ids, whole, 3), hide(ids, whole, 3), strict=True))
    assert not torch.equal(hide(ids, whole, 3)[0], hide(ids, whole, 4)[0])
