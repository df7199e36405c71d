import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from fashionvl.patches import foreground


def studio(size=(171, 256), *, background=(245, 244, 240), boxes=((40, 60, 130, 200),), colour=(200, 30, 40)):
    """A picture with slightly noisy background and a drawn object (right and bottom exclusive)."""
    picture = Image.new("RGB", size, background)
    for left, top, right, bottom in boxes:
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), fill=colour)
    grain = np.random.default_rng(0).normal(0, 1.5, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def near(found, truth, pixels):
    return all(abs(a - b) <= pixels for a, b in zip(found.box, truth, strict=True))


@pytest.mark.parametrize("colour", [(200, 30, 40), (20, 20, 20), (225, 220, 200), (250, 215, 215)])
def test_a_drawn_rectangle_is_found_within_two_pixels(colour):
    found = foreground.from_border(studio(colour=colour), margin=0)
    assert near(found, (40, 60, 130, 200), 2)
    assert not found.fallback
    assert found.mask_share == pytest.approx(90 * 140 / (171 * 256), abs=0.02)
    assert found.contrast > foreground.FAINT


def test_the_margin_is_a_share_of_the_box_and_is_clipped():
    assert near(foreground.from_border(studio(), margin=0.1), (31, 46, 139, 214), 3)
    found = foreground.from_border(studio(boxes=((4, 8, 160, 240),)), margin=0.5)
    assert found.box == (0, 0, 171, 256)
    assert not found.fallback


def test_a_blank_picture_falls_back_to_the_whole():
    found = foreground.from_border(studio(boxes=()), margin=0.05)
    assert found.fallback
    assert found.box == (0, 0, 171, 256)
    assert found.box_share == 1


def test_one_colour_and_tiny_pictures_fall_back_too():
    for size in [(1, 1), (3, 2), (50, 50), (2, 400)]:
        found = foreground.from_border(Image.new("RGB", size, (7, 7, 7)), margin=0.05)
        assert found.fallback
        assert found.box == (0, 0, *size)


def test_the_falloff_of_a_lamp_is_no_object():
    light = 1 - 0.25 * np.linspace(-1, 1, 256)[:, None, None] ** 2 - 0.1 * np.linspace(-1, 1, 171)[None, :, None]
    pixels = np.asarray(studio(colour=(90, 110, 90))) * light
    found = foreground.from_border(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), margin=0)
    assert near(found, (40, 60, 130, 200), 2)


def test_dark_and_light_parts_are_one_object():
    picture = studio(boxes=((40, 60, 130, 130),), colour=(225, 215, 190))
    ImageDraw.Draw(picture).rectangle((60, 130, 110, 199), fill=(15, 15, 20))
    assert near(foreground.from_border(picture, margin=0), (40, 60, 130, 200), 2)


def test_both_shoes_are_locked_but_a_speck_is_not():
    shoes = ((20, 100, 70, 200), (100, 100, 150, 200))
    assert near(foreground.from_border(studio(boxes=shoes), margin=0), (20, 100, 150, 200), 2)
    speck = ((40, 60, 130, 200), (160, 240, 164, 244))
    assert near(foreground.from_border(studio(boxes=speck), margin=0), (40, 60, 130, 200), 2)


def test_a_large_picture_is_found_within_one_step_of_the_working_size():
    big = studio((1368, 2048), boxes=((320, 480, 1040, 1600),))
    assert near(foreground.from_border(big, margin=0), (320, 480, 1040, 1600), 2048 // foreground.WORKING_SIDE)


def test_a_mask_of_another_size_is_laid_over_the_picture():
    mask = np.zeros((128, 86), dtype=bool)
    mask[30:100, 20:65] = True
    found = foreground.from_mask(studio(), mask, margin=0)
    assert near(found, (40, 60, 129, 200), 1)
    assert found.mask_share == pytest.approx(mask.mean())


def test_an_almost_empty_mask_falls_back():
    mask = np.zeros((256, 171), dtype=bool)
    mask[100:110, 50:60] = True  # 0.2 % of the picture
    found = foreground.from_mask(studio(), mask, margin=0.05)
    assert found.fallback
    assert found.mask_share == pytest.approx(mask.mean())


def test_soft_edges_do_not_matter():
    found = foreground.from_border(studio().filter(ImageFilter.GaussianBlur(1)), margin=0)
    assert near(found, (40, 60, 130, 200), 3)
