"""The patch encoder that a row names: `scratch` from its shelf, or a ResNet from a folder or the hub."""

from pathlib import Path
from typing import Any

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import load_resnet
from fashionvl.models.patch_encoder import ConvEncoder


def load_encoder(name: str, scratch: Path, *, pixels: int | None = None) -> Any:
    """An nn.Module in eval mode with `.dim`, `.maps` and (N, 3, S, S) uint8 -> (N, D).

    scratch  the folder of the stage `encoder`
    pixels   side of the patches it is to see, which must be what `scratch` learned from; None where that is no matter
    """
    if name != "scratch":
        return load_resnet(name)
    weights, card = checkpoint.load(scratch)
    if pixels not in (None, card["pixels"]):
        raise Problem(
            f"{scratch} learned from patches of {card['pixels']} pixels and params.yaml asks for {pixels}:"
            " encoder.pixels and the pixels of the patches must agree"
        )
    encoder = ConvEncoder(card["channels"])
    encoder.load_state_dict(weights)
    return encoder.eval()
