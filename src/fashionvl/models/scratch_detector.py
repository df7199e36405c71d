"""The scratch detector: a small RT-DETRv2 of `transformers`, begun so that it can learn from nothing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

STRIDES = (8, 16, 32)  # of the maps that objects are looked for in


def scratch(
    names: Sequence[str],
    *,
    channels: Sequence[int],
    width: int,
    inner: int,
    heads: int,
    layers: int,
    queries: int,
    noised: int,
) -> RTDetrV2ForObjectDetection:
    """An untrained detector of these classes; its weights are drawn from torch's own chance.

    channels  of the stem, and of the maps that are 4, 8, 16 and 32 times smaller than the picture
    width     of the three maps that queries look at, and of the queries; inner, heads: of its transformer layers
    layers    of the decoder
    queries   how many objects it can see in a picture
    noised    noised true boxes beside them in training, at least (denoising)
    """
    stem, *maps = channels
    layers_of: dict[str, Any] = {"depths": [1] * len(maps), "layer_type": "basic", "out_indices": [2, 3, 4]}
    backbone = RTDetrResNetConfig(embedding_size=stem, hidden_sizes=maps, **layers_of)
    config = RTDetrV2Config(
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,  # frozen ones never learn what to subtract
        encoder_hidden_dim=width,
        encoder_in_channels=maps[-len(STRIDES) :],
        feat_strides=list(STRIDES),
        encoder_ffn_dim=inner,
        encoder_attention_heads=heads,
        hidden_expansion=0.5,
        d_model=width,
        num_queries=queries,
        decoder_in_channels=[width] * len(STRIDES),
        decoder_ffn_dim=inner,
        decoder_layers=layers,
        decoder_attention_heads=heads,
        num_denoising=noised,
        tie_word_embeddings=False,  # each layer of the decoder has heads of its own
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    network = RTDetrV2ForObjectDetection(config)
    _begin(network)
    for copies in (network.class_embed, network.bbox_embed):
        copies.requires_grad_(False)  # of the decoder's heads; never used
    for module in _precise(network):
        module.register_forward_hook(_in_float32)
    return network


@torch.no_grad()
def finished(network: RTDetrV2ForObjectDetection) -> RTDetrV2ForObjectDetection:
    """The trained network in eval mode, as it can be saved: with true copies of the decoder's heads."""
    network.class_embed.load_state_dict(network.model.decoder.class_embed.state_dict())
    network.bbox_embed.load_state_dict(network.model.decoder.bbox_embed.state_dict())
    return network.eval()


@torch.no_grad()
def _begin(network: RTDetrV2ForObjectDetection) -> None:
    """Draw the weights anew that `transformers` begins as if trained ones were about to take their place.

    Outside the backbone it leaves batch norms that multiply by 0.01 and convolutions of that size, through which
    hardly anything passes. What begins at zero, and the biases of the classes, are meant.
    """
    for name, module in network.model.named_modules():
        if name.startswith("backbone"):
            continue
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Linear) and module.weight.any():
            nn.init.xavier_uniform_(module.weight)
    nn.init.zeros_(network.model.enc_bbox_head.layers[-1].weight)  # boxes begin as the anchors


def _precise(network: RTDetrV2ForObjectDetection) -> list[nn.Module]:
    """What must come out in float32 under autocast: what boxes are added up from, and what losses are of."""
    core = network.model
    heads = [*core.decoder.class_embed, *core.decoder.bbox_embed, core.enc_score_head, core.enc_bbox_head]
    return [*core.decoder_input_proj, *heads]


def _in_float32(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()
