"""CLIP from and to the files of `transformers`: start from a checkpoint by name, and leave one that CLIPModel reads."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, CLIPConfig, CLIPModel
from transformers.utils import cached_file

from fashionvl.catalogue.problems import Problem
from fashionvl.models.clip import MEAN, STD, Clip, ConvStem
from fashionvl.models.pre_norm import ACTIVATIONS, EPSILON, Sizes

OLD_END = 2  # what configurations before transformers 4.31 say of the end of a text: there it is the last piece of all
LAYER = {
    "norm_attention": "layer_norm1",
    "out": "self_attn.out_proj",
    "norm": "layer_norm2",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}
OUTSIDE = {
    "log_scale": "logit_scale",
    "pictures.stem.weight": "vision_model.embeddings.patch_embedding.weight",
    "pictures.first": "vision_model.embeddings.class_embedding",
    "pictures.position": "vision_model.embeddings.position_embedding.weight",
    "pictures.norm_first.weight": "vision_model.pre_layrnorm.weight",
    "pictures.norm_first.bias": "vision_model.pre_layrnorm.bias",
    "pictures.norm.weight": "vision_model.post_layernorm.weight",
    "pictures.norm.bias": "vision_model.post_layernorm.bias",
    "pictures.project.weight": "visual_projection.weight",
    "texts.words.weight": "text_model.embeddings.token_embedding.weight",
    "texts.position": "text_model.embeddings.position_embedding.weight",
    "texts.norm.weight": "text_model.final_layer_norm.weight",
    "texts.norm.bias": "text_model.final_layer_norm.bias",
    "texts.project.weight": "text_projection.weight",
}
TOWERS = {"pictures": "vision_model", "texts": "text_model"}


def load(source: str) -> Clip:
    """The CLIP of a folder or, where downloads are allowed, of a hub name, in eval mode.

    Raises Problem when it is missing, broken, incomplete or of a kind that these towers are not.
    """
    theirs = _checkpoint(source)
    config: Any = theirs.config
    _check(config, source)
    mean, std = _normalisation(source)
    text, vision = config.text_config, config.vision_config
    model = Clip(
        picture=_sizes(vision),
        text=_sizes(text),
        dim=config.projection_dim,
        pixels=(vision.image_size, vision.image_size),
        patch=vision.patch_size,
        vocabulary=text.vocab_size,
        slots=text.max_position_embeddings,
        end=text.vocab_size - 1 if text.eos_token_id == OLD_END else text.eos_token_id,
        activation=vision.hidden_act,
        mean=mean,
        std=std,
    )
    weights, names = theirs.state_dict(), _names(model)
    ours = {mine: torch.cat([weights[name] for name in of]) if len(of) > 1 else weights[of[0]] for mine, of in names}
    ours["pictures.stem.weight"] = ours["pictures.stem.weight"].flatten(1)
    model.load_state_dict(ours | {"mean": model.mean, "std": model.std})
    return model.eval()


def save(model: Clip, folder: Path) -> None:
    """Write a folder that `CLIPModel.from_pretrained` and `load` read; a tokenizer is not among its files.

    Raises Problem for a model that CLIPModel cannot be: with a convolutional stem, means, or oblong pictures, say.
    """
    own = isinstance(model.pictures.stem, ConvStem) or model.texts.bag is not None or model.texts.end == OLD_END
    if own or len(set(model.pixels)) > 1:
        raise Problem(
            "only a CLIP with CLIP's own stem and no means, square pictures, and texts that do not end with piece"
            f" {OLD_END} can be a CLIPModel of transformers"
        )
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = model.state_dict(), dict[str, Tensor]()
    for mine, of in _names(model):
        theirs |= dict(zip(of, ours[mine].chunk(len(of)) if len(of) > 1 else [ours[mine]], strict=True))
    stem = OUTSIDE["pictures.stem.weight"]
    theirs[stem] = theirs[stem].unflatten(1, (3, model.patch, model.patch))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in theirs.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _config_of(model).save_pretrained(folder)
    side, mean, std = model.pixels[0], model.mean.tolist(), model.std.tolist()
    sight = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": side}}
    sight |= {"crop_size": {"height": side, "width": side}, "image_mean": mean, "image_std": std}
    (folder / "preprocessor_config.json").write_text(json.dumps(sight, indent=1) + "\n", encoding="utf-8")


def save_words(source: str, folder: Path) -> None:
    """Put the tokenizer of a folder or hub name into another folder, from which `encode` reads it."""
    _tokenizer(source).save_pretrained(folder)


def encode(source: str, texts: Sequence[str], model: Clip) -> Tensor:
    """Texts as the tokenizer among the files of a CLIP cuts them; as `cutter` has it, which reads the files once."""
    return cutter(source, model)(texts)


def cutter(source: str, model: Clip) -> Callable[[Sequence[str]], Tensor]:
    """How the tokenizer among the files of a CLIP cuts texts -> (N, slots) int64, the end on all places behind it.

    Raises Problem where there is no tokenizer, or one of another vocabulary than the model's.
    """
    tokenizer = _tokenizer(source)
    slots, end, pieces = len(model.texts.position), model.texts.end, model.texts.words.num_embeddings
    if tokenizer.eos_token_id != end or len(tokenizer) > pieces:  # without files `transformers` makes up an empty one
        raise Problem(
            f"the tokenizer beside the CLIP {source!r} knows {len(tokenizer)} pieces and ends a text with number"
            f" {tokenizer.eos_token_id}, the CLIP {pieces} and {end}: its files are missing or another's"
        )

    def cut(texts: Sequence[str]) -> Tensor:
        found = tokenizer(list(texts), padding="max_length", truncation=True, max_length=slots)
        return torch.tensor(found["input_ids"], dtype=torch.int64).view(len(texts), slots)

    return cut


def words_checksum(source: str) -> str:
    """The sha256 of the tokenizer among the files of a CLIP, as hexadecimal digits."""
    return hashlib.sha256(_tokenizer(source).backend_tokenizer.to_str().encode()).hexdigest()


def _tokenizer(source: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Problem(f"the CLIP {source!r} has no tokenizer that can be read: {reason}") from None


def _checkpoint(source: str) -> Any:
    if not Path(source).is_dir() and (source.startswith((".", "/", "~")) or source.count("/") != 1):
        raise Problem(f"there is no folder {source!r}; a CLIP is named by its folder, or by owner/name on the hub")
    try:
        loaded: Any = CLIPModel.from_pretrained(source, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Problem(f"the CLIP {source!r} cannot be loaded: {reason}") from None
    model, found = loaded
    if found["missing_keys"]:
        raise Problem(f"the files of {source!r} lack weights of a CLIP, {sorted(found['missing_keys'])[0]} first")
    return model


def _check(config: Any, source: str) -> None:
    """Raises Problem where the configuration asks for something that these towers do not have."""
    text, vision = config.text_config, config.vision_config
    if text.hidden_act != vision.hidden_act or vision.hidden_act not in ACTIVATIONS:
        acts = f"{text.hidden_act} and {vision.hidden_act}"
        raise Problem(f"the CLIP {source!r} has the activations {acts}; both towers must have one of {[*ACTIVATIONS]}")
    if {text.layer_norm_eps, vision.layer_norm_eps} != {EPSILON} or vision.num_channels != 3:
        raise Problem(f"the CLIP {source!r} must have layer norms with an epsilon of {EPSILON} and three colours")
    if not isinstance(vision.image_size, int) or not isinstance(vision.patch_size, int):
        raise Problem(f"the CLIP {source!r} must have square pictures and patches")
    if not isinstance(text.eos_token_id, int):
        raise Problem(f"the CLIP {source!r} must name one piece that ends a text (eos_token_id)")


def _sizes(config: Any) -> Sizes:
    return Sizes(config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)


def _names(model: Clip) -> list[tuple[str, list[str]]]:
    """Every weight of ours, and those of theirs that it is made of, one after the other."""
    names = [(mine, [theirs]) for mine, theirs in OUTSIDE.items()]
    for tower, theirs in TOWERS.items():
        for number in range(len(getattr(model, tower).blocks)):
            mine, of = f"{tower}.blocks.{number}", f"{theirs}.encoder.layers.{number}"
            for part in ("weight", "bias"):
                names += [(f"{mine}.{ours}.{part}", [f"{of}.{name}.{part}"]) for ours, name in LAYER.items()]
                names.append((f"{mine}.qkv.{part}", [f"{of}.self_attn.{which}_proj.{part}" for which in "qkv"]))
    return names


def _config_of(model: Clip) -> CLIPConfig:
    sizes, towers = model.sizes, dict[str, dict[str, Any]]()
    for name, mine in (("vision", "picture"), ("text", "text")):
        tower = sizes[mine]
        towers[name] = {"hidden_size": tower["width"], "num_hidden_layers": tower["layers"]}
        towers[name] |= {"num_attention_heads": tower["heads"], "intermediate_size": tower["inner"]}
        towers[name] |= {"projection_dim": sizes["dim"], "hidden_act": sizes["activation"]}
    towers["vision"] |= {"image_size": sizes["pixels"][0], "patch_size": sizes["patch"]}
    towers["text"] |= {"vocab_size": sizes["vocabulary"], "max_position_embeddings": sizes["slots"]}
    # A model has no use for the piece that begins a text.
    towers["text"] |= {"eos_token_id": sizes["end"], "bos_token_id": None}
    return CLIPConfig(
        text_config=towers["text"],
        vision_config=towers["vision"],
        projection_dim=sizes["dim"],
        architectures=["CLIPModel"],
    )


def _normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """-> mean, std of RGB in 0..1; CLIP's own where the files do not say"""
    found = cached_file(source, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    stated = {} if found is None else json.loads(Path(found).read_text(encoding="utf-8"))
    return tuple(stated.get("image_mean", MEAN)), tuple(stated.get("image_std", STD))
