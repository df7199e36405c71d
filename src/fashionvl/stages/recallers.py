"""Who recalls in a search: a dual encoder that was trained here, or a CLIP that a user brings and nobody trained."""

import hashlib
import json
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image

from fashionvl import checkpoint, config
from fashionvl.models import clip_files
from fashionvl.models.named_encoders import weights_checksum
from fashionvl.patches.store import checksum
from fashionvl.stages import clip, duals
from fashionvl.tasks.contrast import Dual

LONGEST = 8  # times as long as wide: what is beyond is cut off before a picture is brought to size


def recaller(
    system: str, build: Path, settings: config.Params, accelerator: Accelerator
) -> tuple[Dual, dict[str, str]]:
    """A row that can recall: a dual encoder from its run folder, or towers with `start` as they are, untrained.

    -> it, and its mark: what its vectors depend on, and two indices can be of the same model by
    """
    row = config.recaller(settings, system)
    if isinstance(row, config.Towers):
        return _as_it_is(row.start or "", system, settings, accelerator)
    folder = build / "runs" / system
    card = checkpoint.read_card(folder)
    mark = {
        "system": system,
        "weights": checksum(folder / "model.safetensors"),
        "words": checksum(duals.words_of(folder, build) / "tokenizer.json"),
        "row": hashlib.sha256(json.dumps([card["system"], card.get("model")]).encode()).hexdigest(),
    }
    return duals.load(folder, build, settings, accelerator), mark


def _as_it_is(
    source: str, system: str, settings: config.Params, accelerator: Accelerator
) -> tuple[Dual, dict[str, str]]:
    """A CLIP of `transformers`, which looks at pictures just as its own processor brings them to size."""
    model = clip_files.load(source)
    mark = {"system": system, "weights": weights_checksum(model), "words": clip_files.words_checksum(source)}
    model.to(accelerator.device)
    return clip.used(model, source, lambda picture: centre(picture, model.pixels[0]), settings, accelerator), mark


def centre(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """CLIP's own way to bring a picture to size -> (side, side, 3) uint8: the shorter edge to it, then the middle.

    Of a picture more than LONGEST times as long as wide only the middle is brought to size, which is all that is seen:
    one row of pixels would become gigabytes.
    """
    short = min(picture.size)
    left, top = (max(0, edge - LONGEST * short) // 2 for edge in picture.size)
    if left or top:
        picture = picture.crop((left, top, picture.width - left, picture.height - top))
    width, height = (int(side * edge / short) for edge in picture.size)
    left, top = (width - side) // 2, (height - side) // 2
    seen = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(seen.crop((left, top, left + side, top + side)))
