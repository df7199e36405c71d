import torch

from fashionvl import puzzles
from fashionvl.patches.pyramid import GREYED, PATCHES, TURNED, VECTORS, span


def cache(rows=6, dim=5):
    return torch.randn(rows, VECTORS, dim, generator=torch.Generator().manual_seed(0)).half()


def untouched(patches, vectors, *levels):
    """True where every level but the named ones is as it was."""
    same = (patches == vectors[:, :PATCHES]).all(dim=2)
    rest = torch.ones(PATCHES, dtype=torch.bool)
    for level in levels:
        rest[span(level)] = False
    return same[:, rest].all()


def test_the_label_undoes_the_jigsaw_bit_for_bit():
    vectors = cache(24)
    patches = puzzles.clean(vectors)
    label = puzzles.shuffle(patches, torch.arange(24))
    restored = torch.empty_like(patches[:, span("jigsaw")])
    for row in range(24):
        restored[row, puzzles.PERMUTATIONS[label[row]]] = patches[row, span("jigsaw")]
    assert torch.equal(restored, vectors[:, span("jigsaw")])
    assert untouched(patches, vectors, "jigsaw")


def test_permutations_are_in_lexicographic_order():
    assert puzzles.PERMUTATIONS[0].tolist() == [0, 1, 2, 3]
    assert puzzles.PERMUTATIONS[1].tolist() == [0, 1, 3, 2]
    assert puzzles.PERMUTATIONS[23].tolist() == [3, 2, 1, 0]


def test_a_turn_shows_the_vector_of_that_turn_and_nought_the_upright_one():
    vectors = cache(4)
    patches = puzzles.clean(vectors)
    label = puzzles.rotate(patches, vectors, torch.arange(4))
    assert label.tolist() == [0, 1, 2, 3]
    assert torch.equal(patches[0, 0], vectors[0, 0])
    for k in (1, 2, 3):
        assert torch.equal(patches[k, 0], vectors[k, TURNED][k - 1])
    assert untouched(patches, vectors, "rotation")


def test_camouflage_changes_the_one_patch_its_label_names():
    vectors = cache()
    patches, strangers, slot = (
        puzzles.clean(vectors),
        torch.full((6, 5), 9.0).half(),
        torch.tensor([[0], [8], [4], [1], [2], [3]]),
    )
    label = puzzles.camouflage(patches, strangers, slot)
    level = patches[:, span("camouflage")]
    assert ((level == 9).all(dim=2).long().argmax(dim=1) == label).all()
    assert ((level != vectors[:, span("camouflage")]).any(dim=2).sum(dim=1) == 1).all()
    assert untouched(patches, vectors, "camouflage")


def test_grey_swaps_the_grey_vectors_in_and_asks_for_the_clean_ones():
    vectors, slots = cache(), torch.tensor([[0, 15]]).repeat(6, 1)
    patches = puzzles.clean(vectors)
    answer = puzzles.turn_grey(patches, vectors, slots)
    assert torch.equal(answer, vectors[:, span("grey")][:, [0, 15]])
    assert torch.equal(patches[:, span("grey")][:, [0, 15]], vectors[:, GREYED][:, [0, 15]])
    assert untouched(patches, vectors, "grey")


def test_blank_is_exactly_zero_at_three_places_and_nowhere_else():
    vectors, slots = cache(), torch.tensor([[0, 7, 24]]).repeat(6, 1)
    patches = puzzles.clean(vectors)
    answer = puzzles.blank(patches, slots)
    assert torch.equal(answer, vectors[:, span("blank")][:, [0, 7, 24]])
    zero = (patches[:, span("blank")] == 0).all(dim=2)
    assert zero.nonzero()[:, 1].view(6, 3).tolist() == slots.tolist()
    assert untouched(patches, vectors, "blank")
