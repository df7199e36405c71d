"""The picture door: every way a picture can be stored becomes RGB, every way it can be broken becomes a reason."""

import io
import os
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from fashionvl.catalogue.pictures import BrokenPicture, examine, from_bytes, from_image, open_rgb

RED = (200, 30, 30)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return name


def reason(folder: Path, path: str, **options) -> str:
    with pytest.raises(BrokenPicture) as caught:
        open_rgb(folder, path, **options)
    assert str(caught.value).startswith(caught.value.path)
    return caught.value.rule


def close(image: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.asarray(image).astype(int) - colour).max() <= 6)


@pytest.mark.parametrize(
    ("kind", "mode", "rule"),
    [
        ("JPEG", "RGB", None),
        ("JPEG", "CMYK", "CMYK picture converted to RGB"),
        ("PNG", "RGB", None),
        ("PNG", "P", "palette picture converted to RGB"),
        ("WEBP", "RGB", None),
        ("BMP", "RGB", None),
        ("GIF", "P", "palette picture converted to RGB"),
        ("TIFF", "CMYK", "CMYK picture converted to RGB"),
    ],
)
def test_every_common_kind_opens_as_rgb(tmp_path, kind, mode, rule):
    name = put(tmp_path, "x", encoded(Image.new("RGB", (12, 8), RED).convert(mode), kind))
    opened = examine(tmp_path, name)
    assert (opened.image.mode, opened.image.size) == ("RGB", (12, 8))
    assert rule is None or rule in opened.repairs
    assert rule is not None or opened.repairs == ()
    assert close(opened.image, RED) or mode == "P"


def test_sixteen_bits_keep_their_brightness(tmp_path):
    grey = np.full((6, 6), 32768, np.uint16)
    image = open_rgb(tmp_path, put(tmp_path, "x.png", encoded(Image.fromarray(grey), "PNG")))
    assert close(image, (128, 128, 128))


def test_alpha_is_laid_onto_white(tmp_path):
    clear = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    opened = examine(tmp_path, put(tmp_path, "x.png", encoded(clear, "PNG")))
    assert close(opened.image, (255, 255, 255))
    assert "transparent picture laid onto white" in opened.repairs


def test_a_transparent_palette_is_laid_onto_white(tmp_path):
    image = Image.new("P", (6, 6), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert close(open_rgb(tmp_path, put(tmp_path, "x.gif", encoded(image, "GIF", transparency=0))), (255, 255, 255))


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in (RED, (0, 0, 255))]
    name = put(tmp_path, "x.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    opened = examine(tmp_path, name)
    assert close(opened.image, RED)
    assert "first frame of several taken" in opened.repairs


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    corner = Image.new("RGB", (16, 8), "white")
    corner.paste((0, 0, 0), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = np.asarray(open_rgb(tmp_path, put(tmp_path, "x.png", encoded(corner, "PNG", exif=exif))))
    dark = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[orientation]
    assert image.shape == ((8, 16, 3) if orientation < 5 else (16, 8, 3))
    assert image[dark].sum() == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_opened_picture_is_not_turned_once_more(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = encoded(Image.linear_gradient("L").resize((60, 20)).convert("RGB"), kind, exif=exif)
    once = from_bytes(on_its_side, "x").image
    assert once.size == (20, 60)
    assert from_image(once, "x").tobytes() == once.tobytes()


def test_frames_of_a_picture_are_not_counted(monkeypatch):
    """Counting them reads a TIFF of thousands of directories, in a time that grows with their square."""
    frames = [Image.new("RGB", (6, 6), colour) for colour in (RED, (0, 0, 255))]
    several = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(TiffImageFile, "n_frames", property(lambda self: pytest.fail("the frames were counted")))
    opened = from_bytes(several, "x")
    assert close(opened.image, RED)
    assert "first frame of several taken" in opened.repairs
    assert not from_bytes(encoded(frames[0], "TIFF"), "x").repairs


def test_the_hash_is_of_the_file(tmp_path):
    first = examine(tmp_path, put(tmp_path, "a.png", encoded(Image.new("RGB", (6, 6), RED), "PNG")))
    second = examine(tmp_path, put(tmp_path, "b.png", encoded(Image.new("RGB", (6, 6), RED), "PNG")))
    other = examine(tmp_path, put(tmp_path, "c.png", encoded(Image.new("RGB", (6, 6), (0, 0, 0)), "PNG")))
    assert first.sha256 == second.sha256 != other.sha256


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_truncated_picture_is_damaged(tmp_path, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    content = encoded(noise, kind)
    assert reason(tmp_path, put(tmp_path, "x", content[: len(content) // 2])) in {"damaged picture", "not a picture"}


def test_what_is_not_a_picture_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    assert reason(tmp_path, put(tmp_path, "empty.jpg", b"")) == "empty picture"
    assert reason(tmp_path, put(tmp_path, "page.jpg", b"<html>404</html>")) == "not a picture"
    assert (
        reason(tmp_path, put(tmp_path, "x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"))
        == "not a picture"
    )
    assert reason(tmp_path, "folder") == "missing picture"
    assert reason(tmp_path, "nothing.jpg") == "missing picture"
    assert reason(tmp_path, "x" * 5000) == "missing picture"
    assert reason(tmp_path, "a\0b") == "missing picture"
    assert reason(tmp_path, " ") == "no picture"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason(tmp_path, "pipe.jpg") == "missing picture"


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert reason(tmp_path, put(tmp_path, "bomb.png", bomb)) == "picture too large"
    small = put(tmp_path, "small.png", encoded(Image.new("L", (100, 100)), "PNG"))
    assert open_rgb(tmp_path, small, max_megapixels=0.01).size == (100, 100)
    assert reason(tmp_path, small, max_megapixels=0.009) == "picture too large"
    with (tmp_path / "hole.jpg").open("wb") as file:
        file.truncate(2**31)
    assert reason(tmp_path, "hole.jpg") == "picture too large"


def test_no_path_leaves_the_folder(tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    content = encoded(Image.new("RGB", (6, 6), RED), "PNG")
    put(tmp_path, "secret.png", content)
    put(inside, "own.png", content)
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "alias.png").symlink_to(inside / "own.png")
    (inside / "circle.png").symlink_to(inside / "circle.png")
    for path in (
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "sub/../../secret.png",
        str(inside / "own.png"),
    ):
        assert reason(inside, path) == "path leaves the folder"
    assert open_rgb(inside, "alias.png").size == (6, 6)
    assert reason(inside, "circle.png") == "missing picture"


def test_a_hash_sign_in_a_file_name_is_no_container(tmp_path):
    name = put(tmp_path, "shoe #3.png", encoded(Image.new("RGB", (6, 6), RED), "PNG"))
    assert open_rgb(tmp_path, name).size == (6, 6)


def test_rows_of_an_hdf5_file_are_pictures(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 256, 256, 3), np.uint8)
    with h5py.File(tmp_path / "fashiongen.h5", "w") as file:
        file["input_image"] = pixels
        file["input_name"] = np.array([[b"a"], [b"b"]])
    assert np.array_equal(np.asarray(open_rgb(tmp_path, "fashiongen.h5#input_image/1")), pixels[1])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["input_image"] = pixels[::-1]
        file["input_name"] = np.array([[b"a"], [b"b"]])
    (tmp_path / "other.h5").rename(tmp_path / "fashiongen.h5")  # as another catalogue takes its place
    assert np.array_equal(np.asarray(open_rgb(tmp_path, "fashiongen.h5#input_image/1")), pixels[0])
    assert reason(tmp_path, "fashiongen.h5#input_image/2") == "missing picture"
    assert reason(tmp_path, "fashiongen.h5#input_image/-1") == "missing picture"
    assert reason(tmp_path, "fashiongen.h5#nothing/0") == "missing picture"
    assert reason(tmp_path, "fashiongen.h5#input_name/0") == "not a picture"
    assert reason(tmp_path, "../fashiongen.h5#input_image/0") == "path leaves the folder"


def test_rows_of_a_saved_dataset_are_pictures(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    pixels = [Image.new("RGB", (8, 6), RED), None]
    table = datasets.Dataset.from_dict({"photo": pixels, "name": ["a", "b"]}).cast_column("photo", datasets.Image())
    table.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "split"))
    assert close(open_rgb(tmp_path, "plain#photo/0"), RED)
    assert close(open_rgb(tmp_path, "split#train/photo/0"), RED)
    assert close(open_rgb(tmp_path / "plain", ".#photo/0"), RED)
    assert reason(tmp_path, "plain#photo/1") == "no picture"
    assert reason(tmp_path, "plain#photo/2") == "missing picture"
    assert reason(tmp_path, "split#val/photo/0") == "missing picture"
    assert reason(tmp_path / "plain", "../split#train/photo/0") == "path leaves the folder"


@cache
def _seeds() -> list[bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8))
    frames = {"save_all": True, "append_images": [image]}
    kinds = [("JPEG", {}), ("PNG", {}), ("GIF", frames), ("WEBP", {}), ("BMP", {}), ("TIFF", {}), ("JPEG2000", {})]
    return [encoded(image, kind, **options) for kind, options in kinds]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_give_anything_but_a_picture_or_a_reason(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(_seeds())))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=20)
    ):
        content[place] = value
    put(tmp_path, "x", bytes(content))
    try:
        image = open_rgb(tmp_path, "x", max_megapixels=1)
    except BrokenPicture as broken:
        assert broken.reason  # noqa: PT017
    else:
        assert image.mode == "RGB"
