"""Laws of the alignment generator (AAG)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionvl import alignment
from fashionvl.alignment import NONE, RASTER, Aligned, align, best_patches, shared_words, slots_of, spread

BOX = torch.tensor([[10.0, 20.0, 110.0, 220.0]])


def hot_at(row: int, column: int, size: int = 12) -> torch.Tensor:
    """A map that is hot in one cell: (size, size)."""
    heat = torch.full((size, size), 1e-3)
    heat[row, column] = 1
    return heat / heat.sum()


def aligned(said, heat, text, *, sides=(3, 4, 5), each=False, seen=BOX, grid=BOX, tau=0.5):
    return align([said], [heat], [text], seen=seen, grid=grid, sides=sides, tau=tau, each=each)


def test_only_words_that_are_said_and_written_are_shared():
    said = ["Wide", "Collar", "Fox", "Fur", "Surcoat", "Girl", "Trimmed"]
    text = ["winter", "faux", "fur", "collar", "coats", "for", "girl"]
    assert shared_words(said, text, each=False) == {3: [1], 2: [3], 6: [5]}  # the example of the paper's figure 4


def test_stop_words_and_punctuation_are_never_shared():
    text = ["with", "a", "-", "fur", "!", "the", "100"]
    assert shared_words(text, text, each=True) == {3: [3], 6: [6]}


def test_a_word_that_is_said_twice_belongs_to_its_first_place_and_means_both_maps():
    said, text = ["fur", "red", "fur"], ["red", "fur", "on", "fur"]
    assert shared_words(said, text, each=False) == {1: [0, 2], 0: [1]}
    heat = torch.stack([hot_at(0, 0), hot_at(5, 5), hot_at(11, 11)])
    found = aligned(said, heat, text)
    fur = found.map[found.word.tolist().index(1)]
    assert torch.allclose(fur, (heat[0] + heat[2]) / 2)


def test_a_text_that_is_told_gives_every_occurrence_its_own_map():
    text = ["fur", "on", "fur", "fur"]
    assert shared_words(text[:3], text, each=True) == {0: [0], 2: [2]}


def test_the_hottest_place_names_the_patch():
    for row, column in ((0, 0), (3, 7), (11, 11), (6, 2)):
        found = aligned(["fur"], hot_at(row, column)[None], ["fur"], sides=(3, 4, 12))
        assert found.patch[0].tolist() == [row * side // 12 * side + column * side // 12 for side in (3, 4, 12)]


def test_patches_at_other_boxes_are_found_where_they_lie_in_the_picture():
    whole = torch.tensor([[0.0, 0.0, 120.0, 240.0]])
    found = aligned(["fur"], hot_at(0, 0)[None], ["fur"], sides=(12,), grid=whole)
    assert found.patch.tolist() == [[12 * 1 + 1]]  # the cell spans 10..18 by 20..37; patches are 10 by 20
    left_half = torch.tensor([[10.0, 20.0, 60.0, 220.0]])
    assert aligned(["fur"], hot_at(11, 5)[None], ["fur"], sides=(3,), grid=left_half).patch.tolist() == [[8]]


def test_a_map_that_misses_the_grid_gives_no_pair():
    elsewhere = torch.tensor([[300.0, 300.0, 400.0, 400.0]])
    found = aligned(["fur"], hot_at(0, 0)[None], ["fur"], grid=elsewhere)
    assert found.patch.tolist() == [[NONE] * 3]
    assert found.score.tolist() == [[0.0] * 3]


def test_nothing_shared_is_nothing_found():
    found = aligned(["fox"], hot_at(0, 0)[None], ["fur"])
    assert found.row.shape == found.word.shape == (0,)
    assert found.patch.shape == found.score.shape == (0, 3)


def test_a_tie_goes_to_the_hotter_patch_then_to_the_first():
    hot = torch.zeros(2, RASTER, RASTER)
    hot[:, :3, :3] = 1.0
    hot[:, -3:, -3:] = 1.0
    hot[1, -1, -1] = 1.1
    patch, score = best_patches(hot, [3], tau=0.5)
    assert patch.ravel().tolist() == [0, 8]
    assert score.ravel().tolist() == pytest.approx([0.5, 0.5])


def test_the_region_is_what_is_hot_enough_and_the_score_its_share():
    hot = torch.zeros(1, RASTER, RASTER)
    hot[0, :20, :20] = 0.4  # a whole patch of the 3x3 grid, but too cool
    hot[0, 30:50, 40:45] = 1.0  # half of it in the second row, half in the third
    hot[0, 39, 40:45] = 1.1
    patch, score = best_patches(hot, [3], tau=0.5)
    assert (patch.item(), score.item()) == (5, pytest.approx(0.5))
    assert best_patches(hot, [3], tau=0.3)[0].item() == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(3, 4, 5), (8,), (7,), (1, 2, 13)]), st.floats(0.05, 1.0))
def test_the_chosen_patch_is_never_worse_than_another(seed, sides, tau):
    draw = torch.Generator().manual_seed(seed)
    hot = spread(torch.rand(4, 7, 7, generator=draw) ** 4, BOX.expand(4, -1), BOX.expand(4, -1))
    patch, score = best_patches(hot, sides, tau=tau)
    region = (hot >= tau * hot.amax(dim=(1, 2), keepdim=True)).double()
    for at, side in enumerate(sides):
        lines = alignment._lines(side, RASTER)
        shares = (lines @ region @ lines.T).flatten(1) / region.sum(dim=(1, 2))[:, None]
        assert torch.allclose(shares.sum(dim=1), torch.ones(4).double())
        assert torch.allclose(shares.gather(1, patch[:, at : at + 1])[:, 0], shares.amax(dim=1), atol=2e-5)
        assert torch.allclose(score[:, at].double(), shares.amax(dim=1), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_a_spread_map_sums_to_one_and_keeps_what_is_even(seed):
    draw = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(3, 2, generator=draw) * 50, torch.rand(3, 2, generator=draw) * 50 + 10
    seen = torch.cat([corner, corner + size], dim=1)
    assert torch.allclose(spread(torch.rand(3, 5, 5, generator=draw), seen, seen).sum(dim=(1, 2)), torch.ones(3))
    assert torch.allclose(spread(torch.ones(3, 5, 5), seen, seen), torch.tensor(1 / RASTER**2))


def test_many_pictures_at_once_are_as_each_by_itself(monkeypatch):
    draw = torch.Generator().manual_seed(1)
    texts = [["fur", "red", "hem"], ["hem"], ["bow", "fur"]]
    said = [["hem", "fur"], [], ["fur", "bow", "red"]]
    heat = [torch.rand(len(words), 7, 7, generator=draw) for words in said]
    boxes = torch.tensor([[0.0, 0, 50, 90], [5, 5, 70, 80], [0, 0, 33, 44]])
    monkeypatch.setattr(alignment, "AT_ONCE", 2)
    found = align(said, heat, texts, seen=boxes, grid=boxes, sides=(3, 5), tau=0.5, each=False)
    assert found.row.tolist() == [0, 0, 2, 2]
    for row in (0, 2):
        alone = aligned(said[row], heat[row], texts[row], sides=(3, 5), seen=boxes[[row]], grid=boxes[[row]])
        mine = found.row == row
        assert torch.equal(found.word[mine], alone.word)
        assert torch.equal(found.patch[mine], alone.patch)


def test_slots_are_those_of_the_whole_word():
    whole = torch.tensor([[-1, 0, 1, 1, 1, 2, -1, -1]] * 3)
    first, end = slots_of(whole, torch.tensor([0, 1, 2]))
    assert list(zip(first.tolist(), end.tolist(), strict=True)) == [(1, 2), (2, 5), (5, 6)]


def test_pairs_come_back_padded_by_picture():
    picture = torch.tensor([2, 0, 2, 2])
    pairs = torch.arange(12).view(4, 3)
    some = Aligned.of_rows(picture, pairs, pictures=4)
    padded = some.of(torch.tensor([1, 2, 0, 2]))
    assert padded.shape == (4, 3, 3)
    assert padded[1].tolist() == padded[3].tolist() == pairs[[0, 2, 3]].tolist()
    assert padded[2].tolist() == [pairs[1].tolist(), [NONE] * 3, [NONE] * 3]
    assert (padded[0] == NONE).all()
    assert some.of(torch.tensor([1, 3])).shape == (2, 0, 3)
    assert Aligned.none(4).of(torch.tensor([0, 3])).shape == (2, 0, 3)
    assert padded.dtype == torch.int64
    assert (some.most, Aligned.none(4).most) == (3, 0)
