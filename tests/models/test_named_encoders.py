import copy
import json

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    ResNetConfig,
    ResNetForImageClassification,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from fashionvl.catalogue.problems import Problem
from fashionvl.models import named_encoders
from fashionvl.models.patch_encoder import ConvEncoder

SMALL = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 2, 1]}


def unsettled(network):
    """Batch norms that do something, as after training."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A folder as a classifier leaves it, with another normalisation than ImageNet's."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    network = unsettled(ResNetForImageClassification(ResNetConfig(**SMALL)))
    network.save_pretrained(folder)
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "size": {"shortest_edge": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder, network


def tiles(count=6, side=32):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


@torch.inference_mode()
def test_a_resnet_folder_gives_its_pooled_features_after_its_own_normalisation(resnet):
    folder, network = resnet
    encoder = named_encoders.load_resnet(str(folder))
    features = encoder(tiles())
    expected = network.resnet((tiles().float() / 255 - 0.5) / 0.25).pooler_output.flatten(1)
    assert encoder.dim == 24
    assert not encoder.training
    assert features.shape == (6, 24)
    assert features.min() >= 0
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_folding_the_batch_norms_changes_nothing_but_rounding(resnet):
    conv = unsettled(ConvEncoder([8, 16, 24]))
    for encoder in (named_encoders.load_resnet(str(resnet[0])), conv):
        before = encoder(tiles())
        folded = named_encoders.frozen(copy.deepcopy(encoder), torch.float32)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        torch.testing.assert_close(folded(tiles()), before, rtol=1e-4, atol=1e-5)
        fast = named_encoders.frozen(copy.deepcopy(encoder), torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            rough = fast(tiles()).float()
        assert (rough - before).abs().max() < 0.03 * before.abs().max()


def test_equal_weights_have_equal_checksums_and_others_do_not(resnet):
    first, second = (named_encoders.load_resnet(str(resnet[0])) for _ in range(2))
    assert named_encoders.weights_checksum(first) == named_encoders.weights_checksum(second)
    next(second.parameters()).data.view(-1)[0] += 1e-3
    assert named_encoders.weights_checksum(first) != named_encoders.weights_checksum(second)


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "resnet51"])
def test_a_missing_folder_is_one_sentence(name):
    with pytest.raises(Problem, match="there is no folder") as problem:
        named_encoders.load_resnet(name)
    assert "\n" not in str(problem.value)


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(Problem, match="cannot be loaded") as problem:
        named_encoders.load_resnet(str(tmp_path))
    assert "\n" not in str(problem.value)


def test_another_kind_of_network_is_named(tmp_path):
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(Problem, match="is a bert"):
        named_encoders.load_resnet(str(tmp_path))


def test_missing_weights_are_never_replaced_by_random_ones(resnet, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(resnet[0] / "model.safetensors")
    gone = "resnet.encoder.stages.2.layers.0.shortcut.convolution.weight"
    save_file(
        {name: w for name, w in weights.items() if name != gone}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    (tmp_path / "config.json").write_text((resnet[0] / "config.json").read_text())
    with pytest.raises(Problem, match=r"lack weights.*stages\.2"):
        named_encoders.load_resnet(str(tmp_path))


def test_damaged_weights_are_one_sentence(resnet, tmp_path):
    (tmp_path / "config.json").write_text((resnet[0] / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((resnet[0] / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(Problem, match="cannot be loaded"):
        named_encoders.load_resnet(str(tmp_path))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmenter")
    sizes = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    torch.manual_seed(0)
    SegformerForSemanticSegmentation(SegformerConfig(num_labels=2, **sizes)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
    return folder


@torch.inference_mode()
def test_a_segmenter_gives_a_mask_of_what_is_not_its_class_0(segmenter):
    network = named_encoders.load_saliency(str(segmenter))
    assert network.pixels == 64
    pictures = tiles(2, 64)
    mask = network(pictures)
    assert (mask.shape[0], mask.dtype) == (2, torch.bool)
    network.network.decode_head.classifier.bias.data = torch.tensor([-100.0, 100.0])
    assert network(pictures).all()
    network.network.decode_head.classifier.bias.data = torch.tensor([100.0, -100.0])
    assert not network(pictures).any()


def test_a_segmenter_without_a_stated_size_is_one_sentence(segmenter, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((segmenter / name).read_bytes())
    with pytest.raises(Problem, match="states the size"):
        named_encoders.load_saliency(str(tmp_path))
