import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fashionvl.catalogue.problems import Problem
from fashionvl.patches import foreground, regions
from fashionvl.patches.cutting import cut, patch_boxes
from fashionvl.patches.pyramid import Pyramid

PAPER = (250, 250, 248)
COAT, SKIRT, BADGE = (60, 60, 240, 200), (110, 201, 190, 380), (190, 90, 220, 120)  # right and bottom inclusive


@pytest.fixture
def dressed():
    """A coat with a badge over a skirt, on white."""
    picture = Image.new("RGB", (300, 400), PAPER)
    pen = ImageDraw.Draw(picture)
    for box, colour in ((COAT, "#8a1f2c"), (SKIRT, "#20408a"), (BADGE, "#f0c020")):
        pen.rectangle(box, fill=colour)
    return picture


def likeness(one, other):
    return regions.overlap([one, other])[0, 1]


def test_segments_are_the_foreground_and_its_parts(dressed):
    box = foreground.from_border(dressed, margin=0.05).box
    found = regions.segments(dressed, box, 24)
    assert found[0] == box
    for part in (COAT, SKIRT, BADGE):
        assert max(likeness(part, each) for each in found[1:]) > 0.75, part
    assert likeness(COAT, found[1]) > 0.75  # what stands out most
    assert len(found) <= 6
    for left, top, right, bottom in found:
        assert box[0] <= left < right <= box[2]
        assert box[1] <= top < bottom <= box[3]


def test_segments_are_the_same_every_time_no_two_alike_and_no_more_than_asked_for():
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((300, 400), Image.Resampling.BICUBIC)
    found = regions.segments(picture, (20, 30, 280, 390), 10)
    assert len(found) == 10
    assert found == regions.segments(picture, (20, 30, 280, 390), 10)
    alike = regions.overlap(found)
    assert alike[~np.eye(10, dtype=bool)].max() <= regions.ALIKE
    more = regions.segments(picture, (20, 30, 280, 390), 24)
    assert more[:10] == found


@pytest.mark.parametrize("size", [(300, 400), (5, 7), (1, 1), (900, 3)])
def test_a_picture_of_background_alone_has_no_segments(size):
    picture = Image.new("RGB", size, PAPER)
    assert regions.segments(picture, foreground.from_border(picture, margin=0.05).box, 24) == []


def test_without_scikit_image_it_is_said_what_to_install(dressed, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(Problem, match=r"need scikit-image: pip install -e '\.\[segments\]'"):
        regions.segments(dressed, COAT, 24)


def test_overlap_is_intersection_over_union():
    boxes = [(0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30), (0, 0, 10, 10)]
    assert regions.overlap(boxes) == pytest.approx(
        np.array([[1, 1 / 3, 0, 1], [1 / 3, 1, 0, 1 / 3], [0, 0, 1, 0], [1, 1 / 3, 0, 1]])
    )
    assert regions.apart(boxes, 9) == [0, 1, 2]
    assert regions.apart(boxes, 2) == [0, 1]
    assert regions.apart([], 2) == []


def test_places_are_those_of_the_pyramid():
    pyramid = Pyramid((1, 2, 4))
    boxes = [box for level in pyramid.levels for box in patch_boxes((0, 0, 64, 32), level)]
    assert torch.equal(torch.from_numpy(regions.places_of(boxes, (64, 32))), pyramid.places())


def test_crops_are_cut_as_patches_are(dressed):
    pyramid = Pyramid((2,))
    boxes = patch_boxes(COAT, pyramid.levels[0])
    assert np.array_equal(regions.crops(dressed, boxes, 16), cut(pyramid, dressed, COAT, 16))


def test_the_surest_come_first_and_what_a_surer_one_covers_is_left_out():
    boxes = np.array(
        [
            [0.1, 0.1, 0.5, 0.5],
            [0.11, 0.1, 0.5, 0.5],  # nearly the first, and surer
            [0.6, 0.6, 1.2, 0.9],  # leaves the picture
            [0.3, 0.3, 0.3, 0.8],  # no width
            [0.0, 0.0, 0.25, 0.125],
        ],
        dtype=np.float32,
    )
    sure = np.array([0.5, 0.9, 0.95, 0.99, 0.1], dtype=np.float32)
    found = regions.surest(boxes, sure, (100, 200), 9)
    assert list(found) == [2, 1, 4]
    assert found[2] == (60, 120, 100, 180)
    assert found[4] == (0, 0, 25, 25)
    assert list(regions.surest(boxes, sure, (100, 200), 1)) == [2]
    assert regions.surest(boxes[3:4], sure[3:4], (100, 200), 9) == {}


@pytest.mark.parametrize("shape", [(8, 8), (4, 6), (2, 2), (14, 14)])
def test_the_whole_map_and_its_quadrants_are_their_exact_means(shape):
    cells = torch.randn(*shape, 5, dtype=torch.float64)
    boxes = [box for level in Pyramid((1, 2)).levels for box in patch_boxes((0, 0, 40, 40), level)]
    places = torch.from_numpy(regions.places_of(boxes, (40, 40))).double()
    down, across = shape[0] // 2, shape[1] // 2
    quadrants = [cells[r : r + down, c : c + across] for r in (0, down) for c in (0, across)]
    wanted = torch.stack([part.mean(dim=(0, 1)) for part in (cells, *quadrants)])
    assert torch.allclose(regions.pooled(cells, places), wanted, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (5, 4)])
def test_a_whole_map_of_any_size_is_its_exact_mean(shape):
    cells = torch.randn(*shape, 3, dtype=torch.float64)
    whole = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(regions.pooled(cells, whole)[0], cells.mean(dim=(0, 1)), atol=1e-12)


def test_a_box_between_cells_is_read_bilinearly():
    down, across = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    places = torch.tensor([[0.2, 0.5, 0.3, 0.7, 0.12]])
    found = regions.pooled(torch.stack([across, down], dim=-1), places)[0]
    assert found.tolist() == pytest.approx([0.35 * 12 - 0.5, 0.5 * 10 - 0.5], abs=1e-5)
