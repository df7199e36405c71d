import pytest
import torch

from fashionvl.patches.glimpses import look, places_in
from fashionvl.patches.pyramid import KALEIDO

SIDES = torch.tensor(KALEIDO.sides).expand(64, -1)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def pictures():
    ramp = torch.linspace(0, 255, 96)
    flat = torch.full((96, 96), 40.0)
    return torch.stack([ramp.expand(96, 96), ramp[:, None].expand(96, 96), flat])[None].round().to(torch.uint8)


def windows_of(*rows):
    return torch.tensor(rows)[None]


def test_the_whole_picture_at_its_own_size_is_the_picture(pictures):
    seen = look(pictures, windows_of([0.0, 0.0, 1.0, 1.0]), height=96, width=96)
    assert torch.equal(seen[:, 0], pictures)


def test_a_cell_shows_what_stands_there_and_nothing_else(pictures):
    for x1, x2, y1, y2, _ in KALEIDO.places()[5:14].tolist():  # the 3 x 3 level: 32 pixels a cell
        left, top = round(x1 * 96), round(y1 * 96)
        seen = look(pictures, windows_of([x1, y1, x2, y2]), height=32, width=32)[:, 0]
        there = pictures[:, :, top : top + 32, left : left + 32]
        assert (seen.int() - there.int()).abs().max() <= 1  # rounding of the window's corners


def test_a_mirrored_window_is_the_window_turned_left_to_right(pictures):
    seen = look(pictures, windows_of([0.2, 0.1, 0.7, 0.8], [0.7, 0.1, 0.2, 0.8]), height=24, width=24)[0]
    assert (seen[1].flip(-1).int() - seen[0].int()).abs().max() <= 1


def test_what_is_shrunk_is_averaged_and_not_skipped():
    stripes = (torch.arange(96) % 2 * 200).to(torch.uint8).expand(1, 3, 96, 96)
    seen = look(stripes, windows_of([0.0, 0.0, 1.0, 1.0]), height=16, width=16)[0, 0, :, 2:-2, 2:-2]
    assert (seen.int() - 100).abs().max() < 40


def test_without_jitter_windows_are_cells(generator):
    windows = places_in(SIDES, jitter=0.0, mirror=False, generator=generator)
    cells = windows * SIDES[..., None]  # whole numbers, if they are cells
    torch.testing.assert_close(cells, cells.round(), atol=1e-5, rtol=0)
    assert (windows[:, 0] - torch.tensor([0.0, 0.0, 1.0, 1.0])).abs().max() < 1e-6
    assert len(windows[:, 4].mul(5).round().unique(dim=0)) > 15  # of 25


def test_half_of_the_windows_are_mirrored_or_none(generator):
    wide = places_in(SIDES, jitter=0.1, mirror=True, generator=generator)
    assert 0.3 < (wide[..., 0] > wide[..., 2]).float().mean() < 0.7
    wide = places_in(SIDES, jitter=0.1, mirror=False, generator=generator)
    assert (wide[..., 0] < wide[..., 2]).all()


def test_windows_stay_near_their_cell(generator):
    windows = places_in(SIDES, jitter=0.1, mirror=False, generator=generator)
    size = (windows[..., 2:] - windows[..., :2]) * SIDES[..., None]
    assert size.min() > 0.7
    assert size.max() < 1.25
    assert windows.min() > -0.25
    assert windows.max() < 1.25
