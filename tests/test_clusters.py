import pytest
import torch
import torch.nn.functional as F

from fashionvl import clusters, dropping

SIDE, DIM = 14, 48  # of the grid; numbers of a patch


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(11)


def textured(rows, generator, kinds=12, noise=0.7):
    """Pictures of a few textures, each on a random part of the patches -> (B, P, D)"""
    texture = torch.randn(rows, kinds, DIM, generator=generator)
    kind = torch.randint(0, kinds, (rows, SIDE * SIDE), generator=generator)
    there = texture.gather(1, kind[:, :, None].expand(-1, -1, DIM))
    return there + noise * torch.rand(1, SIDE * SIDE, 1, generator=generator) * torch.randn(
        there.shape, generator=generator
    )


def close_of(pixels, generator, share=0.03):
    luck = clusters.draw(len(pixels), pixels.shape[1], generator=generator)
    anchor = clusters.anchors(luck.anchor, share=share)
    return clusters.closeness(clusters.alike_in_pixels(pixels, anchor), anchor)


def test_the_anchors_are_as_many_as_the_paper_has(generator):
    draws = torch.rand(4, 196, generator=generator)
    assert clusters.anchors(draws, share=0.03).shape == (4, 6)
    assert clusters.anchors(draws, share=0.05).shape == (4, 10)
    assert clusters.anchors(draws[:, :9], share=0.01).shape == (4, 1)


def test_anchors_are_distinct_and_differ_between_pictures(generator):
    rows = clusters.anchors(torch.rand(50, 196, generator=generator), share=0.05)
    assert all(len(row.unique()) == 10 for row in rows)
    assert len({tuple(sorted(row.tolist())) for row in rows}) == 50


def test_a_cluster_goes_as_a_whole(generator):
    kinds = torch.randn(3, DIM, generator=generator)
    kind = torch.arange(3).repeat_interleave(4)  # 12 patches of 3 kinds
    hidden = clusters.hide(close_of(kinds[kind][None], generator, share=1 / 12), threshold=0.9)
    assert hidden.sum() == 4
    assert len(kind[hidden[0]].unique()) == 1


def test_a_standardised_patch_has_mean_0_and_variance_1_over_all_its_numbers(generator):
    patches = clusters.standardised(3 + 5 * torch.randn(2, 9, DIM, generator=generator))
    assert patches.mean(dim=2).abs().max() < 1e-5
    assert (patches.var(dim=2) - 1).abs().max() < 1e-4


def test_likeness_of_pixels_is_the_cosine_of_standardised_patches(generator):
    pixels = 2 + textured(3, generator)
    anchor = clusters.anchors(torch.rand(3, 196, generator=generator), share=0.05)
    unit = F.normalize(clusters.standardised(pixels), dim=2)
    whole = unit @ unit.transpose(1, 2)
    expected = whole.gather(1, anchor[:, :, None].expand(-1, -1, 196))
    assert torch.allclose(clusters.alike_in_pixels(pixels, anchor), expected, atol=1e-5)


def test_flat_patches_are_alike_as_far_as_they_are_equally_bright():
    white, grey, black, noisy = 1.9, 1.0, -1.9, 1.9
    pixels = torch.tensor([white, white, grey, black, noisy])[None, :, None].repeat(1, 1, DIM)
    pixels[0, 4] += 0.01 * torch.arange(DIM).remainder(2)  # less than a grey level
    alike = clusters.alike_in_pixels(pixels, torch.tensor([[0]]))[0, 0]
    assert alike[0] == alike[1] == 1
    assert alike[4] > 0.99
    assert 0 < alike[2] < 0.6
    assert alike[3] == -1


def test_a_flat_patch_is_neither_like_nor_unlike_a_textured_one(generator):
    pixels = torch.randn(1, 4, DIM, generator=generator)
    pixels[0, 0] = 1.5
    alike = clusters.alike_in_pixels(pixels, torch.tensor([[0, 1]]))[0]
    assert alike[0].tolist() == [1, 0, 0, 0]
    assert alike[1, 0] == 0
    assert alike.isfinite().all()


def test_an_anchor_is_hidden_whatever_it_is_like():
    pixels = torch.zeros(1, 4, DIM)
    close = clusters.closeness(clusters.alike_in_pixels(pixels, torch.tensor([[2]])), torch.tensor([[2]]))
    assert clusters.hide(close, threshold=1.0).tolist() == [[False, False, True, False]]


def test_with_threshold_1_as_many_are_seen_as_by_flip(generator):
    close, drop = close_of(textured(32, generator), generator), torch.rand(32, 196, generator=generator)
    keep, valid = dropping.keep_visible(clusters.hide(close, threshold=1.0), drop, least=0.5)
    assert keep.shape == dropping.keep_random(drop, least=0.5).shape
    assert valid.all()


@pytest.mark.parametrize(("target", "least"), [(0.5, 0.0), (0.5, 0.3), (0.3, 0.0), (0.3, 0.3), (0.5, 0.5)])
def test_the_search_hits_its_target_on_textured_pictures(generator, target, least):
    close = torch.cat([close_of(textured(64, generator), generator) for _ in range(3)])
    found = clusters.search(close, target=target, least=least)
    assert found.ratio == pytest.approx(target, abs=0.01)
    hidden = clusters.hide(close, threshold=found.threshold)
    if least < target:  # it is counted as the tower will see it
        keep, valid = dropping.keep_visible(hidden, torch.rand(close.shape, generator=generator), least=least)
        assert dropping.hidden_share(keep, valid, rows=len(keep), patches=196).mean() == pytest.approx(
            found.ratio, abs=1e-6
        )
    else:
        assert hidden.float().mean() == pytest.approx(found.ratio, abs=1e-6)


def test_on_flat_pictures_the_search_reports_the_nearest_it_can(generator):
    close = close_of(torch.full((64, 196, DIM), 1.2), generator)
    few, all_but_one = 6 / 196, 195 / 196
    assert clusters.search(close, target=0.5).ratio == pytest.approx(few)
    assert clusters.search(close, target=0.6).ratio == pytest.approx(all_but_one)
    assert clusters.search(close, target=0.5, least=0.3).ratio == pytest.approx(1 - 137 / 196)
    found = clusters.search(close, target=0.9, shown=20)
    assert found.ratio == pytest.approx(176 / 196)
    assert clusters.hide(close, threshold=found.threshold).all()


def test_vectors_weigh_more_and_more(generator):
    pixels, vectors = torch.rand(2, 3, 5, generator=generator), torch.rand(2, 3, 5, generator=generator)
    assert torch.equal(clusters.mixed(pixels, vectors, progress=0.0), pixels)
    assert torch.equal(clusters.mixed(pixels, vectors, progress=1.0), vectors)
    quarter = clusters.mixed(pixels, vectors, progress=0.5, power=2.0)
    assert torch.allclose(quarter, 0.75 * pixels + 0.25 * vectors)


def test_what_the_model_has_learned_hides_without_gradient(generator):
    vectors = torch.randn(2, 9, 8, generator=generator, requires_grad=True)
    anchor = torch.tensor([[0], [4]])
    alike = clusters.cosines(vectors, anchor)
    assert not clusters.mixed(alike, alike, progress=0.5).requires_grad
    assert torch.allclose(alike[0, 0], F.cosine_similarity(vectors[0, :1], vectors[0], dim=1), atol=1e-6)


def test_half_of_the_clusters_of_k_means_goes_as_a_whole(generator):
    kinds = torch.randn(4, DIM, generator=generator)
    kind = torch.arange(64).remainder(4)
    luck = clusters.draw(200, 64, generator=generator)
    hidden = clusters.hide_half(kinds[kind].expand(200, -1, -1), luck, clusters=64)  # enough to find all four
    whole = hidden.view(200, 16, 4)
    assert (whole.all(dim=1) | ~whole.any(dim=1)).float().mean() > 0.99
    assert 0.4 < hidden.float().mean() < 0.6
    assert len(hidden.unique(dim=0)) > 5


def test_k_means_of_a_flat_picture_hides_all_or_nothing_by_chance(generator):
    luck = clusters.draw(100, 16, generator=generator)
    hidden = clusters.hide_half(torch.full((100, 16, DIM), 0.5), luck, clusters=4)
    assert (hidden.all(dim=1) | ~hidden.any(dim=1)).all()
    assert 0.3 < hidden.float().mean() < 0.7
    valid = dropping.keep_visible(hidden, luck.drop, least=0.0)[1]
    assert (valid.sum(dim=1) >= 1).all()
