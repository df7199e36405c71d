"""Start a model from a BERT checkpoint: text side, encoder, pooler and MLM head (specification 6.1).

Of two streams (ViLBERT) the words' own half of each layer is BERT's; what looks across, and the patches' stream, stay
random.
"""

import torch
from torch import Tensor
from transformers import BertForPreTraining

from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.models.two_streams import TwinLayer

LAYER = {
    "out.weight": "attention.output.dense.weight",
    "out.bias": "attention.output.dense.bias",
    "norm_attention.weight": "attention.output.LayerNorm.weight",
    "norm_attention.bias": "attention.output.LayerNorm.bias",
    "up.weight": "intermediate.dense.weight",
    "up.bias": "intermediate.dense.bias",
    "down.weight": "output.dense.weight",
    "down.bias": "output.dense.bias",
    "norm.weight": "output.LayerNorm.weight",
    "norm.bias": "output.LayerNorm.bias",
}
OUTSIDE = {
    "words.word.weight": "bert.embeddings.word_embeddings.weight",
    "words.position.weight": "bert.embeddings.position_embeddings.weight",
    "words.kind.weight": "bert.embeddings.token_type_embeddings.weight",
    "words.norm.weight": "bert.embeddings.LayerNorm.weight",
    "words.norm.bias": "bert.embeddings.LayerNorm.bias",
    "pooler.weight": "bert.pooler.dense.weight",
    "pooler.bias": "bert.pooler.dense.bias",
    "heads.mlm.dense.weight": "cls.predictions.transform.dense.weight",
    "heads.mlm.dense.bias": "cls.predictions.transform.dense.bias",
    "heads.mlm.norm.weight": "cls.predictions.transform.LayerNorm.weight",
    "heads.mlm.norm.bias": "cls.predictions.transform.LayerNorm.bias",
    "heads.mlm.bias": "cls.predictions.bias",
}


def start_from(model: SingleStream, source: str) -> None:
    """Load every weight that BERT has into the model; the image side and the puzzles' heads stay random.

    source  a local folder, or a hub name where downloads are allowed

    Raises Problem when the checkpoint is not there, or when its sizes are not the model's (naming the weight).
    """
    try:
        bert = BertForPreTraining.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Problem(f"model.start is {source!r}, which is no BERT checkpoint folder or hub name ({reason})") from None
    theirs = bert.state_dict()
    ours = model.state_dict()
    inside = "within.0." if isinstance(model.layers[0], TwinLayer) else ""
    for name, tensor in _renamed(theirs, len(model.layers), inside).items():
        if name.startswith("heads.") and name not in ours:
            continue  # a head this system does not have
        if ours[name].shape != tensor.shape:
            raise Problem(
                f"the BERT checkpoint {source!r} does not fit: {name} is {tuple(tensor.shape)} there and"
                f" {tuple(ours[name].shape)} here; choose its sizes in params.yaml (and its tokenizer in words.source)"
            )
        ours[name].copy_(tensor)


def _renamed(theirs: dict[str, Tensor], layers: int, inside: str) -> dict[str, Tensor]:
    """BERT's weights by our names; `inside` a layer of ours is what BERT's layer is."""
    depth = 1 + max(int(name.split(".")[3]) for name in theirs if name.startswith("bert.encoder.layer."))
    if depth != layers:
        raise Problem(f"the BERT checkpoint has {depth} layers, the model {layers}; choose the same in params.yaml")
    named = {ours: theirs[name] for ours, name in OUTSIDE.items()}
    for number in range(layers):
        prefix = f"bert.encoder.layer.{number}."
        named |= {f"layers.{number}.{inside}{ours}": theirs[prefix + name] for ours, name in LAYER.items()}
        for part in ("weight", "bias"):
            qkv = [theirs[f"{prefix}attention.self.{which}.{part}"] for which in ("query", "key", "value")]
            named[f"layers.{number}.{inside}qkv.{part}"] = torch.cat(qkv)
    return named
