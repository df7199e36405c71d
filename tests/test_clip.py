import gc
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shop as small
import torch
import torch.distributed as dist
import torch.nn.functional as F

from fashionvl import clusters, losses, training, words
from fashionvl.catalogue.problems import Problem
from fashionvl.models.clip import Clip
from fashionvl.models.pre_norm import Sizes
from fashionvl.tasks import clip, contrast
from fashionvl.tasks.hiding import NOBODY, WAYS, Hiding, companions, find_threshold, kept
from fashionvl.tasks.pairs import Shop

HEIGHT, WIDTH, PATCH, PATCHES, END = 48, 32, 8, 24, 3


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="module")
def catalogue():
    return small.catalogue(products=48, views=2)


@pytest.fixture(scope="module")
def shop(catalogue):
    return Shop.of(catalogue, "train")


@pytest.fixture(scope="module")
def desk(catalogue):
    """Pictures whose upper half is of a colour of the product's own, the rest white."""
    texts = catalogue.texts(["title", "description"])
    vocabulary = words.learn(texts, vocabulary=120, slots=24)
    pictures = torch.from_numpy(catalogue.pictures_in("train"))
    pixels = np.full((len(pictures), HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    colour = np.random.default_rng(0).integers(0, 256, size=(48, 1, 1, 3))
    pixels[:, : HEIGHT // 2] = colour[catalogue.pictures["product"].to_numpy()[pictures.numpy()]]
    album = contrast.Album(torch.from_numpy(pixels), pictures)
    ids, sides = vocabulary.encode(texts).ids, torch.ones(1, dtype=torch.int64)
    return clip.Desk(contrast.Desk(album, ids, vocabulary.pad, sides, HEIGHT, WIDTH, 0.1, True, 0.2), END, PATCHES, 40)


def model_of(seed=0, **kind):
    torch.manual_seed(seed)
    sizes = {"picture": Sizes(32, 2, 4, 64), "text": Sizes(32, 2, 4, 64), "dim": 16, "vocabulary": 120, "slots": 24}
    return Clip(pixels=(HEIGHT, WIDTH), patch=PATCH, end=END, **sizes | kind)


def question_of(rows=12, seed=3, progress=0.5):
    draw = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (rows, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=draw)
    ids = torch.randint(4, 120, (rows, 10), generator=draw)
    ids[:, 7] = END
    group = torch.arange(rows).clamp(max=rows - 2)  # the last two are one group
    return clip.Question(pictures, ids, group, clusters.draw(rows, PATCHES, generator=draw), progress, {"nce": rows})


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def test_an_epoch_shows_every_product_once_those_of_a_group_apart(desk, shop):
    draw = clip.drawing(desk, shop, batch=8, chance=training.chance_of(1))
    batches = [draw(step, 0, 1).group for step in range(4)]
    assert all(len(batch.unique()) == 8 for batch in batches)  # two products are a group
    assert torch.equal(torch.cat(batches).sort().values, shop.group[shop.products].sort().values)


def test_a_question_depends_on_seed_and_step_alone(desk, shop):
    def ask(seed, step):
        return clip.drawing(desk, shop, batch=8, chance=training.chance_of(seed))(step, 0, 1)

    once, again, later = ask(1, 5), ask(1, 5), ask(1, 6)
    for name in ("pictures", "words", "group"):
        assert torch.equal(getattr(once, name), getattr(again, name))
    assert torch.equal(once.luck.anchor, again.luck.anchor)
    assert not torch.equal(once.luck.anchor, later.luck.anchor)
    assert (once.progress, later.progress) == (5 / 40, 6 / 40)


def test_parts_are_of_one_size_and_disjoint(desk, shop):
    draw = clip.drawing(desk, shop, batch=8, chance=training.chance_of(1))
    parts = [draw(2, part, 3).group for part in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert len(torch.cat(parts).unique()) == 6


def test_left_out_pieces_leave_no_gap_and_never_the_first_or_the_end(desk, shop, generator):
    question = clip.ask(desk, shop, shop.products, progress=0.0, generator=generator)
    own, said = desk.contrast.ids[shop.products], question.words
    assert torch.equal(said[:, 0], own[:, 0])
    assert ((said == END).sum(dim=1) == 1).all()
    ends = (said == END).int().argmax(dim=1)
    place = torch.arange(said.shape[1])
    assert ((said != desk.contrast.pad) == (place <= ends[:, None])).all()
    share = 1 - (ends - 1).sum() / ((own == END).int().argmax(dim=1) - 1).sum()
    assert 0.1 < share < 0.3


def test_a_text_without_end_is_refused(desk):
    ids = desk.contrast.ids.clone()
    ids[5] = 7
    with pytest.raises(Problem, match="the piece that ends it, number 3"):
        replace(desk, contrast=replace(desk.contrast, ids=ids))


def test_what_hides_must_be_known():
    with pytest.raises(Problem, match="must be one of"):
        Hiding(by="colour")
    with pytest.raises(Problem, match="shares of hidden patches"):
        Hiding(by="random", least=1.0)


@pytest.mark.parametrize("by", WAYS)
def test_every_row_of_the_family_sees_what_it_should(by):
    model, question = model_of(), question_of(40)
    hiding = Hiding(by=by, least=0.25, target=0.5, anchors=0.1)
    keep, valid = kept(model, model.patches_of(question.pictures), question.luck, hiding, progress=0.5)
    if by == "nothing":
        assert keep is None
        assert valid is None
        return
    assert keep.shape[1] <= 18
    assert all(len(row.unique()) == len(row) for row in keep)
    if by in ("random", "attention"):
        assert (keep.shape[1], valid) == (18, None)
    else:
        assert valid[:, 0].all()
        assert 1 - valid.sum() / (40 * PATCHES) == pytest.approx(0.5, abs=0.1 if by == "halves" else 0.02)


def test_clusters_without_likeness_are_flip():
    """Where nothing is like an anchor, as many patches are seen, at random, as FLIP sees."""
    model, question = model_of(), question_of()
    hiding = Hiding(by="pixels", least=0.5, anchors=0.03, threshold=1.0)
    keep, valid = kept(model, model.patches_of(question.pictures), question.luck, hiding, progress=0.0)
    assert keep.shape == (12, 12)
    assert valid.all()


def test_the_threshold_is_searched_over_batches_before_training(desk, shop):
    draw = clip.drawing(desk, shop, batch=8, chance=training.chance_of(1))
    model, hiding = model_of(), Hiding(by="pixels", least=0.0, target=0.5, anchors=0.05)
    batches = [(question.pictures, question.luck) for question in map(draw, range(4), [0] * 4, [1] * 4)]
    found = find_threshold(model, batches, hiding)
    hidden = []
    for pictures, luck in batches:
        row = replace(hiding, threshold=found.threshold)
        valid = kept(model, model.patches_of(pictures), luck, row, progress=0.0)[1]
        hidden.append(1 - valid.sum() / (8 * PATCHES))
    assert sum(hidden) / 4 == pytest.approx(found.ratio, abs=1e-6)


@pytest.mark.parametrize("by", ["pixels", "vectors"])
def test_what_goes_with_an_anchor_is_what_is_hidden(by):
    model, question = model_of(), question_of()
    patches, hiding = model.patches_of(question.pictures), Hiding(by=by, least=0.0, threshold=0.05, anchors=0.1)
    of = companions(model, patches, question.luck, hiding, progress=0.5)
    keep, valid = kept(model, patches, question.luck, hiding, progress=0.5)
    seen = torch.zeros_like(of, dtype=torch.bool).scatter(1, keep, valid)
    assert torch.equal(of == NOBODY, seen)
    anchor = clusters.anchors(question.luck.anchor, share=0.1)
    assert torch.equal(of.gather(1, anchor), anchor)
    assert all(set(row[row != NOBODY].tolist()) == set(own.tolist()) for row, own in zip(of, anchor, strict=True))


def test_what_is_learned_hides_without_a_gradient():
    model, question = model_of(), question_of()
    for by in ("attention", "vectors"):
        keep, _ = kept(model, model.patches_of(question.pictures), question.luck, Hiding(by=by), progress=1.0)
        assert not keep.requires_grad


@pytest.mark.parametrize("by", ["nothing", "pixels", "attention"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(by):
    model, question = model_of(), question_of()
    model.double()
    hiding = Hiding(by=by, least=0.25, threshold=0.05)
    whole = clip.losses_of(model, question, hiding=hiding)["nce"]
    wanted = gradients(model, whole)
    parts = clip.losses_of(model, question, hiding=hiding, at_once=5)["nce"]
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)
    for name, gradient in gradients(model, parts).items():
        assert torch.allclose(gradient, wanted[name], atol=1e-6), name


def test_between_its_parts_a_batch_keeps_nothing_but_vectors():
    alive, most = [], []

    def embed(rows):
        inside = (rows @ weight).relu()
        alive.append(weakref.ref(inside))
        most.append(len(rows))
        return inside @ weight

    weight = torch.randn(8, 8, requires_grad=True)
    embedded = clip.in_parts(embed, torch.randn(4096, 8), at_once=256)
    gc.collect()
    assert embedded.shape == (4096, 8)
    assert not any(ref() is not None for ref in alive)
    embedded.square().sum().backward()
    assert most == 32 * [256]  # every part once, and once more for the gradient


@pytest.mark.parametrize("cut", [[12], [5, 7], [4, 4, 4]])
def test_shares_of_a_batch_have_together_the_loss_and_gradient_of_the_whole(generator, cut):
    pictures, texts = (F.normalize(torch.randn(12, 8, generator=generator), dim=1).requires_grad_() for _ in "pt")
    group, scale, at = torch.arange(12) // 2, torch.tensor(10.0), 0
    whole = losses.info_nce(pictures, texts, group=group, scale=scale)
    wanted = torch.autograd.grad(whole, (pictures, texts))
    shares = []
    for rows in cut:
        mine = slice(at, at + rows)
        shares.append(losses.info_nce(pictures, texts, group=group, scale=scale, mine=mine))
        at += rows
    assert sum(shares).item() == pytest.approx(whole.item(), rel=1e-5)
    for one, other in zip(wanted, torch.autograd.grad(sum(shares), (pictures, texts)), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def share_of(rank: int, ranks: int, at_once=None):
    """Loss and gradients of one process's share of a batch, as the training loop sums them."""
    question, model = question_of(), model_of()
    rows = slice(rank * 12 // ranks, (rank + 1) * 12 // ranks)
    luck = clusters.Luck(*(getattr(question.luck, name)[rows] for name in ("anchor", "half", "drop")))
    mine = replace(question, pictures=question.pictures[rows], words=question.words[rows], luck=luck)
    mine = replace(mine, group=question.group[rows])
    hiding = Hiding(by="random", least=0.5)
    loss = clip.losses_of(model, mine, hiding=hiding, at_once=at_once)["nce"]
    return loss.detach(), gradients(model, loss)


TWO = """
import sys, torch, torch.distributed as dist
sys.path[:0] = sys.argv[2:]
import test_clip as t
dist.init_process_group("gloo")
for at_once in (None, 4):
    loss, grads = t.share_of(dist.get_rank(), 2, at_once)
    for value in (loss, *grads.values()):
        dist.all_reduce(value)
    torch.save((loss, grads), f"{sys.argv[1]}/{dist.get_rank()}-{at_once}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    places = [Path(__file__).parent, Path(losses.__file__).parents[1]]
    subprocess.run([*launch, script, tmp_path, *places], check=True, timeout=300)
    assert not dist.is_initialized()
    loss, grads = share_of(0, 1)
    for name in ("0-None", "1-None", "0-4", "1-4"):
        theirs, there = torch.load(tmp_path / f"{name}.pt")
        assert theirs.item() == pytest.approx(loss.item(), rel=1e-5)
        for key, gradient in grads.items():
            assert (there[key] - gradient).abs().max() <= 1e-5 * gradient.abs().max(), key


@pytest.mark.slow
def test_a_convolutional_stem_learns_which_text_belongs_to_which_picture(desk, shop):
    model = model_of(channels=[16, 32, 32]).train()
    draw = clip.drawing(desk, shop, batch=32, chance=training.chance_of(0))
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)
    said = []
    for step in range(60):
        loss = clip.losses_of(model, draw(step, 0, 1), hiding=Hiding(by="random", least=0.25))["nce"] / 32
        loss.backward()
        adam.step()
        adam.zero_grad()
        said.append(loss.item())
    assert np.mean(said[-5:]) < 0.8 * np.log(31)


def test_pictures_and_texts_are_embedded_in_batches(desk):
    model = model_of()
    pixels, ids = desk.contrast.album.pixels[:7], desk.contrast.ids[:7]
    assert torch.allclose(clip.embed_pictures(model, pixels, batch=3), clip.embed_pictures(model, pixels), atol=1e-5)
    assert torch.allclose(clip.embed_texts(model, ids, batch=3), clip.embed_texts(model, ids), atol=1e-5)
