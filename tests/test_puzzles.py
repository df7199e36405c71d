import pytest
import torch

from fashionvl import puzzles
from fashionvl.patches.pyramid import KALEIDO, Pyramid


def cache(rows=6, dim=5):
    return torch.randn(rows, KALEIDO.vectors, dim, generator=torch.Generator().manual_seed(0)).half()


def untouched(patches, vectors, *levels):
    """True where every level but the named ones is as it was."""
    same = (patches == vectors[:, : KALEIDO.patches]).all(dim=2)
    rest = torch.ones(KALEIDO.patches, dtype=torch.bool)
    for level in levels:
        rest[KALEIDO.span(level)] = False
    return same[:, rest].all()


def test_the_label_undoes_the_jigsaw_bit_for_bit():
    vectors = cache(24)
    patches = puzzles.clean(KALEIDO, vectors)
    label = puzzles.shuffle(KALEIDO, patches, torch.arange(24))
    restored = torch.empty_like(patches[:, KALEIDO.span("jigsaw")])
    for row in range(24):
        restored[row, puzzles.PERMUTATIONS[label[row]]] = patches[row, KALEIDO.span("jigsaw")]
    assert torch.equal(restored, vectors[:, KALEIDO.span("jigsaw")])
    assert untouched(patches, vectors, "jigsaw")


def test_permutations_are_in_lexicographic_order():
    assert puzzles.PERMUTATIONS[0].tolist() == [0, 1, 2, 3]
    assert puzzles.PERMUTATIONS[1].tolist() == [0, 1, 3, 2]
    assert puzzles.PERMUTATIONS[23].tolist() == [3, 2, 1, 0]


def test_a_turn_shows_the_vector_of_that_turn_and_nought_the_upright_one():
    vectors = cache(4)
    patches = puzzles.clean(KALEIDO, vectors)
    label = puzzles.rotate(KALEIDO, patches, vectors, torch.arange(4))
    assert label.tolist() == [0, 1, 2, 3]
    assert torch.equal(patches[0, 0], vectors[0, 0])
    for k in (1, 2, 3):
        assert torch.equal(patches[k, 0], vectors[k, KALEIDO.turned][k - 1])
    assert untouched(patches, vectors, "rotation")


def test_camouflage_changes_the_one_patch_its_label_names():
    vectors = cache()
    patches, strangers, slot = (
        puzzles.clean(KALEIDO, vectors),
        torch.full((6, 5), 9.0).half(),
        torch.tensor([[0], [8], [4], [1], [2], [3]]),
    )
    label = puzzles.camouflage(KALEIDO, patches, strangers, slot)
    level = patches[:, KALEIDO.span("camouflage")]
    assert ((level == 9).all(dim=2).long().argmax(dim=1) == label).all()
    assert ((level != vectors[:, KALEIDO.span("camouflage")]).any(dim=2).sum(dim=1) == 1).all()
    assert untouched(patches, vectors, "camouflage")


def test_grey_swaps_the_grey_vectors_in_and_asks_for_the_clean_ones():
    vectors, slots = cache(), torch.tensor([[0, 15]]).repeat(6, 1)
    patches = puzzles.clean(KALEIDO, vectors)
    answer = puzzles.turn_grey(KALEIDO, patches, vectors, slots)
    assert torch.equal(answer, vectors[:, KALEIDO.span("grey")][:, [0, 15]])
    assert torch.equal(patches[:, KALEIDO.span("grey")][:, [0, 15]], vectors[:, KALEIDO.greyed][:, [0, 15]])
    assert untouched(patches, vectors, "grey")


def test_blank_is_exactly_zero_at_three_places_and_nowhere_else():
    vectors, slots = cache(), torch.tensor([[0, 7, 24]]).repeat(6, 1)
    patches = puzzles.clean(KALEIDO, vectors)
    answer = puzzles.blank(KALEIDO, patches, slots)
    assert torch.equal(answer, vectors[:, KALEIDO.span("blank")][:, [0, 7, 24]])
    zero = (patches[:, KALEIDO.span("blank")] == 0).all(dim=2)
    assert zero.nonzero()[:, 1].view(6, 3).tolist() == slots.tolist()
    assert untouched(patches, vectors, "blank")


def test_the_paper_changes_one_two_and_three_patches():
    assert puzzles.quota(KALEIDO) == {"camouflage": 1, "grey": 2, "blank": 3}
    assert puzzles.classes(KALEIDO) == {"rotation": 4, "jigsaw": 24, "camouflage": 9}


def test_a_fixed_scale_has_as_many_blanked_as_the_paper_changes_in_all():
    assert puzzles.quota(Pyramid((8,))) == {"blank": 6}
    assert puzzles.classes(Pyramid((8,))) == {}


def test_a_pyramid_changes_patches_of_the_levels_it_has():
    assert puzzles.quota(Pyramid((1, 2, 4))) == {"grey": 2}
    assert puzzles.quota(Pyramid((3, 6))) == {"camouflage": 1, "blank": 3}
    assert puzzles.classes(Pyramid((1, 3, 6))) == {"rotation": 4, "camouflage": 9}


def test_a_puzzle_is_played_wherever_its_level_stands():
    odd = Pyramid((2, 4, 6))  # jigsaw, grey, blank
    vectors = torch.randn(3, odd.vectors, 5)
    patches = puzzles.clean(odd, vectors)
    slots = torch.tensor([[0, 1, 35]] * 3)
    assert torch.equal(puzzles.blank(odd, patches, slots), vectors[:, [20, 21, 55]])
    assert (patches == 0).all(dim=2).nonzero()[:, 1].view(3, 3).tolist() == [[20, 21, 55]] * 3
    puzzles.turn_grey(odd, patches, vectors, torch.tensor([[2, 15]] * 3))
    assert torch.equal(patches[:, [6, 19]], vectors[:, [56 + 2, 56 + 15]])
    with pytest.raises(ValueError, match="do not play 'rotation'"):
        puzzles.rotate(odd, patches, vectors, torch.zeros(3, dtype=torch.int64))
