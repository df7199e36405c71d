"""The picture door: the only way a picture file becomes pixels, and where a broken one is told from a good one.

A path is relative to the catalogue's folder. A picture inside a container is written `CONTAINER#INSIDE`:
`fashiongen.h5#input_image/123` is row 123 of a column of an HDF5 file, `saved#train/image/7` row 7 of a column of one
split of a saved Hugging Face dataset (`saved#image/7` where it has no splits, `.#image/7` where the catalogue's folder
is the dataset).
"""

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fashionvl.catalogue.containers import hdf5, is_saved_dataset, saved_dataset
from fashionvl.catalogue.problems import Problem

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF")  # none that runs a program
HDF5_ENDINGS = (".h5", ".hdf5")
BYTES_A_PIXEL = 16  # no still picture needs more, even uncompressed

# What the decoders raise on damaged bytes, found by feeding them some.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BrokenPicture(Problem):
    """A picture cannot be used. `rule` is a short name to count by, the message gives path and reason."""

    def __init__(self, path: str, rule: str, reason: str):
        super().__init__(path, rule, reason)
        self.path, self.rule, self.reason = path, rule, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Opened:
    """A picture that came through the door.

    image    RGB, 8 bits, upright
    repairs  the rules that were applied to make it so, e.g. ("turned upright",)
    sha256   of the file's bytes (of the pixels, where the picture is an array in a container)
    """

    image: Image.Image
    repairs: tuple[str, ...]
    sha256: str


def open_rgb(root: Path, path: str, *, max_megapixels: float = 50) -> Image.Image:
    """Open one picture of a catalogue as upright 8-bit RGB, whatever it is stored as.

    root            the catalogue's folder
    path            relative to `root`; see the head of this file for pictures inside containers
    max_megapixels  a larger picture is taken for a decompression bomb

    Raises BrokenPicture: missing, empty, truncated, not a picture, too large, or outside of the catalogue's folder.
    """
    return examine(root, path, max_megapixels=max_megapixels).image


def examine(root: Path, path: str, *, max_megapixels: float = 50) -> Opened:
    """`open_rgb` that also tells what was repaired and hashes the bytes; the same errors."""
    container, _, inside = path.rpartition("#")
    if container and Path(container).suffix.lower() in HDF5_ENDINGS:
        return _from_hdf5(root, path, container, inside, max_megapixels)
    if container and _is_dataset_inside(root, container):
        return _from_dataset(root, path, container, inside, max_megapixels)
    return from_bytes(_read(root, path, max_megapixels), path, max_megapixels=max_megapixels)


def locate(root: Path, path: str) -> Path:
    """The file that a relative path means; raises BrokenPicture if it is not a file inside of `root`."""
    place = _inside(root, path)
    kind = "file" if place.is_file() else "folder" if place.is_dir() else "special" if place.exists() else "nothing"
    if kind != "file":
        reason = {"folder": "this is a folder", "special": "this is no ordinary file"}.get(
            kind, "there is no such file"
        )
        raise BrokenPicture(path, "missing picture", reason)
    return place


def _inside(root: Path, path: str) -> Path:
    if not path.strip():
        raise BrokenPicture(path, "no picture", "no picture is named")
    try:
        folder = root.resolve()
        place = (folder / path).resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:  # over-long names, NUL bytes, links in a circle
        raise BrokenPicture(path, "missing picture", f"this is not a path that can be opened ({error})") from None
    if Path(path).is_absolute() or not place.is_relative_to(folder):
        raise BrokenPicture(path, "path leaves the folder", "the path leads out of the catalogue's folder")
    return place


def _is_dataset_inside(root: Path, container: str) -> bool:
    try:
        return is_saved_dataset(_inside(root, container))
    except BrokenPicture:
        return False


def _read(root: Path, path: str, max_megapixels: float) -> bytes:
    file = locate(root, path)
    try:
        size = file.stat().st_size
        if size > max_megapixels * 1e6 * BYTES_A_PIXEL:
            raise BrokenPicture(path, "picture too large", f"the file has {size / 1e6:.0f} MB, too many for a picture")
        return file.read_bytes()
    except OSError as error:
        raise BrokenPicture(path, "unreadable picture", f"the file cannot be read ({error.strerror})") from None


def from_bytes(content: bytes, path: str, *, max_megapixels: float = 50) -> Opened:
    """`examine` for the bytes of a picture file; `path` is what a BrokenPicture calls it."""
    if not content:
        raise BrokenPicture(path, "empty picture", "the file is empty")
    with _damage_named(path), Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        image, repairs = _loaded(picture, path, max_megapixels)
    return Opened(image, repairs, hashlib.sha256(content).hexdigest())


def from_image(picture: Image.Image, path: str, *, max_megapixels: float = 50) -> Image.Image:
    """`open_rgb` for a picture that somebody else has opened; it is left as it was."""
    with _damage_named(path):
        return _loaded(picture, path, max_megapixels)[0]


def from_array(pixels: np.ndarray, path: str, *, max_megapixels: float = 50) -> Image.Image:
    """`open_rgb` for an array, which must be uint8 (height, width, 3)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        what = f"{pixels.dtype} of shape {pixels.shape}"
        raise BrokenPicture(path, "not a picture", f"a picture is uint8 (height, width, 3), this is {what}")
    _refuse_bomb((pixels.shape[1], pixels.shape[0]), path, max_megapixels)
    return Image.fromarray(pixels)


def _loaded(picture: Image.Image, path: str, max_megapixels: float) -> tuple[Image.Image, tuple[str, ...]]:
    _refuse_bomb(picture.size, path, max_megapixels)
    picture.load()
    return _upright_rgb(picture)


@contextmanager
def _damage_named(path: str) -> Iterator[None]:
    """What a decoder raises becomes a BrokenPicture."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BrokenPicture(path, "picture too large", "this looks like a decompression bomb") from None
    except Image.UnidentifiedImageError:
        raise BrokenPicture(path, "not a picture", "this is not a picture of a known kind") from None
    except _DAMAGED as error:
        raise BrokenPicture(path, "damaged picture", f"the picture is damaged ({_first_line(error)})") from None


def _upright_rgb(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    repairs = []
    turn = _UPRIGHT.get(_orientation(picture))
    several = getattr(picture, "is_animated", False)  # counting frames would read the whole file
    if several and picture.format != "MPO":  # an MPO is one photo with its previews
        repairs.append("first frame of several taken")
    if picture.mode.startswith("I") or picture.mode == "F":
        repairs.append("16-bit or float picture brought to 8 bits")
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        repairs.append("transparent picture laid onto white")
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        image = Image.alpha_composite(white, picture).convert("RGB")
    else:
        if picture.mode not in ("RGB", "L", "1"):
            repairs.append(f"{'palette' if picture.mode == 'P' else picture.mode} picture converted to RGB")
        image = picture.convert("RGB")
    if turn is not None:
        repairs.append("picture turned upright")
        image = image.transpose(turn)
    image.info = {}  # or whoever opens it once more would turn it once more
    return image, tuple(repairs)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or it cannot be read."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except _DAMAGED:
        return 1


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey values of 16 bits (or floats in 0..1 or 0..top) scaled to 0..255."""
    values = np.array(picture, dtype=np.float32)
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    top = float(values.max(initial=0))
    full = 65535 if picture.mode.startswith("I") and top > 255 else 1 if top <= 1 and picture.mode == "F" else 255
    values.clip(0, out=values)
    values *= 255 / max(full, top)
    return Image.fromarray(values.round(out=values).astype(np.uint8))


def _from_hdf5(root: Path, path: str, container: str, inside: str, max_megapixels: float) -> Opened:
    column, _, row = inside.rpartition("/")
    table = hdf5(locate(root, container))
    if column not in table or not row.isascii() or not row.isdigit() or int(row) >= len(table[column]):
        raise BrokenPicture(path, "missing picture", f"the HDF5 file has no row {row!r} of a column {column!r}")
    try:
        pixels = np.asarray(table[column][int(row)])
    except _DAMAGED as error:
        raise BrokenPicture(path, "damaged picture", f"the row cannot be read ({_first_line(error)})") from None
    image = from_array(pixels, path, max_megapixels=max_megapixels)
    return Opened(image, (), hashlib.sha256(pixels.tobytes()).hexdigest())


def _from_dataset(root: Path, path: str, container: str, inside: str, max_megapixels: float) -> Opened:
    place, _, row = inside.rpartition("/")
    split, _, column = place.rpartition("/")
    table = saved_dataset((root / container).resolve()).get(split)
    if (
        table is None
        or column not in table.column_names
        or not row.isascii()
        or not row.isdigit()
        or int(row) >= len(table)
    ):
        raise BrokenPicture(path, "missing picture", f"the saved dataset has no row {row!r} of {place!r}")
    try:
        value = table[int(row)][column]
    except _DAMAGED as error:
        raise BrokenPicture(path, "damaged picture", f"the row cannot be read ({_first_line(error)})") from None
    if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
        named = _read(root, os.path.relpath(value["path"], root), max_megapixels)
        return from_bytes(named, path, max_megapixels=max_megapixels)
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise BrokenPicture(path, "no picture", "this row holds no picture")
    return from_bytes(content, path, max_megapixels=max_megapixels)


def _refuse_bomb(size: tuple[int, int], path: str, max_megapixels: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        reason = f"{size[0]} x {size[1]} are more than {max_megapixels:g} megapixels (catalogue.max_megapixels)"
        raise BrokenPicture(path, "picture too large", reason)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
