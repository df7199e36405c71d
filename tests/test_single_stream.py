import dataclasses
import math

import pytest
import torch
from shop import OBJECTIVES
from transformers import BertConfig, BertForPreTraining

from fashionvl.batches import Batch
from fashionvl.catalogue.problems import Problem
from fashionvl.models import attention
from fashionvl.models.bert import start_from
from fashionvl.models.single_stream import Meeting, SingleStream
from fashionvl.patches.pyramid import KALEIDO, Pyramid

SIZES = {"vocabulary": 50, "dim": 12, "width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.0}


def model(**changes) -> SingleStream:
    torch.manual_seed(0)
    return SingleStream(**{**SIZES, "objectives": list(OBJECTIVES), **changes}).eval()


def batch(rows=3, slots=9, real=7, pyramid=KALEIDO) -> Batch:
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(5, 50, (rows, slots), generator=generator)
    mask = (torch.arange(slots) < real).expand(rows, -1)
    patches = torch.rand(rows, pyramid.patches, 12, generator=generator)
    places, levels = pyramid.places(), pyramid.levels_of()
    shown = torch.ones(rows, pyramid.patches, dtype=torch.bool)
    return Batch(words.masked_fill(~mask, 0), mask, patches, shown, places, levels)


def test_the_papers_size_has_exactly_the_papers_parameters():
    with torch.device("meta"):
        base = SingleStream(
            vocabulary=30522,
            dim=2048,
            width=768,
            layers=12,
            heads=12,
            inner=3072,
            dropout=0.1,
            objectives=list(OBJECTIVES),
        )
    assert sum(p.numel() for p in base.parameters()) == 121_270_881


def test_a_fixed_scale_has_one_projection_and_reads_its_64_patches():
    fixed = model(grids=(8,), objectives=["mlm", "itm", "blank"])
    given = batch(pyramid=Pyramid((8,)))
    assert len(fixed.patches.project) == len(fixed.patches.norm) == len(fixed.patches.level.weight) == 1
    with torch.no_grad():
        assert fixed(given).shape == (3, 9 + 64, 32)
        other = dataclasses.replace(given, patches=given.patches.roll(1, dims=1))
        assert not torch.allclose(fixed(given), fixed(other), atol=1e-4)


def test_a_head_for_a_puzzle_that_the_grids_do_not_play_is_refused():
    with pytest.raises(ValueError, match=r"\[8\] do not play 'rotation'"):
        model(grids=(8,), objectives=["itm", "rotation"])


def test_what_stands_in_the_padding_changes_nothing():
    given = batch()
    other = dataclasses.replace(given, words=given.words.masked_fill(~given.real, 33))
    real = torch.cat([given.real, given.shown], dim=1)
    with torch.no_grad():
        assert torch.allclose(model()(given)[real], model()(other)[real], atol=1e-6)


def test_dynamic_padding_changes_nothing():
    long, short = batch(slots=16, real=7), batch(slots=16, real=7)
    short = dataclasses.replace(short, words=short.words[:, :7], real=short.real[:, :7])
    with torch.no_grad():
        assert torch.allclose(model()(long)[:, 16:], model()(short)[:, 7:], atol=1e-5)


def test_moving_places_along_with_patches_matters():
    given = batch()
    order = torch.randperm(25, generator=torch.Generator().manual_seed(3)) + 30
    moved = given.places.clone()
    moved[30:] = given.places[order]
    with torch.no_grad():
        assert not torch.allclose(model()(given), model()(dataclasses.replace(given, places=moved)), atol=1e-4)


def test_a_missing_picture_and_a_missing_text_are_read():
    given = batch()
    blind = dataclasses.replace(given, shown=torch.zeros_like(given.shown))
    other = dataclasses.replace(blind, patches=torch.rand_like(given.patches))
    mute = dataclasses.replace(given, real=torch.zeros_like(given.real))
    with torch.no_grad():
        assert torch.allclose(model()(blind)[:, :7], model()(other)[:, :7], atol=1e-6)
        assert model()(mute)[:, 9:].isfinite().all()


def test_answering_at_some_positions_is_the_answer_at_those_of_all():
    given = batch()
    wanted = torch.tensor([[0, 3, 20], [0, 5, 60], [0, 1, 63]])
    with torch.no_grad():
        everywhere, somewhere = model()(given), model()(given, wanted)
    assert torch.allclose(everywhere.gather(1, wanted[:, :, None].expand(-1, -1, 32)), somewhere, atol=1e-5)


def test_recomputing_activations_gives_the_same_gradients():
    plain, thrifty = model(), model(checkpointing=True)
    for network in (plain, thrifty):
        network.train()
        network(batch()).square().sum().backward()
    for a, b in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-5)


def test_untrained_heads_know_nothing():
    states = model()(batch(rows=64))
    matched = torch.nn.functional.cross_entropy(
        model().match(model().pooled(states)), torch.zeros(64, dtype=torch.long)
    )
    assert matched.item() == pytest.approx(math.log(2), abs=0.1)


def test_only_the_heads_of_the_objectives_exist():
    assert set(model(objectives=["mlm", "itm"]).heads) == {"mlm", "itm"}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_attention_with_dropout_has_the_mean_of_attention_without(share):
    q, k, v = (torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(i)) for i in range(3))
    shown = torch.tensor([[True] * 5, [True, True, True, False, False]])
    exact = attention.attend(q, k, v, shown=shown, share=share, training=False)
    torch.manual_seed(0)
    mean = torch.stack([attention.attend(q, k, v, shown=shown, share=share, training=True) for _ in range(4000)]).mean(
        0
    )
    assert torch.allclose(mean, exact, atol=0.12)


def test_the_gradient_of_attention_is_the_derivative():
    q, k, v = (torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    shown = torch.tensor([[True, True, True, False]])

    def dropped(*inputs):
        torch.manual_seed(5)
        return attention.attend(*inputs, shown=shown, share=0.3, training=True)

    assert torch.autograd.gradcheck(dropped, (q, k, v))


def test_the_gradient_of_dropout_is_the_derivative():
    stream, update = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def dropped(*inputs):
        torch.manual_seed(5)
        return attention.drop_add(*inputs, 0.3, True)

    assert torch.autograd.gradcheck(dropped, (stream, update))


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = attention.drop(torch.ones(1000, 301), 0.1, True)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.003)


def bert(folder, **changes):
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    torch.manual_seed(2)
    network = BertForPreTraining(BertConfig(**{**sizes, "layer_norm_eps": 1e-12, **changes})).eval()
    network.save_pretrained(folder)
    return network


def test_a_model_started_from_bert_reads_text_as_bert_does(tmp_path):
    theirs, ours = bert(tmp_path), model()
    start_from(ours, str(tmp_path))
    given = batch()
    given = dataclasses.replace(given, shown=torch.zeros_like(given.shown))
    with torch.no_grad():
        expected = theirs(given.words, attention_mask=given.real.long())
        states = ours(given)[:, :9]
    assert torch.allclose(ours.name_words(states)[given.real], expected.prediction_logits[given.real], atol=1e-4)


def test_of_two_streams_the_words_own_half_starts_from_bert(tmp_path):
    theirs, ours = bert(tmp_path).bert, model(streams=2)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    start_from(ours, str(tmp_path))
    for layer, of_bert in zip(ours.layers, theirs.encoder.layer, strict=True):
        assert torch.equal(layer.within[0].up.weight, of_bert.intermediate.dense.weight)
        assert torch.equal(layer.within[0].qkv.weight[:32], of_bert.attention.self.query.weight)
    for name, tensor in ours.state_dict().items():
        if name.startswith("layers.") and "within.0" not in name:
            assert torch.equal(tensor, before[name])


def test_a_bert_that_is_not_there_or_does_not_fit_is_a_sentence(tmp_path):
    with pytest.raises(Problem, match="no BERT checkpoint folder"):
        start_from(model(), str(tmp_path / "nothing"))
    bert(tmp_path / "deep", num_hidden_layers=3)
    with pytest.raises(Problem, match="3 layers"):
        start_from(model(), str(tmp_path / "deep"))
    bert(tmp_path / "wide", vocab_size=60)
    with pytest.raises(Problem, match=r"words\.word\.weight"):
        start_from(model(), str(tmp_path / "wide"))


def test_a_meeting_tells_cls_and_only_cls_of_words_and_patches_shown():
    meeting = Meeting(32)
    given = batch()
    words, patches = torch.randn(3, 9, 32), torch.randn(3, 55, 32)
    shown = torch.cat([given.real, given.shown], dim=1)
    told = meeting(words, patches, shown)
    assert torch.equal(told[:, 1:], words[:, 1:])
    assert not torch.allclose(told[:, 0], words[:, 0])
    padded = words.masked_fill(~given.real[:, :, None], 9.0)
    assert torch.allclose(meeting(padded, patches, shown)[:, 0], told[:, 0], atol=1e-6)
    assert meeting(words, patches, torch.zeros_like(shown)).isfinite().all()


def test_there_is_no_meeting_where_none_is_asked_for():
    assert not any("meeting" in name for name in model().state_dict())
    assert any("meeting" in name for name in model(meeting=True).state_dict())


def test_a_full_sequence_is_119_long_and_cut_as_the_paper_has_it():
    given = batch(slots=64, real=50)
    with torch.no_grad():
        assert model()(given).shape == (3, 119, 32)
    slices = {
        level.puzzle: (64 + KALEIDO.span(level.puzzle).start, 64 + KALEIDO.span(level.puzzle).stop)
        for level in KALEIDO.levels
    }
    assert slices == {
        "rotation": (64, 65),
        "jigsaw": (65, 69),
        "camouflage": (69, 78),
        "grey": (78, 94),
        "blank": (94, 119),
    }
