"""Detectors of `transformers` behind one interface: small random ones, as save_pretrained leaves them."""

import json

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.yolos.image_processing_pil_yolos import get_size_with_aspect_ratio_yolos

from fashionvl.catalogue.problems import Problem
from fashionvl.models.detector import Preparation, corners, load_detector
from fashionvl.models.scratch_detector import finished, scratch

NAMES = ["shirt", "sleeve", "collar", "button"]
CLASSES = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}
SCRATCH = {"channels": [8] * 5, "width": 32, "inner": 32, "heads": 2, "layers": 2, "queries": 6, "noised": 4}
QUERIES = {
    "encoder_hidden_dim": 32, "encoder_in_channels": [8] * 3, "encoder_ffn_dim": 32, "encoder_attention_heads": 2,
    "d_model": 32, "num_queries": 6, "decoder_in_channels": [32] * 3, "decoder_ffn_dim": 32, "decoder_layers": 2,
    "decoder_attention_heads": 2, **CLASSES,
}  # fmt: skip
SQUARE = {"size": {"height": 64, "width": 64}, "do_normalize": False}
SHAPED = {"size": {"shortest_edge": 64, "longest_edge": 96}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}


def yolos():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return YolosForObjectDetection(YolosConfig(**sizes, image_size=[64, 64], num_detection_tokens=5, **CLASSES))


def rt_detr():
    maps = {"embedding_size": 8, "hidden_sizes": [8] * 4, "depths": [1] * 4, "layer_type": "basic"}
    backbone = RTDetrResNetConfig(**maps, out_indices=[2, 3, 4])
    return RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, **QUERIES))


def d_fine():
    stages = ("stage_in_channels", "stage_mid_channels", "stage_out_channels", "hidden_sizes")
    sizes = {name: [8] * 4 for name in stages} | {"stem_channels": [3, 8, 8], "embedding_size": 8}
    ones = {name: [1] * 4 for name in ("stage_num_blocks", "stage_numb_of_layers", "depths")}
    backbone = HGNetV2Config(**sizes, **ones, out_indices=[2, 3, 4])
    return DFineForObjectDetection(DFineConfig(backbone_config=backbone, **QUERIES))


def own():
    return finished(scratch(NAMES, **SCRATCH))


MADE = {"yolos": (yolos, SHAPED), "rt_detr": (rt_detr, SQUARE), "d_fine": (d_fine, SQUARE), "own": (own, SQUARE)}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder and the network in it, by name; weights differ enough for answers to."""
    found = {}
    for name, (make, preparation) in MADE.items():
        torch.manual_seed(0)
        folder, network = tmp_path_factory.mktemp(name), make().eval()
        for weight in network.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        if name == "own":
            finished(network)
        network.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
        found[name] = (folder, network)
    return found


@pytest.fixture
def pictures():
    return torch.randint(0, 256, (3, 3, 80, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "queries", "dim"), [("yolos", 5, 16), *((n, 6, 32) for n in MADE if n != "yolos")])
def test_every_query_answers_with_a_box_classes_that_sum_to_one_and_an_embedding(shelf, pictures, name, queries, dim):
    detector = load_detector(shelf[name][0])
    seen = detector(pictures)
    assert (detector.names, detector.dim) == (NAMES, dim)
    assert seen.boxes.shape == (3, queries, 4)
    assert (seen.boxes[..., 2:] >= seen.boxes[..., :2]).all()
    assert 0 <= seen.boxes.min() <= seen.boxes.max() <= 1
    assert seen.classes.shape == (3, queries, 4)
    torch.testing.assert_close(seen.classes.sum(dim=-1), torch.ones(3, queries))
    assert seen.sure.shape == (3, queries)
    assert 0 <= seen.sure.min() <= seen.sure.max() <= 1
    assert seen.vectors.shape == (3, queries, dim)
    assert not seen.boxes.requires_grad


@torch.no_grad()
def test_boxes_and_classes_are_what_the_network_says(shelf, pictures):
    folder, network = shelf["yolos"]
    detector = load_detector(str(folder))
    found, seen = network(pixel_values=detector.prepare(pictures)), detector(pictures)
    torch.testing.assert_close(seen.boxes, corners(found.pred_boxes).clamp(0, 1))
    torch.testing.assert_close(seen.sure[..., None] * seen.classes, found.logits.softmax(dim=-1)[..., :-1])
    torch.testing.assert_close(network.class_labels_classifier(seen.vectors), found.logits)
    folder, network = shelf["own"]
    detector = load_detector(folder)
    found, seen = network(pixel_values=detector.prepare(pictures)), detector(pictures)
    alone = found.logits.sigmoid()  # each class by itself
    torch.testing.assert_close(seen.sure, alone.amax(dim=-1))
    odds = alone / (1 - alone)
    torch.testing.assert_close(seen.classes, odds / odds.sum(dim=-1, keepdim=True))
    torch.testing.assert_close(network.class_embed[-1](seen.vectors), found.logits)


def test_a_picture_is_prepared_as_the_folder_says(shelf, pictures):
    plain = load_detector(shelf["own"][0]).prepare(pictures)
    assert plain.shape == (3, 3, 64, 64)
    assert 0 <= plain.min() < 0.2 < 0.8 < plain.max() <= 1
    shaped = load_detector(shelf["yolos"][0]).prepare(pictures)
    assert shaped.shape == (3, 3, 80, 64)  # 85 x 64, in multiples of 16
    grey = torch.full((1, 3, 64, 64), 191, dtype=torch.uint8)
    torch.testing.assert_close(load_detector(shelf["yolos"][0]).prepare(grey).mean().item(), (191 / 255 - 0.5) / 0.25)


@pytest.mark.parametrize("size", [(256, 192), (192, 256), (800, 600), (200, 900), (901, 333), (64, 64)])
def test_the_shape_of_a_picture_is_kept_as_yolos_keeps_it(size):
    preparation = Preparation((512, 864), True, 16, 1 / 255, (0.0,) * 3, (1.0,) * 3)
    assert preparation.size_of(*size) == get_size_with_aspect_ratio_yolos(size, 512, 864)


def test_what_is_seen_depends_on_neither_autocast_nor_training_nor_the_pictures_beside_it(shelf, pictures):
    detector = load_detector(shelf["own"][0])
    seen = detector(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        again = detector.train()(pictures)
    assert torch.equal(seen.boxes, again.boxes)
    assert torch.equal(seen.classes, again.classes)
    torch.testing.assert_close(detector(pictures[1:2]).boxes, seen.boxes[1:2])


def test_the_scratch_detector_begins_with_norms_that_pass_what_they_normalise():
    network = scratch(NAMES, **SCRATCH)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 20
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)
    assert all(weight.requires_grad for norm in norms for weight in norm.parameters())


def test_the_scratch_detector_computes_boxes_and_losses_in_float32_under_autocast(pictures):
    torch.manual_seed(0)
    network = scratch(NAMES, **SCRATCH)
    labels = [{"boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]]), "class_labels": torch.tensor([2])}] * 3
    with torch.autocast("cpu", torch.bfloat16):
        found = network(pixel_values=torch.nn.functional.interpolate(pictures / 255, (64, 64)), labels=labels)
    assert found.pred_boxes.dtype == found.enc_outputs_coord_logits.dtype == found.loss.dtype == torch.float32
    found.loss.backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing"])
def test_a_missing_folder_is_one_sentence(name):
    with pytest.raises(Problem, match="there is no folder") as problem:
        load_detector(name)
    assert "\n" not in str(problem.value)


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(Problem, match="cannot be loaded") as problem:
        load_detector(tmp_path)
    assert "\n" not in str(problem.value)


def test_another_kind_of_network_is_named(tmp_path):
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**tiny)).save_pretrained(tmp_path)
    with pytest.raises(Problem, match="is a bert, and only detectors can find regions"):
        load_detector(tmp_path)


def test_weights_that_are_missing_or_damaged_are_never_replaced(shelf, tmp_path):
    folder = shelf["yolos"][0]
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    with pytest.raises(Problem, match="cannot be loaded"):
        load_detector(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(Problem, match="cannot be loaded"):
        load_detector(tmp_path)


def test_a_lacking_weight_is_named(shelf, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((shelf["yolos"][0] / name).read_text())
    weights = load_file(shelf["yolos"][0] / "model.safetensors")
    gone = "bbox_predictor.layers.0.weight"
    kept = {name: weight for name, weight in weights.items() if name != gone}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(Problem, match=rf"lack weights.*{gone}"):
        load_detector(tmp_path)


def test_a_detector_without_a_stated_size_is_one_sentence(shelf, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((shelf["yolos"][0] / name).read_bytes())
    with pytest.raises(Problem, match="states the size"):
        load_detector(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"max_height": 5, "max_width": 5}}')
    with pytest.raises(Problem, match=r"gives the size as .*max_height"):
        load_detector(tmp_path)


def test_a_backbone_of_timm_is_one_sentence(tmp_path):
    said = {"model_type": "detr", "backbone": "resnet50", "use_timm_backbone": True}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(Problem, match="backbone of timm, which is not used here"):
        load_detector(tmp_path)
