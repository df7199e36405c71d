"""Dual encoders of every family by one name: which rows there are, how each is taught, and how each is used."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from accelerate import Accelerator
from torch import Tensor

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
    words = str(words_of(folder, build))
    return FAMILIES[stage].dual(model.to(accelerator.device), row, words, settings, accelerator)


def words_of(folder: Path, build: Path) -> Path:
    """The tokenizer that a run folder learned with: its own, or that of the stage `words`."""
    return folder / clip.WORDS if checkpoint.read_card(folder)["stage"] == "clip" else build / "words"


def seen(dual: Dual, catalogue: Catalogue, split: str) -> Tensor:
    """-> (n, C) float   the pictures of a split, in the catalogue's order"""
    return dual.see(catalogue.root, catalogue.pictures["path"].to_numpy()[catalogue.pictures_in(split)].tolist())


def said(dual: Dual, catalogue: Catalogue, split: str, settings: config.Params) -> Tensor:
    """-> (n, C) float   the texts of the products of a split"""
    texts = catalogue.texts(settings.text.fields)
    return dual.say([texts[product] for product in catalogue.in_split(split)])


def scorer(
    dual: Dual, catalogue: Catalogue, split: str, settings: config.Params
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """How a dual encoder scores pairs of one split.

    -> score(pictures (n,), products (n,)) -> (n,) float   cosines; indices of the catalogue
    """
    pictures, products = catalogue.pictures_in(split), catalogue.in_split(split)
    return scorer_of(seen(dual, catalogue, split), pictures, said(dual, catalogue, split, settings), products)
