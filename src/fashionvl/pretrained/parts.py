"""The parts of a system: what each is built from, and how it is put together from that and its weights.

model                    the pre-trained single stream
retrieval, category, sub_category, captioning   the single streams that were fine-tuned from it
encoder, saliency        how a picture becomes patches, and what locks it where a network does
detector, visual_words   what finds its regions, or what segments are called, where a system reads regions
captioner, captioner_encoder   Show, Attend and Tell, and what it looks through where that is not `encoder`
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForObjectDetection, AutoModelForSemanticSegmentation, ResNetModel

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.captioner import Captioner
from fashionvl.models.detector import Detector, Preparation
from fashionvl.models.named_encoders import MEAN, STD, ResNetEncoder, SaliencyNet
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.models.single_stream import SingleStream

TASKS = ("retrieval", "category", "sub_category", "captioning")
STREAMS = ("model", *TASKS)

Facts = dict[str, Any]


def built(part: str, facts: Facts, weights: Mapping[str, Tensor], file: Path) -> nn.Module:
    """One part in eval mode; weights that do not fit what it is built from are a Problem that names their file."""
    network = BUILDERS[part](facts)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise Problem(f"{file} does not fit what the part {part!r} is said to be ({reason})") from None
    return network.eval()


def facts_of(network: nn.Module) -> Facts:
    """What that is built from which turns pictures into patches, as `built` takes it."""
    if isinstance(network, ConvEncoder):
        return {"channels": network.channels}
    if isinstance(network, nn.Embedding):
        return {"words": network.num_embeddings, "dim": network.embedding_dim}
    assert isinstance(network, (ResNetEncoder, SaliencyNet, Detector))
    facts = {"network": json.loads(network.network.config.to_json_string(use_diff=False))}  # type: ignore[union-attr, operator]
    if isinstance(network, Detector):
        of_detector = {"names": network.names, "dim": network.dim, "no_object": network.no_object}
        return facts | of_detector | {"preparation": asdict(network.preparation)}
    return facts | ({"dim": network.dim} if isinstance(network, ResNetEncoder) else {"pixels": network.pixels})


def _stream(facts: Facts) -> nn.Module:
    return SingleStream(**facts["model"], dropout=0.0)


def _captioner(facts: Facts) -> nn.Module:
    row = config.build(config.Captioner, facts["captioner"], "captioner")
    return Captioner(**facts["sizes"], width=row.width, dropout=row.dropout)


def _encoder(facts: Facts) -> nn.Module:
    if "channels" in facts:
        return ConvEncoder(facts["channels"])
    network = ResNetModel(AutoConfig.for_model(**facts["network"]))  # type: ignore[arg-type]
    return ResNetEncoder(network, dim=facts["dim"])  # mean and std come with the weights


def _saliency(facts: Facts) -> nn.Module:
    network = AutoModelForSemanticSegmentation.from_config(AutoConfig.for_model(**facts["network"]))
    return SaliencyNet(network, pixels=facts["pixels"], mean=MEAN, std=STD)


def _detector(facts: Facts) -> nn.Module:
    network = AutoModelForObjectDetection.from_config(AutoConfig.for_model(**facts["network"]))
    preparation = Preparation(**{name: _paired(value) for name, value in facts["preparation"].items()})
    return Detector(network, **{name: facts[name] for name in ("names", "dim", "no_object")}, preparation=preparation)


def _paired(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _visual_words(facts: Facts) -> nn.Module:
    return nn.Embedding(facts["words"], facts["dim"])


BUILDERS: dict[str, Callable[[Facts], nn.Module]] = {
    **dict.fromkeys(STREAMS, _stream),
    "captioner": _captioner,
    "encoder": _encoder,
    "captioner_encoder": _encoder,
    "saliency": _saliency,
    "detector": _detector,
    "visual_words": _visual_words,
}
