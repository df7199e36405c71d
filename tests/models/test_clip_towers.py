import math

import pytest
import torch
import torch.nn.functional as F

from fashionvl.catalogue.problems import Problem
from fashionvl.models.clip import Clip, ConvStem
from fashionvl.models.pre_norm import Sizes

PICTURE, TEXT = Sizes(48, 3, 4, 96), Sizes(32, 2, 4, 64)
END = 3
RARITY = torch.rand(50).index_fill(0, torch.tensor([0, END]), 0)


def clip(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"picture": PICTURE, "text": TEXT, "dim": 24, "pixels": (32, 24), "patch": 8}
    model = Clip(**sizes | {"vocabulary": 50, "slots": 12, "end": END} | changes)
    with torch.no_grad():
        for weight in model.parameters():  # so that all that is 0 at first has an effect
            weight.add_(0.05 * torch.randn(weight.shape))
    return model


@pytest.fixture(
    params=[{}, {"channels": [8, 16]}, {"channels": [8, 16], "rarity": RARITY}],
    ids=["linear", "convolutional", "means"],
)
def model(request):
    return clip(**request.param)


@pytest.fixture
def patches(model):
    return model.patches_of(torch.randint(0, 256, (4, 3, 32, 24), dtype=torch.uint8))


def test_towers_meet_in_one_space(model, patches):
    words = torch.tensor([[2, 7, END, 0], [2, 7, 9, END]]).repeat(2, 1)
    for embedded in (model.embed_pictures(patches), model.embed_texts(words)):
        assert embedded.shape == (4, 24)
        assert torch.allclose(embedded.norm(dim=1), torch.ones(4), atol=1e-5)


def test_keeping_all_patches_in_any_order_changes_nothing(model, patches):
    keep = torch.rand(4, 12).argsort(dim=1)
    whole = model.embed_pictures(patches)
    assert torch.allclose(model.embed_pictures(patches, keep), whole, atol=1e-5)
    assert torch.allclose(model.embed_pictures(patches, keep, torch.ones(4, 12, dtype=torch.bool)), whole, atol=1e-5)


def test_what_may_not_be_looked_at_is_as_good_as_dropped(model, patches):
    keep = torch.arange(8).expand(4, 8)
    valid = (torch.arange(8) < 5).expand(4, 8)
    assert torch.allclose(
        model.embed_pictures(patches, keep, valid), model.embed_pictures(patches, keep[:, :5]), atol=1e-5
    )


@pytest.mark.parametrize("autocast", [False, True])
def test_a_hidden_patch_changes_nothing_bit_for_bit(model, patches, autocast):
    keep, valid = torch.rand(4, 12).argsort(dim=1)[:, :9], torch.rand(4, 9) < 0.5
    valid[:, 0] = True
    seen = torch.zeros(4, 12, dtype=torch.bool).scatter(1, keep, valid)
    other = torch.where(seen[:, :, None], patches, 100 * torch.randn_like(patches))
    results = []
    for shown in (patches, other):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            embedded = model.embed_pictures(shown, keep, valid)
        embedded[:, 0].sum().backward()
        results.append((embedded.detach(), [p.grad for p in model.pictures.blocks.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_every_shown_patch_counts(model, patches):
    keep = torch.arange(6).expand(4, 6)
    before = model.embed_pictures(patches, keep)
    for place in range(6):
        other = patches.clone()
        other[:, place] += 1
        assert not torch.allclose(model.embed_pictures(other, keep), before)


def test_a_dropped_patch_is_not_encoded():
    model, seen = clip(channels=[8, 16]), []
    model.pictures.stem.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    patches, keep = torch.randn(4, 12, 192), torch.arange(6).expand(4, 6)
    model.embed_pictures(patches, keep)
    model.embed_pictures(patches, keep, (torch.arange(6) < 2).expand(4, 6))
    assert seen == [24, 8]


def test_a_stem_that_has_learned_does_not_mind_which_patches_are_with_it():
    stem, patches = ConvStem([8, 16, 24], 16, 32).eval(), torch.randn(6, 768)
    assert torch.allclose(stem(patches)[2:3], stem(patches[2:3]), atol=1e-5)


def test_a_step_of_the_stem_is_a_convolution_of_two_by_two():
    stem, patches = ConvStem([8, 16], 8, 32), torch.randn(6, 192)
    maps = patches.view(6, 3, 8, 8)
    for step, before in zip(stem.steps, (3, 8), strict=True):
        kernel = step.weight.view(-1, 2, 2, before).permute(0, 3, 1, 2)
        maps = F.conv2d(maps, kernel, step.bias, stride=2)
        maps = F.batch_norm(maps, None, None, training=True).relu()
    assert torch.allclose(stem(patches), stem.project(maps.mean(dim=(2, 3))), atol=1e-5)
    with pytest.raises(Problem, match="cannot be halved 4 times"):
        ConvStem([8, 8, 8, 8], 8, 32)


def test_what_stands_behind_the_end_of_a_text_does_not_count(model):
    words = torch.tensor([[2, 7, 9, END, 0, 0], [2, 8, END, 0, 0, 0]])
    other = torch.tensor([[2, 7, 9, END, 5, END], [2, 8, END, 9, 9, 9]])
    assert torch.allclose(model.embed_texts(words), model.embed_texts(other), atol=1e-6)
    assert torch.equal(model.embed_texts(words), model.embed_texts(words[:, :4]))


def test_a_text_is_read_from_left_to_right():
    model = clip()
    words = torch.tensor([[2, 7, 9, 8, END]])
    states = []
    model.texts.blocks[0].register_forward_hook(lambda _, inputs, output: states.append(output))
    model.embed_texts(words)
    model.embed_texts(torch.tensor([[2, 7, 9, 6, END]]))
    assert torch.equal(states[0][:, :3], states[1][:, :3])
    assert not torch.allclose(states[0][:, 3:], states[1][:, 3:])


def test_with_means_a_model_begins_as_their_likeness():
    torch.manual_seed(0)
    sizes = {"picture": PICTURE, "text": TEXT, "dim": 24, "pixels": (32, 24), "patch": 8}
    model = Clip(**sizes, vocabulary=50, slots=12, end=END, rarity=RARITY)
    patches = model.patches_of(torch.randint(0, 256, (4, 3, 32, 24), dtype=torch.uint8))
    words = torch.tensor([[2, 7, 8, END], [2, 8, 7, END]])
    assert torch.allclose(*model.texts(words), atol=1e-6)  # a bag knows no order
    tokens = model.pictures.embedded(patches)
    assert torch.allclose(model.pictures(patches), model.pictures.mean(tokens.mean(dim=1)), atol=1e-6)
    loss = (model.embed_pictures(patches[:2]) * model.embed_texts(words)).sum()
    loss.backward()
    assert model.texts.project.weight.grad.abs().sum() > 0  # and goes on from there


def test_looks_are_the_attention_of_the_class_token_in_the_last_block():
    model = clip()
    patches = model.patches_of(torch.randint(0, 256, (2, 3, 32, 24), dtype=torch.uint8))
    looks, last, heard = model.pictures.looks(patches), model.pictures.blocks[-1], {}
    last.register_forward_pre_hook(lambda _, inputs: heard.update(x=inputs[0]))
    model.embed_pictures(patches)
    q, k, _ = last.qkv(last.norm_attention(heard["x"])).view(2, 13, 3, 4, 12).permute(2, 0, 3, 1, 4)
    expected = (q @ k.transpose(2, 3) / math.sqrt(12)).softmax(dim=3)[:, :, 0, 1:].mean(dim=1)
    assert torch.allclose(looks, expected, atol=1e-6)


def test_the_temperature_is_learned_within_its_bounds():
    model = clip()
    model.log_scale.data.fill_(math.log(1000))
    model.scale.backward()
    assert model.scale.item() == pytest.approx(100)
    assert model.log_scale.item() == pytest.approx(math.log(100))  # so that it can come back
    assert model.log_scale.grad > 0
    model.log_scale.data.fill_(-3)
    assert model.scale == 1
