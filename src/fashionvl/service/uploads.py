"""Pictures that somebody sends: through the catalogue's one door, and a little narrower."""

import math
import re

from PIL import Image
from starlette.exceptions import HTTPException

from fashionvl.catalogue.pictures import BrokenPicture, from_bytes

KEPT_PIXELS = 4_000_000  # that a picture waits with; no model looks at so many
MOST_SCANS = 100  # of a JPEG; cameras write about ten, and each is a pass over all pixels

# What says that an archive, a document, a page or a program stands in the same file; in small letters. All are long
# enough not to stand in eight megabytes of pixels by chance.
_OTHER_FILES = (
    b"%pdf-",
    b"rar!\x1a\x07",
    b"<script",
    b"<!doctype",
    b"<html>",
    b"<html ",
    b"<iframe",
    b"<?php",
    b"__halt_",
)
_ZIP = re.compile(rb"PK\x03\x04[\x0a-\x3f]\x00")

_SENTENCES = {
    "empty picture": (422, "the picture is empty"),
    "not a picture": (415, "this is no picture of a known kind: send JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF"),
    "damaged picture": (422, "the picture is damaged or cut off"),
    "picture too large": (413, "the picture has too many pixels"),
}


def opened(content: bytes, *, max_megapixels: float) -> Image.Image:
    """The picture that was sent, upright RGB; one of more than 4 megapixels is averaged down until it has fewer.

    Raises HTTPException 4xx with a sentence: empty, no picture, damaged, a decompression bomb, or two files in one.
    """
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > MOST_SCANS:
        raise HTTPException(422, "the JPEG has more scans than any camera writes")
    small = content.lower()
    if any(mark in small for mark in _OTHER_FILES) or _ZIP.search(content):
        raise HTTPException(422, "another kind of file stands inside the picture: save it anew as JPEG or PNG")
    try:
        image = from_bytes(content, "the picture", max_megapixels=max_megapixels).image
    except BrokenPicture as broken:
        status, sentence = _SENTENCES[broken.rule]
        if status == 413:
            sentence += f": at most {max_megapixels:g} megapixels are read"
        raise HTTPException(status, sentence) from None
    factor = math.ceil(math.sqrt(image.width * image.height / KEPT_PIXELS))
    return image.reduce(factor) if factor > 1 else image
