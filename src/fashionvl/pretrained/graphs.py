"""ONNX: the matching score and the patch encoder as graphs that run without this package (`.[onnx]`)."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from fashionvl.batches import Pictures
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import Pyramid

MATCHING, ENCODER = "matching.onnx", "patch_encoder.onnx"
NEEDED = ("onnx", "onnxscript")
OPSET = 20
SLOTS, ROWS = 12, 3  # of the example that is traced; both are dynamic in the graph


class Matching(nn.Module):
    """The matching score of whole pairs.

    words (B, T) int64, real (B, T) bool, patches (B, P, D) float -> (B,) float   log-odds of "these belong together"
    """

    places: Tensor
    levels: Tensor

    def __init__(self, model: SingleStream):
        super().__init__()
        self.model = model
        assert isinstance(model.layout, Pyramid), "the graph has places that are the same for all pictures"
        self.register_buffer("places", model.layout.places())
        self.register_buffer("levels", model.layout.levels_of())

    def forward(self, words: Tensor, real: Tensor, patches: Tensor) -> Tensor:
        seen = Pictures(patches, torch.ones_like(patches[:, :, 0], dtype=torch.bool), self.places, self.levels)
        shown = torch.cat([real, seen.shown], dim=1)
        states = self.model.read(self.model.words(words), self.model.look(seen), shown, torch.zeros_like(words[:, :1]))
        odds = self.model.log_odds(states)
        if self.model.likeness is None:
            return odds
        return odds + self.model.likeness(words, self.model.level_means(seen))


def export_matching(model: SingleStream, dim: int, file: Path) -> None:
    """Write the graph of `Matching`: words, real, patches -> log_odds; any number of pairs, texts of any length."""
    words = torch.ones(ROWS, SLOTS, dtype=torch.int64)
    example = (words, words.bool(), torch.zeros(ROWS, model.layout.patches, dim))
    most = len(model.words.position.weight)
    rows, slots = torch.export.Dim("rows", min=1), torch.export.Dim("slots", min=3, max=most)
    moving = ({0: rows, 1: slots}, {0: rows, 1: slots}, {0: rows})
    _export(Matching(model), example, file, ["words", "real", "patches"], ["log_odds"], moving)


def export_encoder(encoder: nn.Module, pixels: int, file: Path) -> None:
    """Write the graph of a patch encoder: tiles (N, 3, S, S) uint8 -> vectors (N, D) float; any number of tiles."""
    example = (torch.zeros(ROWS, 3, pixels, pixels, dtype=torch.uint8),)
    _export(encoder, example, file, ["tiles"], ["vectors"], ({0: torch.export.Dim("tiles", min=1)},))


def check_installed() -> None:
    """A Problem where the packages that write ONNX are missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Problem(f"ONNX export needs {' and '.join(missing)}: pip install -e '.[onnx]'")


def _export(
    network: nn.Module, example: tuple[Tensor, ...], file: Path, takes: list[str], gives: list[str], moving: tuple
) -> None:
    """Trace on the processor in float32, and put the whole graph into place in one step."""
    part = file.with_suffix(".part")
    with torch.no_grad():
        # Here and not by torch.onnx.export, which gives a graph of fixed sizes where tracing one of any size fails.
        traced = torch.export.export(network.cpu().eval(), example, dynamic_shapes=moving)
        program = torch.onnx.export(
            traced, input_names=takes, output_names=gives, opset_version=OPSET, external_data=False, verbose=False
        )
    assert program is not None
    program.save(part, external_data=False)
    part.replace(file)
