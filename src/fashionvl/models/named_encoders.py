"""Networks that a user brings by name: a ResNet as patch encoder, a segmenter as saliency network.

A name is a folder that `transformers` saved, or a name on its hub. What cannot be loaded is a Problem, never replaced.
"""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from transformers import AutoConfig, AutoModelForSemanticSegmentation, ResNetModel
from transformers.utils import cached_file

from fashionvl.catalogue.problems import Problem

# Of ImageNet, for networks that come without preprocessor_config.json.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ResNetEncoder(nn.Module):
    """A ResNet up to the average pooling after its last ReLU (section 3.2; ResNet-50 gives 2048 numbers).

    mean, std  three numbers each, of RGB in 0..1
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, *, dim: int, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD):
        super().__init__()
        self.network = network
        self.dim = dim
        across = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * across))
        self.register_buffer("shift", torch.tensor(mean).view(1, 3, 1, 1) / across)

    def forward(self, tiles: Tensor) -> Tensor:
        """tiles (N, 3, S, S) uint8 -> (N, D) float, non-negative."""
        return self.network(tiles * self.scale - self.shift).pooler_output.flatten(1)

    def maps(self, tiles: Tensor) -> Tensor:
        """tiles (N, 3, H, W) uint8 -> (N, h, w, D) float, non-negative   what `forward` is the mean of, by place"""
        return self.network(tiles * self.scale - self.shift).last_hidden_state.permute(0, 2, 3, 1)


class SaliencyNet(nn.Module):
    """A semantic segmenter that tells objects from background, which is its class 0 (or its only logit, negated).

    pixels  side of the square that a picture is brought to before it comes in
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, *, pixels: int, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.network = network
        self.pixels = pixels
        across = torch.tensor(std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * across))
        self.register_buffer("shift", torch.tensor(mean).view(1, 3, 1, 1) / across)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (B, 3, S, S) uint8 -> (B, h, w) bool   True where an object is more likely than background."""
        logits = self.network(pictures * self.scale - self.shift).logits  # (B, classes, h, w)
        if logits.shape[1] == 1:
            return logits[:, 0] > 0
        return logits.softmax(dim=1)[:, 0] < 0.5


def load_resnet(name: str) -> ResNetEncoder:
    """The ResNet of a folder or hub name, in eval mode; raises Problem when it is missing, broken or no ResNet."""
    config = load_named(name, AutoConfig)
    if config.model_type != "resnet":
        raise Problem(f"the patch encoder {name!r} is a {config.model_type}, and only ResNets can be used by name")
    mean, std, _ = _preprocessing(name)
    encoder = ResNetEncoder(load_complete(name, ResNetModel), dim=config.hidden_sizes[-1], mean=mean, std=std)
    return encoder.eval()


def load_saliency(name: str) -> SaliencyNet:
    """The segmenter of a folder or hub name, in eval mode; raises Problem when it is missing, broken or no segmenter.

    Its preprocessor_config.json must be there: a segmenter has no customary size.
    """
    network = load_complete(name, AutoModelForSemanticSegmentation)
    mean, std, pixels = _preprocessing(name)
    if pixels is None:
        raise Problem(
            f"the saliency network {name!r} has no preprocessor_config.json that states the size of a picture"
        )
    return SaliencyNet(network, pixels=pixels, mean=mean, std=std).eval()


def frozen(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same encoder ready to be used only: batch norms folded into the convolutions before them, no gradients.

    Changes `encoder` in place. With dtype bfloat16 it must be called under autocast.
    """
    encoder.eval().requires_grad_(False)
    for module in list(encoder.modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = True
        _fold(module)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype=dtype)
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    return encoder


def weights_checksum(network: nn.Module) -> str:
    """The sha256 of all weights and buffers by name, as hexadecimal digits: equal weights, equal checksum."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _fold(module: nn.Module) -> None:
    """Fold every batch norm that directly follows a convolution among the children of a module."""
    children = list(module.named_children())
    for (before, convolution), (after, norm) in pairwise(children):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, before, fuse_conv_bn_eval(convolution, norm))
            setattr(module, after, nn.Identity())


def load_named(name: str, kind: Any, **options: Any) -> Any:
    """`kind.from_pretrained(name)`, where every way to fail becomes one sentence."""
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise Problem(f"there is no folder {name!r}; a network is named by its folder, or by owner/name on the hub")
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Problem(f"the network {name!r} cannot be loaded: {reason}") from None


def load_complete(name: str, kind: Any) -> nn.Module:
    """Weights that the files lack would be random; that is a Problem here."""
    network, found = load_named(name, kind, output_loading_info=True)
    if found["missing_keys"]:
        raise Problem(f"the files of {name!r} lack weights of the network, {sorted(found['missing_keys'])[0]} first")
    return network


def _preprocessing(name: str) -> tuple[tuple[float, ...], tuple[float, ...], int | None]:
    """-> mean, std of RGB in 0..1, and the side of the square picture (None where the files do not say)."""
    stated = preprocessor(name)
    size = stated.get("size")
    side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
    return tuple(stated.get("image_mean", MEAN)), tuple(stated.get("image_std", STD)), side


def preprocessor(name: str) -> dict[str, Any]:
    """What preprocessor_config.json of a folder or hub name says; nothing where there is none."""
    found = cached_file(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    if found is None:
        return {}
    stated: dict[str, Any] = json.loads(Path(found).read_text(encoding="utf-8"))
    return stated
