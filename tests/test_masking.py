import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fashionvl.masking import IGNORE, WORD_SIDE, Hidden, Luck, Quota, draw, hide, room_for, spell
from fashionvl.words import NO_WORD

PAPER = (Quota(2, 9, 1), Quota(3, 16, 2), Quota(4, 25, 3))  # levels 3, 4 and 5 of the kaleido
SPECIAL = torch.arange(5)
NONE = (-1, -1, -1)
seeds = st.integers(0, 2**32)
texts = st.lists(st.lists(st.integers(1, 5), min_size=0, max_size=25), min_size=1, max_size=6)


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text(lengths: list[int], slots: int) -> Tensor:
    """The word numbers of a text with [CLS] and [SEP] around words of these lengths."""
    whole = [NO_WORD]
    for number, length in enumerate(lengths):
        whole += [number] * length
    return torch.tensor([*whole, NO_WORD][:slots] + [NO_WORD] * max(0, slots - len(whole) - 1))


def luck_of(whole: Tensor, quotas=PAPER, *, pairs=0, seed=0) -> Luck:
    return draw(*whole.shape, quotas, pairs=pairs, vocabulary=100, special=SPECIAL, generator=chance(seed))


def hidden_of(whole: Tensor, pairs=None, quotas=PAPER, *, seed=0, room=None) -> Hidden:
    """What is hidden in texts with pairs (B, M, 3), or the same (M, 3) in every text, or none."""
    pairs = torch.empty(0, 3, dtype=torch.int64) if pairs is None else torch.as_tensor(pairs)
    pairs = pairs.expand(len(whole), -1, -1) if pairs.ndim == 2 else pairs
    room = room_for(whole != NO_WORD, share=0.15) if room is None else torch.full((len(whole),), room)
    return hide(whole, pairs, luck_of(whole, quotas, pairs=pairs.shape[1], seed=seed), room=room, quotas=quotas)


def scene(rows: int, pairs: int, *, crowd: int, seed: int) -> tuple[Tensor, Tensor]:
    """Texts of any length and pairs of any kind.

    crowd  the pairs meet in this many words and this many patches a level
    -> whole (rows, 64), pairs (rows, pairs, 3)   some name a word, a level or nothing that counts
    """
    generator = chance(seed)
    lengths = torch.multinomial(torch.tensor([0, 8.0, 4, 2, 1]), rows * 64, replacement=True, generator=generator)
    words = torch.randint(64, (rows,), generator=generator).tolist()
    whole = torch.stack([text(of[:n], 64) for of, n in zip(lengths.view(rows, 64).tolist(), words, strict=True)])
    word = torch.randint(crowd, (rows, pairs), generator=generator)
    level = torch.randint(1, 6, (rows, pairs), generator=generator)
    patch = torch.randint(crowd, (rows, pairs), generator=generator) % (level + 1).square()
    missing = torch.rand(rows, pairs, generator=generator) < 0.2
    return whole, torch.stack([word, level, patch], dim=2).masked_fill(missing[:, :, None], -1)


def slowly(whole: Tensor, pairs: Tensor, luck: Luck, room: int, quotas=PAPER) -> tuple[set[int], dict[int, set[int]]]:
    """AGM of one row as one would write it down (specification 3.3), but it never has to relax: a word is left alone
    where hiding it would leave a level too few patches.

    whole (T,), pairs (M, 3), luck of one row -> the hidden words, the hidden patches of each level
    """
    size = {word: int((whole == word).sum()) for word in whole.unique().tolist() if word != NO_WORD}
    quota = {q.level: q for q in quotas}
    turns = [(*pairs[k].tolist(), bool(luck.side[0, k] < WORD_SIDE)) for k in luck.order[0].argsort(descending=True)]
    turns = [turn for turn in turns if turn[0] in size and turn[1] in quota]
    of_word = {word: {(n, p) for w, n, p, _ in turns if w == word} for word in size}
    words, keep_words, keep = set(), set(), set()
    patches = {n: set() for n in quota}

    def may_hide(word):
        fits = sum(size[w] for w in words) + size[word] <= room
        kept = [n for n, _ in keep | of_word[word]]
        enough = all(q.patches - kept.count(q.level) >= q.count for q in quotas)
        return fits and enough and word not in words | keep_words

    for w, n, p, word_first in turns:
        can_hide_patch = p not in patches[n] and (n, p) not in keep and len(patches[n]) < quota[n].count
        if may_hide(w) and (word_first or not can_hide_patch):
            words.add(w)
            keep |= of_word[w]
        elif can_hide_patch:
            patches[n].add(p)
            keep_words |= {word for word in size if (n, p) in of_word[word]}
    for w in sorted(size, key=lambda w: (len(of_word[w]) > 0, -luck.words[0, w])):
        if may_hide(w):
            words.add(w)
            keep |= of_word[w]
    paired = set().union(*of_word.values())
    for q, draws in zip(quotas, luck.patches, strict=True):
        n = q.level
        free = [p for p in range(q.patches) if p not in patches[n] and (n, p) not in keep]
        alone_first = sorted(free, key=[((n, p) in paired, float(draws[0, p])) for p in range(q.patches)].__getitem__)
        patches[n] |= set(alone_first[: q.count - len(patches[n])])
    return words, patches


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 30), st.sampled_from([3, 8, 25]))
def test_the_batch_is_hidden_as_row_by_row_with_sets(seed, pairs, crowd):
    whole, pairs = scene(16, pairs, crowd=crowd, seed=seed)
    luck = luck_of(whole, pairs=pairs.shape[1], seed=seed)
    room = room_for(whole != NO_WORD, share=0.15)
    hidden = hide(whole, pairs, luck, room=room, quotas=PAPER)
    for row in range(16):
        words, patches = slowly(whole[row], pairs[row], luck[row : row + 1], int(room[row]))
        assert set(whole[row][hidden.words[row]].tolist()) == words
        for quota, chosen in zip(PAPER, hidden.patches, strict=True):
            assert chosen[row].tolist() == sorted(patches[quota.level])


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 40), st.sampled_from([2, 5, 9, 25]), st.sampled_from([0.15, 0.5]))
def test_quotas_are_kept_words_go_as_a_whole_and_never_both_sides_of_a_pair(seed, pairs, crowd, share):
    whole, pairs = scene(100, pairs, crowd=crowd, seed=seed)
    room = room_for(whole != NO_WORD, share=share)
    luck = luck_of(whole, pairs=pairs.shape[1], seed=seed)
    hidden = hide(whole, pairs, luck, room=room, quotas=PAPER)
    assert (hidden.words.sum(dim=1) <= room).all()
    assert not hidden.words[whole == NO_WORD].any()
    same_word = (whole[:, :, None] == whole[:, None]) & (whole != NO_WORD)[:, :, None]  # (B, T, T)
    assert (hidden.words[:, :, None] == hidden.words[:, None])[same_word].all()
    for quota, chosen in zip(PAPER, hidden.patches, strict=True):
        assert chosen.shape == (100, quota.count)
        assert (chosen.diff(dim=1) > 0).all()
        assert chosen.min() >= 0
        assert chosen.max() < quota.patches
        word, level, patch = pairs.unbind(dim=2)
        word_hidden = ((whole[:, None] == word[:, :, None]) & hidden.words[:, None]).any(dim=2)  # (B, M)
        patch_hidden = (chosen[:, None] == patch[:, :, None]).any(dim=2)
        assert not (word_hidden & patch_hidden & (level == quota.level)).any()


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 24))
def test_a_row_does_not_look_at_the_pairs_of_other_rows(seed, pairs):
    whole, pairs = scene(12, pairs, crowd=9, seed=seed)
    others = scene(12, pairs.shape[1], crowd=9, seed=seed + 1)[1]
    mine = torch.arange(12) % 2 == 0
    a, b = (hidden_of(whole, p, seed=seed) for p in (pairs, torch.where(mine[:, None, None], pairs, others)))
    assert torch.equal(a.words[mine], b.words[mine])
    assert all(torch.equal(x[mine], y[mine]) for x, y in zip(a.patches, b.patches, strict=True))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(0, 24), st.integers(0, 9))
def test_empty_columns_and_luck_for_more_pairs_change_nothing(seed, pairs, more):
    whole, pairs = scene(12, pairs, crowd=9, seed=seed)
    wider = torch.cat([pairs, torch.full((12, more, 3), -1)], dim=1)
    luck, room = luck_of(whole, pairs=wider.shape[1], seed=seed), room_for(whole != NO_WORD, share=0.15)
    a, b, c = (
        hidden_of(whole, pairs, seed=seed),
        *(hide(whole, p, luck, room=room, quotas=PAPER) for p in (pairs, wider)),
    )
    assert torch.equal(a.words, b.words)
    assert torch.equal(a.words, c.words)
    assert all(map(torch.equal, a.patches, b.patches))
    assert all(map(torch.equal, a.patches, c.patches))


def test_a_part_of_the_rows_is_hidden_as_in_the_whole():
    whole, pairs = scene(20, 12, crowd=9, seed=1)
    luck, room = luck_of(whole, pairs=12), room_for(whole != NO_WORD, share=0.15)
    part = slice(5, 9)
    everything = hide(whole, pairs, luck, room=room, quotas=PAPER)
    some = hide(whole[part], pairs[part], luck[part], room=room[part], quotas=PAPER)
    assert torch.equal(everything.words[part], some.words)
    assert all(torch.equal(a[part], b) for a, b in zip(everything.patches, some.patches, strict=True))
    assert torch.equal(luck.pieces[part], luck[part].pieces)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([0, 7]))
def test_without_pairs_words_and_patches_go_by_their_own_draws(seed, pairs):
    whole, _ = scene(12, 0, crowd=1, seed=seed)
    luck, room = luck_of(whole, pairs=pairs, seed=seed), room_for(whole != NO_WORD, share=0.15)
    hidden = hide(whole, torch.full((12, pairs, 3), -1), luck, room=room, quotas=PAPER)
    for quota, draws, chosen in zip(PAPER, luck.patches, hidden.patches, strict=True):
        assert torch.equal(chosen, draws.topk(quota.count, largest=False).indices.sort(dim=1).values)
    for row in range(12):
        left, words = int(room[row]), set()
        for word in luck.words[row].argsort(descending=True).tolist():
            size = int((whole[row] == word).sum())
            if 0 < size <= left:
                words.add(word)
                left -= size
        assert set(whole[row][hidden.words[row]].tolist()) == words


def test_without_pairs_every_word_and_every_patch_is_hidden_alike_often():
    whole = text([1] * 20, 22)[None].repeat(8000, 1)
    hidden = hidden_of(whole, room=3, seed=1)
    assert (hidden.words.float().mean(dim=0)[1:21] - 3 / 20).abs().max() < 0.02
    for quota, chosen in zip(PAPER, hidden.patches, strict=True):
        often = torch.bincount(chosen.flatten(), minlength=quota.patches) / 8000
        assert (often - quota.count / quota.patches).abs().max() < 0.02


def test_words_and_patches_of_a_pair_are_hidden_more_often_than_others():
    whole = text([1] * 40, 64)[None].repeat(4000, 1)
    pairs = [(word, level, word) for word in (3, 5, 8) for level in (2, 3, 4)]
    hidden = hidden_of(whole, pairs)
    of_word = hidden.words[:, 1:41].float().mean(dim=0)
    paired = torch.zeros(40, dtype=torch.bool)
    paired[[3, 5, 8]] = True
    assert of_word[paired].min() > 2 * of_word[~paired].max()
    for quota, chosen in zip(PAPER, hidden.patches, strict=True):
        often = torch.bincount(chosen.flatten(), minlength=quota.patches) / 4000
        paired = torch.zeros(quota.patches, dtype=torch.bool)
        paired[[3, 5, 8]] = True
        assert often[paired].min() > 2 * often[~paired].max()


def test_of_one_pair_one_side_is_hidden_each_half_of_the_time():
    whole = text([1, 2, 1], 8)[None].repeat(4000, 1)
    hidden = hidden_of(whole, [(1, 3, 7)], room=2)
    word, patch = hidden.words[:, 2], (hidden.patches[1] == 7).any(dim=1)
    assert (word ^ patch).all()
    assert abs(word.float().mean() - WORD_SIDE) < 0.03


def test_the_other_side_is_hidden_where_the_word_does_not_fit_or_the_level_hides_nothing():
    whole = text([1, 3, 1], 8)[None].repeat(50, 1)
    assert (hidden_of(whole, [(1, 3, 7)], room=2).patches[1] == 7).any(dim=1).all()
    nothing = hidden_of(whole, [(1, 3, 7)], [Quota(3, 16, 0)], room=3)
    assert nothing.words[:, 2:5].all()
    assert nothing.patches[0].shape == (50, 0)


def test_a_word_whose_patches_are_needed_for_the_quota_is_left_alone():
    whole = text([1] * 12, 16)[None].repeat(200, 1)
    everywhere = [(5, 2, patch) for patch in range(9)]
    assert not hidden_of(whole, everywhere, room=10).words[:, 6].any()
    nearly = hidden_of(whole, everywhere[:8], room=10)
    hit = nearly.words[:, 6]
    assert hit.any()
    assert (nearly.patches[0][hit] == 8).all()


def test_two_words_may_share_a_patch_and_are_both_seen_where_it_is_hidden():
    whole = text([1, 1, 1], 8)[None].repeat(400, 1)
    hidden = hidden_of(whole, [(0, 4, 6), (2, 4, 6)], room=3)
    patch = (hidden.patches[2] == 6).any(dim=1)
    assert patch.any()
    assert not hidden.words[patch][:, [1, 3]].any()
    assert hidden.words[~patch][:, [1, 3]].any(dim=1).all()


def test_pairs_of_words_cut_off_and_of_other_levels_do_not_count():
    whole = text([1, 2, 1, 1, 3], 16)[None].repeat(50, 1)
    without, elsewhere = (
        hidden_of(whole),
        hidden_of(whole, [(5, 3, 1), (99, 2, 0), (1, 0, 0), (2, 1, 3), (-1, 3, 1), NONE]),
    )
    assert torch.equal(without.words, elsewhere.words)
    assert all(map(torch.equal, without.patches, elsewhere.patches))


@pytest.mark.parametrize("patch", [9, -1])
def test_a_patch_that_its_level_does_not_have_is_an_error(patch):
    with pytest.raises(ValueError, match="level 2"):
        hidden_of(text([1, 1], 8)[None], [(0, 2, patch)])


def test_the_same_seed_hides_the_same_and_another_does_not():
    whole, pairs = scene(9, 12, crowd=9, seed=3)
    a, b, c = hidden_of(whole, pairs, seed=3), hidden_of(whole, pairs, seed=3), hidden_of(whole, pairs, seed=4)
    assert torch.equal(a.words, b.words)
    assert all(map(torch.equal, a.patches, b.patches))
    assert not torch.equal(a.words, c.words)


def test_one_piece_words_fill_the_room_exactly():
    whole = text([1] * 30, 32)[None].repeat(200, 1)
    assert (hidden_of(whole).words.sum(dim=1) == round(30 * 0.15)).all()


@settings(max_examples=60, deadline=None)
@given(texts, seeds)
def test_answers_are_the_pieces_that_stood_at_the_slots(lengths, seed):
    whole = torch.stack([text(row, 32) for row in lengths])
    ids = torch.randint(5, 100, whole.shape, generator=chance(seed))
    hidden = hidden_of(whole, seed=seed).words
    seen, slots, answer = spell(ids, hidden, luck_of(whole, seed=seed), mask_id=4)
    taken = answer != IGNORE
    assert torch.equal(taken.sum(dim=1), hidden.sum(dim=1))
    assert hidden.gather(1, slots)[taken].all()
    assert (ids.gather(1, slots)[taken] == answer[taken]).all()
    assert (slots[~taken] == 0).all()
    assert not (seen != ids)[~hidden].any()


def test_hidden_words_are_masked_replaced_and_kept_eight_to_one_to_one():
    whole = text([1] * 30, 32)[None].repeat(3000, 1)
    ids = torch.full(whole.shape, 7)
    seen, slots, answer = spell(ids, hidden_of(whole).words, luck_of(whole), mask_id=4)
    fates = seen.gather(1, slots)[answer != IGNORE]
    assert abs((fates == 4).float().mean() - 0.8) < 0.02
    assert abs((fates == 7).float().mean() - 0.101) < 0.02
    assert fates.min() >= 4  # a random piece is never special
