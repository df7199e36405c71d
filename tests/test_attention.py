"""Attention where every query has a row of keys of its own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fashionvl.models.attention import attend
from fashionvl.models.single_stream import SingleStream


def queries(rows: int = 3, tokens: int = 6, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(rows, 2, tokens, 4, generator=generator, dtype=dtype) for _ in range(3)]


def rows_of_keys(rows: int = 3, tokens: int = 6) -> Tensor:
    """Some keys of each query, itself always."""
    drawn = torch.rand(rows, tokens, tokens, generator=torch.Generator().manual_seed(3)) < 0.5
    return drawn | torch.eye(tokens, dtype=torch.bool)


def encoder(dropout: float = 0.0, **changes) -> SingleStream:
    torch.manual_seed(0)
    sizes = {"vocabulary": 50, "dim": 12, "width": 32, "layers": 2, "heads": 4, "inner": 64, "objectives": ["mlm"]}
    return SingleStream(**{**sizes, "dropout": dropout, **changes})


@pytest.mark.parametrize("training", [True, False])
def test_equal_rows_of_keys_are_one_row_for_all(training):
    shown = torch.tensor([[True] * 6, [True, False] * 3, [True] * 4 + [False] * 2])
    answers = []
    for mask in (shown, shown[:, None].expand(-1, 6, -1)):
        q, k, v = (x.requires_grad_() for x in queries())
        torch.manual_seed(4)
        looked = attend(q, k, v, shown=mask, share=0.3, training=training)
        answers.append([looked, *torch.autograd.grad(looked.square().sum(), (q, k, v))])
    for one, each in zip(*answers, strict=True):
        torch.testing.assert_close(one, each)


def test_rows_of_keys_mean_what_they_mean_in_pytorchs_own():
    """With a share so small that it never drops, and without."""
    shown, answers = rows_of_keys(), []
    for share in (1e-9, 0.0, None):
        q, k, v = (x.requires_grad_() for x in queries())
        if share is not None:
            looked = attend(q, k, v, shown=shown, share=share, training=True)
        else:
            looked = F.scaled_dot_product_attention(q, k, v, attn_mask=shown[:, None])
        answers.append([looked, *torch.autograd.grad(looked.square().sum(), (q, k, v))])
    for dropped, whole, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(dropped, theirs)
        torch.testing.assert_close(whole, theirs)


def test_the_gradient_with_rows_of_keys_is_the_derivative():
    shown = rows_of_keys(1, 4)

    def dropped(*inputs):
        torch.manual_seed(5)
        return attend(*inputs, shown=shown, share=0.3, training=True)

    given = [x.requires_grad_() for x in queries(1, 4, torch.float64)]
    assert torch.autograd.gradcheck(dropped, given)


@pytest.mark.parametrize("training", [True, False])
def test_what_a_query_may_not_look_at_changes_not_a_bit(training):
    shown = rows_of_keys()
    shown[:, 1, 4] = False
    q, k, v = queries()
    changed_k, changed_v = k.clone(), v.clone()
    changed_k[:, :, 4], changed_v[:, :, 4] = 7.0, -7.0
    said = []
    for keys, values in ((k, v), (changed_k, changed_v)):
        torch.manual_seed(6)
        said.append(attend(q, keys, values, shown=shown, share=0.3, training=training))
    assert torch.equal(said[0][:, :, 1], said[1][:, :, 1])
    assert not torch.equal(said[0], said[1])


@pytest.mark.parametrize("meeting", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_encoder_answers_at_some_positions_as_at_all(meeting, checkpointing):
    model = encoder(meeting=meeting, checkpointing=checkpointing).eval()
    words, patches, shown = torch.randn(3, 5, 32), torch.randn(3, 55, 32), rows_of_keys(3, 60)
    wanted = torch.tensor([[0, 3, 20], [4, 4, 59], [0, 1, 7]])
    with torch.no_grad():
        everywhere, somewhere = model.read(words, patches, shown), model.read(words, patches, shown, wanted)
    torch.testing.assert_close(torch.take_along_dim(everywhere, wanted[:, :, None], dim=1), somewhere)


def test_cls_meets_what_it_may_look_at():
    model = encoder(meeting=True).eval()
    words, patches = torch.randn(2, 5, 32), torch.randn(2, 55, 32)
    of_cls = torch.rand(2, 60, generator=torch.Generator().manual_seed(7)) < 0.5
    shown = torch.ones(2, 60, 60, dtype=torch.bool)
    shown[:, 0] = of_cls
    met = []
    model.meeting.register_forward_hook(lambda module, given, told: met.append(told))
    with torch.no_grad():
        model.read(words, patches, shown)
        model.read(words, patches, of_cls)
    assert torch.equal(*met)
