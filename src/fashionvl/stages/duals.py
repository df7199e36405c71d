"""Dual encoders of every family by one name: which rows there are, how each is taught, and how each is used."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from accelerate import Accelerator

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.stages import clip, contrast
from fashionvl.tasks.contrast import Dual
from fashionvl.tasks.contrast import scorer as scorer_of

FAMILIES: dict[str, ModuleType] = {"contrast": contrast, "clip": clip}


def family(system: str, settings: config.Params) -> ModuleType:
    """The stage module of a row: `contrast` or `clip`."""
    return contrast if system in settings.contrast else clip


def load(folder: Path, build: Path, settings: config.Params, accelerator: Accelerator) -> Dual:
    """A run folder, ready to be used."""
    stage = checkpoint.read_card(folder)["stage"]
    model, row = FAMILIES[stage].load(folder)
    words = folder / clip.WORDS if stage == "clip" else build / "words"
    return FAMILIES[stage].dual(model.to(accelerator.device), row, str(words), settings, accelerator)


def scorer(
    dual: Dual, catalogue: Catalogue, split: str, settings: config.Params
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How a dual encoder scores pairs of one split.

    -> score(pictures (n,), products (n,)) -> (n,) float   cosines; indices of the catalogue
    """
    pictures, products = catalogue.pictures_in(split), catalogue.in_split(split)
    seen = dual.see(catalogue.root, catalogue.pictures["path"].to_numpy()[pictures].tolist())
    texts = catalogue.texts(settings.text.fields)
    said = dual.say([texts[product] for product in products])
    return scorer_of(seen, pictures, said, products)
