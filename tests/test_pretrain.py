import math
from dataclasses import replace

import pytest
import shop
import torch

from fashionvl import training
from fashionvl.alignment import Aligned
from fashionvl.masking import IGNORE
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.tasks import pretrain, spoil
from fashionvl.tasks.pairs import Shop, draw_epoch


@pytest.fixture
def of():
    return shop.catalogue(products=96)


@pytest.fixture
def desk(of, tmp_path):
    return shop.desk(tmp_path / "patches", of)


def model_for(desk, **changes):
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.0}
    objectives = list(desk.objectives)
    return SingleStream(
        vocabulary=desk.words.vocabulary, dim=desk.store.dim, objectives=objectives, **{**sizes, **changes}
    )


def question(of, desk, seed=0, rows=slice(None)):
    pairs = draw_epoch(
        Shop.of(of, "train"), same_kind=0.5, mismatched=0.5, generator=torch.Generator().manual_seed(seed)
    )
    return pairs, spoil.ask(desk, pairs, rows=rows, generator=torch.Generator().manual_seed(seed))


def test_every_sample_has_exactly_one_two_and_three_patches_changed(of, desk):
    pairs, asked = question(of, desk)
    clean = desk.store.clean(pairs.picture)
    changed = (asked.batch.patches != clean).any(dim=2)
    assert (changed[:, KALEIDO.span("camouflage")].sum(dim=1) == 1).all()
    assert (changed[:, KALEIDO.span("grey")].sum(dim=1) == 2).all()
    assert (changed[:, KALEIDO.span("blank")].sum(dim=1) == 3).all()
    assert (asked.batch.patches == 0).all(dim=2).sum(dim=1).eq(3).all()


def test_the_borrowed_patch_is_of_another_group(of, desk):
    pairs, asked = question(of, desk)
    level = asked.batch.patches[:, KALEIDO.span("camouflage")]
    borrowed = level[torch.arange(len(level)), asked.camouflage]
    group, product = of.groups(), of.pictures["product"].to_numpy()
    for row in range(len(pairs)):
        lender = (desk.store.clean([int(pairs.stranger[row])])[0, KALEIDO.span("camouflage")] == borrowed[row]).all(
            dim=1
        )
        assert lender.any()
        assert group[product[pairs.stranger[row]]] != group[product[pairs.picture[row]]]


def test_label_one_is_a_match_and_mismatches_count_for_the_puzzles_of_the_picture_only(of, desk):
    pairs, asked = question(of, desk)
    matched = int(pairs.matched.sum())
    assert torch.equal(asked.itm == 1, pairs.matched)
    assert (asked.mlm[~pairs.matched] == IGNORE).all()
    assert asked.counts["rotation"] == asked.counts["itm"] == len(pairs)
    assert (asked.counts["grey"], asked.counts["blank"]) == (2 * matched, 3 * matched)
    assert asked.counts["mlm"] == (asked.mlm != IGNORE).sum()


def test_parts_together_are_the_whole(of, desk):
    _, whole = question(of, desk)
    half = len(whole.itm) // 2
    parts = [question(of, desk, rows=rows)[1] for rows in (slice(0, half), slice(half, None))]
    for name in ("itm", "mlm", "rotation", "jigsaw", "camouflage", "grey", "blank"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert torch.equal(torch.cat([part.batch.patches for part in parts]), whole.batch.patches)
    for name, count in whole.counts.items():
        assert sum(part.counts[name] for part in parts) == count


def aligned_everywhere(of, level, patches):
    """Every picture's second word of the text belongs to every patch of one level."""
    rows = [(picture, (1, level, patch)) for picture in range(len(of.pictures)) for patch in range(patches)]
    pictures, pairs = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Aligned.of_rows(pictures, pairs, pictures=len(of.pictures))


def test_a_word_whose_every_patch_is_needed_is_never_hidden_where_the_pair_matches(of, tmp_path):
    desk = shop.desk(tmp_path / "guided", of, aligned=aligned_everywhere(of, 4, 25))
    elsewhere = 0
    for seed in range(6):
        pairs, asked = question(of, desk, seed)
        slots = asked.wanted[:, 1:11].masked_fill(asked.mlm == IGNORE, 0)
        random = question(of, replace(desk, aligned=Aligned.none(len(of.pictures)), matched_only=[]), seed)[1]
        slots_of_all = random.wanted[:, 1:11].masked_fill(random.mlm == IGNORE, 0)
        whole = desk.texts.whole[pairs.text]
        assert not (whole.gather(1, slots) == 1).any(dim=1)[pairs.matched].any()
        elsewhere += int((whole.gather(1, slots_of_all) == 1).any(dim=1)[pairs.matched].sum())
    assert elsewhere > 10  # at random it is


def test_pairs_of_a_level_whose_puzzle_is_off_guide_nothing(of, tmp_path):
    aligned = aligned_everywhere(of, 4, 25)
    guided = shop.desk(tmp_path / "a", of, objectives=["mlm", "itm"], aligned=aligned)
    pairs, asked = question(of, guided)
    plain = replace(guided, aligned=Aligned.none(len(of.pictures)))
    _, random = question(of, plain)
    assert torch.equal(asked.wanted, random.wanted)
    assert torch.equal(asked.batch.words, random.batch.words)
    assert pairs.matched.any()


def test_losses_of_an_untrained_model_are_those_of_guessing(of, desk):
    _, asked = question(of, desk)
    sums = pretrain.losses_of(model_for(desk), asked)
    means = {name: sums[name].item() / asked.counts[name] for name in sums}
    guessing = {"itm": 2, "rotation": 4, "jigsaw": 24, "camouflage": 9, "mlm": desk.words.vocabulary}
    for name, classes in guessing.items():
        assert means[name] == pytest.approx(math.log(classes), rel=0.25), name
    assert means["grey"] > 0
    assert means["blank"] > 0


@pytest.mark.parametrize("off", ["mlm", "itm", "rotation", "jigsaw", "camouflage", "grey", "blank"])
def test_a_loss_that_is_off_leaves_its_level_clean_and_its_head_out(of, tmp_path, off):
    objectives = [name for name in shop.OBJECTIVES if name != off]
    desk = shop.desk(tmp_path / "patches", of, objectives)
    pairs, asked = question(of, desk)
    model = model_for(desk)
    assert set(pretrain.losses_of(model, asked)) == set(objectives) == set(asked.counts)
    assert off not in model.heads
    if off in ("rotation", "jigsaw", "camouflage", "grey", "blank"):
        clean = desk.store.clean(pairs.picture)
        assert torch.equal(asked.batch.patches[:, KALEIDO.span(off)], clean[:, KALEIDO.span(off)])
    if off == "mlm":
        assert not (asked.batch.words == desk.words.mask).any()


def test_perturbations_are_fresh_every_step_and_the_same_for_the_same_step(of, desk):
    draw = spoil.drawing(desk, Shop.of(of, "train"), batch=16, same_kind=0.5, chance=training.chance_of(1))
    assert torch.equal(draw(3, 0, 1).batch.patches, draw(3, 0, 1).batch.patches)
    steps = [draw(step, 0, 1) for step in range(0, 40, 4)]
    assert len({tuple(step.jigsaw.tolist()) for step in steps}) == len(steps)


def test_an_epoch_shows_every_product_once(of, desk):
    shop_ = Shop.of(of, "train")
    draw = spoil.drawing(desk, shop_, batch=16, same_kind=0.5, chance=training.chance_of(1))
    texts = sum(len(draw(step, 0, 1).itm) for step in range(len(shop_.products) // 16))
    assert texts == len(shop_.products)


def test_text_is_cut_to_the_longest_of_the_batch(of, desk):
    _, asked = question(of, desk)
    longest = int((desk.texts.ids != desk.words.pad).sum(dim=1).max())
    assert longest <= asked.batch.words.shape[1] <= longest + 7
    assert (asked.batch.words.shape[1] + KALEIDO.patches) % 8 == 0


def test_a_few_steps_learn_the_words(of, desk):
    model = model_for(desk)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = spoil.drawing(desk, Shop.of(of, "train"), batch=32, same_kind=0.5, chance=training.chance_of(1))
    said = []
    for step in range(40):
        asked = draw(step, 0, 1)
        sums = pretrain.losses_of(model, asked)
        sum(value / asked.counts[name] for name, value in sums.items()).backward()
        optimiser.step()
        optimiser.zero_grad()
        said.append(sums["mlm"].item() / asked.counts["mlm"])
    assert sum(said[-5:]) < 0.7 * sum(said[:5])


def test_an_examination_asks_every_pair_once_and_says_accuracies(of, desk):
    pairs = draw_epoch(Shop.of(of, "train"), same_kind=0.5, mismatched=0.5, generator=torch.Generator())
    said = [
        pretrain.examine(model_for(desk), desk, pairs, batch=size, chance=training.chance_of(1)) for size in (7, 64)
    ]
    assert set(said[0]) == set(shop.OBJECTIVES) | {
        f"{name}_accuracy" for name in ("mlm", "itm", "rotation", "jigsaw", "camouflage")
    }
    assert said[0]["itm"] == pytest.approx(said[1]["itm"], abs=0.05)  # other puzzles are drawn, the pairs are the same
    assert all(0 <= said[0][name] <= 1 for name in said[0] if name.endswith("accuracy"))


def test_a_fixed_scale_is_asked_for_its_six_blank_patches(of, tmp_path):
    fixed = Pyramid((8,))
    desk = shop.desk(tmp_path / "patches", of, ["mlm", "itm", "blank"], pyramid=fixed)
    pairs, asked = question(of, desk)
    changed = (asked.batch.patches != desk.store.clean(pairs.picture)).any(dim=2)
    assert asked.batch.patches.shape[1] == changed.shape[1] == 64
    assert (changed.sum(dim=1) == 6).all()
    assert torch.equal(asked.wanted[:, -6:] - asked.batch.words.shape[1], changed.nonzero()[:, 1].view(-1, 6))
    model = model_for(desk, grids=fixed.sides)
    sums = pretrain.losses_of(model, asked)
    assert set(sums) == {"mlm", "itm", "blank"}
    sum(sums.values()).backward()
    assert all(parameter.grad is not None for parameter in model.patches.parameters())


def test_every_puzzle_of_other_grids_is_played_and_answered(of, tmp_path):
    odd = Pyramid((1, 3, 4, 6))
    desk = shop.desk(tmp_path / "patches", of, ["itm", "rotation", "camouflage", "grey", "blank"], pyramid=odd)
    _, asked = question(of, desk)
    said = pretrain.answers_of(model_for(desk, grids=odd.sides), asked)
    assert {name: scores.shape[1:] for name, scores in said.items()} == {
        "itm": (2,),
        "rotation": (4,),
        "camouflage": (9,),
        "grey": (2, 12),
        "blank": (3, 12),
    }
