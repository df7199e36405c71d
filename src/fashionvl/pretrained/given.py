"""What a caller may give as a picture or a text: one, or a list of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fashionvl.catalogue.pictures import BrokenPicture, from_array, from_bytes, from_image, open_rgb
from fashionvl.catalogue.problems import Problem

OnePicture = str | Path | bytes | Image.Image | np.ndarray
Given = OnePicture | Sequence[OnePicture]
GivenText = str | Sequence[str]


def pictures_of(given: Given, *, max_megapixels: float) -> tuple[list[Image.Image], bool]:
    """-> upright RGB pictures, and True where one was given and not a list; a bad one is a Problem that says which.

    A path, the bytes of a picture file, a PIL picture, or a uint8 array (height, width, 3); an array of four axes is a
    list. Files go through the catalogue's own door (catalogue/pictures.py): turned upright as EXIF says, no bombs.
    """
    if isinstance(given, (list, tuple)) or (isinstance(given, np.ndarray) and given.ndim == 4):
        named = [_opened(each, f"picture {number}", max_megapixels) for number, each in enumerate(given)]
        return named, False
    return [_opened(given, "the picture", max_megapixels)], True


def texts_of(given: GivenText) -> tuple[list[str], bool]:
    """-> texts, and True where one was given and not a list."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)):
        raise Problem(f"a text is a str, or several are a list of them; this is {type(given).__name__}")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise Problem(f"text {number} is {type(text).__name__} and must be a str")
    return list(texts), isinstance(given, str)


def paired(pictures: tuple[list[Image.Image], bool], texts: tuple[list[str], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Which picture goes with which text, pair by pair: one goes with every one of the others.

    -> (n,) int64, (n,) int64
    """
    many = [len(some) for some, one in (pictures, texts) if not one]
    if len(set(many)) > 1:
        raise Problem(f"there are {many[0]} pictures and {many[1]} texts; pairs need as many of both, or one of one")
    count = many[0] if many else 1
    left, right = (np.zeros(count, np.int64) if one else np.arange(count) for _, one in (pictures, texts))
    return left, right


def unwrapped(answers: Any, one: bool) -> Any:
    """The only answer where one thing was asked."""
    return answers[0] if one else answers


def _opened(given: Any, name: str, max_megapixels: float) -> Image.Image:
    if isinstance(given, (str, Path)):
        return _from_path(Path(given), max_megapixels)
    if isinstance(given, bytes):
        return from_bytes(given, name, max_megapixels=max_megapixels).image
    if isinstance(given, Image.Image):
        return from_image(given, name, max_megapixels=max_megapixels)
    if isinstance(given, np.ndarray):
        return from_array(given, name, max_megapixels=max_megapixels)
    raise Problem(f"{name} is {type(given).__name__}; a picture is a path, bytes, a PIL picture or a numpy array")


def _from_path(path: Path, max_megapixels: float) -> Image.Image:
    place = path.absolute()
    try:
        return open_rgb(Path(place.anchor), str(place.relative_to(place.anchor)), max_megapixels=max_megapixels)
    except BrokenPicture as broken:
        raise BrokenPicture(str(path), broken.rule, broken.reason) from None
