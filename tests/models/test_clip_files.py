import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from fashionvl.catalogue.problems import Problem
from fashionvl.models import clip_files
from fashionvl.models.clip import Clip
from fashionvl.models.pre_norm import Sizes

VOCABULARY = 60


def theirs(end=59, act="quick_gelu", seed=0):
    torch.manual_seed(seed)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"vocab_size": VOCABULARY, "max_position_embeddings": 16, "eos_token_id": end, "hidden_act": act}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision |= {"image_size": 32, "patch_size": 8, "hidden_act": act}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()


def inputs(model):
    """Pictures, the same normalised as `transformers` wants them, and texts of several lengths."""
    pictures = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    normal = (pictures / 255 - model.mean[:, None, None]) / model.std[:, None, None]
    words = torch.randint(3, VOCABULARY - 1, (5, 16))
    for row, end in enumerate((3, 15, 9, 1, 6)):
        words[row, end], words[row, end + 1 :] = VOCABULARY - 1, 1
    return pictures, normal, words


def said(model, pictures, words):
    seen, told = model.embed_pictures(model.patches_of(pictures)), model.embed_texts(words)
    return seen, told, model.scale * seen @ told.T


@pytest.mark.parametrize("end", [59, 2], ids=["named end", "end of old checkpoints"])
@pytest.mark.parametrize("act", ["gelu", "quick_gelu"])
def test_the_same_weights_say_the_same_as_in_transformers(tmp_path, end, act):
    model = theirs(end, act)
    model.save_pretrained(tmp_path)
    ours = clip_files.load(str(tmp_path))
    pictures, normal, words = inputs(ours)
    with torch.no_grad():
        expected = model(input_ids=words, pixel_values=normal)
        seen, told, likeness = said(ours, pictures, words)
    assert torch.allclose(seen, expected.image_embeds, atol=1e-5)
    assert torch.allclose(told, expected.text_embeds, atol=1e-5)
    assert torch.allclose(likeness, expected.logits_per_image, atol=1e-4)


def test_the_same_weights_learn_the_same_as_in_transformers(tmp_path):
    model = theirs().train()
    model.save_pretrained(tmp_path)
    ours = clip_files.load(str(tmp_path)).train()
    pictures, normal, words = inputs(ours)
    model(input_ids=words, pixel_values=normal, return_loss=True).loss.backward()
    likeness, own = said(ours, pictures, words)[2], torch.arange(5)
    ((F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2).backward()
    first, stem = model.vision_model.encoder.layers[0].self_attn, model.vision_model.embeddings.patch_embedding
    qkv = torch.cat([getattr(first, f"{which}_proj").weight.grad for which in "qkv"])
    assert torch.allclose(ours.pictures.blocks[0].qkv.weight.grad, qkv, atol=1e-5)
    assert torch.allclose(ours.pictures.stem.weight.grad, stem.weight.grad.flatten(1), atol=1e-5)
    assert torch.allclose(ours.log_scale.grad, model.logit_scale.grad, atol=1e-5)


def test_what_is_saved_transformers_reads(tmp_path):
    torch.manual_seed(1)
    sizes = {"picture": Sizes(48, 2, 4, 96), "text": Sizes(32, 2, 2, 64), "dim": 24, "vocabulary": VOCABULARY}
    ours = Clip(pixels=(32, 32), patch=16, slots=16, end=VOCABULARY - 1, mean=(0.5,) * 3, std=(0.25,) * 3, **sizes)
    clip_files.save(ours.eval(), tmp_path)
    model, found = CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values())
    pictures, normal, words = inputs(ours)
    with torch.no_grad():
        expected = model.eval()(input_ids=words, pixel_values=normal).logits_per_image
        assert torch.allclose(said(ours, pictures, words)[2], expected, atol=1e-4)
    again = clip_files.load(str(tmp_path))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_what_transformers_cannot_be_is_not_saved(tmp_path):
    sizes = {"picture": Sizes(16, 1, 2, 32), "text": Sizes(16, 1, 2, 32), "dim": 8, "vocabulary": VOCABULARY}
    sizes |= {"patch": 8, "slots": 16}
    for kind in ({"channels": [8, 8, 8]}, {"pixels": (32, 24)}, {"end": 2}, {"rarity": torch.ones(VOCABULARY)}):
        with pytest.raises(Problem, match="can be a CLIPModel"):
            clip_files.save(Clip(**{"pixels": (32, 32), "end": 59} | sizes | kind), tmp_path)


def test_what_cannot_be_loaded_is_said_in_a_sentence(tmp_path):
    with pytest.raises(Problem, match="there is no folder"):
        clip_files.load(str(tmp_path / "nowhere"))
    with pytest.raises(Problem, match="cannot be loaded"):
        clip_files.load(str(tmp_path))
    theirs(act="relu").save_pretrained(tmp_path / "relu")
    with pytest.raises(Problem, match="activations relu"):
        clip_files.load(str(tmp_path / "relu"))
    theirs().save_pretrained(tmp_path / "half")
    weights = {k: v for k, v in theirs().state_dict().items() if "post_layernorm" not in k}
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "half/model.safetensors", {"format": "pt"})
    with pytest.raises(Problem, match=r"lack weights of a CLIP, vision_model\.post_layernorm"):
        clip_files.load(str(tmp_path / "half"))


def test_pictures_are_normalised_as_the_files_say(tmp_path):
    theirs().save_pretrained(tmp_path)
    stated = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    model = clip_files.load(str(tmp_path))
    assert model.mean.tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert model.std.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_texts_are_cut_by_the_tokenizer_beside_the_weights(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    merges = [("r", "e"), ("re", "d</w>")]
    CLIPTokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, merges=merges).save_pretrained(tmp_path)
    theirs(end=55).save_pretrained(tmp_path)
    model = clip_files.load(str(tmp_path))
    ids = clip_files.encode(str(tmp_path), ["A red hat", "", "x" * 40], model)
    assert ids.shape == (3, 16)
    assert ids[0].tolist() == [54, 26, 53, 7, 0, 45, *10 * [55]]
    assert ids[1].tolist() == [54, *15 * [55]]
    assert ids[2, -1] == 55
    assert model.embed_texts(ids).isfinite().all()


def test_a_tokenizer_that_is_missing_is_not_made_up(tmp_path):
    theirs().save_pretrained(tmp_path)
    model = clip_files.load(str(tmp_path))
    with pytest.raises(Problem, match="are missing or another's"):
        clip_files.encode(str(tmp_path), ["a"], model)
