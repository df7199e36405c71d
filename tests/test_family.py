"""Those that Kaleido-BERT is compared with: what is asked of regions and tags, and what may not be seen or counted."""

from dataclasses import replace

import pytest
import shop
import torch

from fashionvl import losses, masking, puzzles
from fashionvl.alignment import Aligned
from fashionvl.batches import Batch
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import pretrain, spoil
from fashionvl.tasks.pairs import Shop, draw_epoch
from fashionvl.tasks.tags import tags_of

SMALL = {"width": 16, "layers": 2, "heads": 2, "inner": 32, "dropout": 0.0}
ROWS = {  # objectives, tags, and what differs of the model
    "imagebert": (("mlm", "itm", "moc", "mrfr"), 0, {}),
    "oscar": (("mlm", "itm"), 5, {}),
    "vlbert": (("mlm", "moc"), 0, {"glance": True}),
    "vilbert": (("mlm", "itm", "mrc"), 0, {"streams": 2}),
}


@pytest.fixture(scope="module")
def of():
    return shop.catalogue()


@pytest.fixture(scope="module")
def grids(of, tmp_path_factory):
    return shop.desk(tmp_path_factory.mktemp("grids"), of)


@pytest.fixture
def desk_of(of, grids, tmp_path):
    def make(name: str, matched_only=("mlm", *puzzles.OF_REGIONS)) -> spoil.Desk:
        objectives, tags, _ = ROWS[name]
        store = shop.regions(tmp_path / name, of)
        if tags:
            store.tags = tags_of(store, grids.words, tags)
        return spoil.Desk(grids.words, grids.texts, store, objectives, matched_only, Aligned.none(len(store)))

    return make


def model_of(name: str, desk: spoil.Desk) -> SingleStream:
    torch.manual_seed(0)
    objectives, tags, differs = ROWS[name]
    layout = desk.store.layout
    seen = {"regions": {"most": layout.most, "names": layout.names}, "tags": tags}
    sizes = {"vocabulary": desk.words.vocabulary, "dim": desk.store.dim, **SMALL, **seen, **differs}
    return SingleStream(**sizes, objectives=list(objectives)).eval()


def pairs_of(of, desk, *, tags=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    share = spoil.mismatched(desk.objectives)
    return draw_epoch(Shop.of(of, "train"), same_kind=0.5, mismatched=share, tags=tags, generator=generator)


def asked_of(of, desk, *, tags=0.0, seed=0) -> spoil.Question:
    return spoil.ask(desk, pairs_of(of, desk, tags=tags, seed=seed), generator=torch.Generator().manual_seed(seed))


def test_regions_hide_a_share_of_those_that_a_picture_has_and_never_the_whole_picture(of, desk_of):
    desk = desk_of("imagebert", ())
    pairs = pairs_of(of, desk)
    asked = spoil.ask(desk, pairs, generator=torch.Generator().manual_seed(0))
    clean = desk.store.pictures(pairs.picture)
    changed = (asked.batch.patches != clean.patches).any(dim=2)
    assert changed.any()
    assert not changed[:, 0].any()
    assert not (changed & ~clean.shown).any()
    assert (asked.batch.patches[changed] == 0).all()
    assert (changed.sum(dim=1) <= 1).all()  # 15 % of five at most
    assert (asked.moc != masking.IGNORE).sum() >= changed.sum()  # one in ten is asked for and not changed
    likely = desk.store.classes(pairs.picture)
    for row in (asked.moc[:, 0] != masking.IGNORE).nonzero()[:, 0].tolist():
        slot = int(asked.wanted[row, -1]) - asked.batch.words.shape[1]
        assert asked.moc[row, 0] == likely[row, slot].argmax()
        assert torch.equal(asked.mrfr[row, 0], clean.patches[row, slot])


def test_most_that_are_hidden_become_zero_and_a_tenth_stays():
    shown = torch.ones(4000, 20, dtype=torch.bool)
    draws = torch.rand(4000, 20, generator=torch.Generator().manual_seed(3))
    slots, taken = masking.hide_regions(shown, draws, share=0.15)
    assert slots.shape == (4000, 3)
    assert taken.all()
    assert (slots.sort(dim=1).values.diff(dim=1) > 0).all()
    assert torch.bincount(slots.flatten(), minlength=20).float().std() < 30
    slots, taken = masking.hide_regions(shown & (torch.arange(20) < 2), draws, share=0.15)
    assert taken.sum(dim=1).unique().tolist() == [1]
    assert (slots[taken] < 2).all()
    assert not masking.hide_regions(torch.zeros_like(shown), draws, share=0.15)[1].any()


@pytest.mark.parametrize("name", ["imagebert", "vilbert"])
def test_conditional_losses_owe_nothing_to_mismatched_pairs(name, of, desk_of):
    desk = desk_of(name)
    model, asked = model_of(name, desk), asked_of(of, desk_of(name))
    wrong = asked.itm == 0
    assert 0 < wrong.sum() < len(wrong)
    before = pretrain.losses_of(model, asked)
    patches = asked.batch.patches.clone()
    patches[wrong] = patches[wrong].flip(0) + 1
    words = asked.batch.words.clone()
    words[wrong, 1:-1] = words[wrong, 1:-1].flip(1)
    after = pretrain.losses_of(model, replace(asked, batch=replace(asked.batch, patches=patches, words=words)))
    for loss in set(desk.objectives) - {"itm"}:
        assert asked.counts[loss] > 0
        assert torch.equal(before[loss], after[loss]), loss
    assert not torch.equal(before["itm"], after["itm"])
    free = spoil.ask(desk_of(name, ()), pairs_of(of, desk), generator=torch.Generator().manual_seed(0))
    assert free.counts["mlm"] > asked.counts["mlm"]


def test_the_target_of_regression_is_clean_and_gets_no_gradient(of, desk_of):
    asked = asked_of(of, desk_of("imagebert"))
    answer = asked.mrfr.float().requires_grad_()
    said = torch.zeros_like(answer).requires_grad_()
    losses.regressed(said, answer, asked.compared[1]).backward()
    assert answer.grad is None
    assert said.grad.abs().sum() > 0
    assert (asked.mrfr[asked.compared[1]] != 0).all()
    counted = torch.tensor([[True, False]])
    told = losses.regressed(torch.tensor([[[1.0, 3.0], [9.0, 9.0]]]), torch.zeros(1, 2, 2), counted)
    assert told == pytest.approx((1 + 9) / 2)


def test_likely_classes_are_compared_by_their_divergence():
    answer = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]])
    assert losses.likely(answer.clamp(min=1e-9).log(), answer, torch.tensor([[True, True]])) == pytest.approx(
        0, abs=1e-6
    )
    told = losses.likely(torch.zeros(1, 2, 2), answer, torch.tensor([[True, True]]))
    assert told == pytest.approx(torch.tensor(2.0).log())
    assert losses.likely(torch.zeros(1, 2, 2), answer, torch.tensor([[True, False]])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_what_is_hidden_or_missing_changes_nothing(name, of, desk_of):
    desk = desk_of(name)
    model, asked = model_of(name, desk), asked_of(of, desk)
    states = model(asked.batch, asked.wanted)
    assert states.isfinite().all()
    patches, places = asked.batch.patches.clone(), asked.batch.places.clone()
    missing = ~asked.batch.shown[:, : patches.shape[1]]
    assert missing.any()
    patches[missing], places[missing] = 7.0, 0.5
    assert torch.equal(states, model(replace(asked.batch, patches=patches, places=places), asked.wanted))


def test_the_vector_of_a_hidden_region_does_not_reach_the_model(of, desk_of, monkeypatch):
    desk = desk_of("imagebert")
    pairs = pairs_of(of, desk)
    asked = spoil.ask(desk, pairs, generator=torch.Generator().manual_seed(0))
    zeroed = (asked.batch.patches == 0).all(dim=2) & asked.batch.shown
    clean = desk.store.clean

    def other(indices):
        found = clean(indices)
        found[zeroed] = found[zeroed] + 5
        return found

    monkeypatch.setattr(desk.store, "vectors", other)
    again = spoil.ask(desk, pairs, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.batch.patches, asked.batch.patches)
    assert not torch.equal(again.mrfr, asked.mrfr)


def test_parts_of_a_batch_together_are_the_whole(of, desk_of):
    for name, tags in (("imagebert", 0.0), ("oscar", 0.5)):
        desk = desk_of(name)
        pairs = pairs_of(of, desk, tags=tags)[:16]
        chance = lambda: torch.Generator().manual_seed(5)  # noqa: E731
        whole = spoil.ask(desk, pairs, generator=chance())
        parts = [spoil.ask(desk, pairs, rows=rows, generator=chance()) for rows in (slice(0, 8), slice(8, 16))]
        assert torch.equal(torch.cat([part.batch.patches for part in parts]), whole.batch.patches)
        assert torch.equal(torch.cat([part.mlm for part in parts]), whole.mlm)
        for loss in desk.objectives:
            assert sum(part.counts[loss] for part in parts) == whole.counts[loss]


def test_tags_name_what_is_seen_once_the_surest_first(of, desk_of):
    desk = desk_of("oscar")
    ids, real = desk.store.tags
    things = of.products["sub_category"].to_numpy()[of.pictures["product"]]
    for picture in range(0, len(things), 7):
        assert desk.words.decode(ids[picture].tolist()) == things[picture]
    assert not (ids[~real] != desk.words.pad).any()
    assert tags_of(desk.store, desk.words, 40)[0].shape == (len(things), 40)  # more than a text has slots for


def test_classes_that_the_words_read_alike_are_a_problem(desk_of):
    store, words = desk_of("oscar").store, desk_of("oscar").words
    first, *others = store.layout.names[1:]
    store.layout = replace(store.layout, names=(f"{first} ☂", f"{first} ☃", *others))
    with pytest.raises(Problem, match=f"'{first} ☂' and '{first} ☃' alike"):
        tags_of(store, words, 8)


def test_swapped_tags_are_of_another_group_and_nothing_else_is_swapped(of, desk_of):
    desk = desk_of("oscar")
    pairs = pairs_of(of, desk, tags=1.0)
    product = torch.from_numpy(of.pictures["product"].to_numpy())
    group = torch.from_numpy(of.groups())
    assert torch.equal(pairs.retagged, ~pairs.matched)
    assert 5 < int(pairs.retagged.sum()) < len(pairs) - 5
    assert torch.equal(product[pairs.picture], pairs.text)
    assert (group[product[pairs.stranger]] != group[pairs.text]).all()
    calm = replace(desk, objectives=("itm",))
    asked = spoil.ask(calm, pairs, generator=torch.Generator().manual_seed(0))
    of_picture, of_stranger = (desk.store.tags[0][each] for each in (pairs.picture, pairs.stranger))
    assert torch.equal(asked.batch.tags[pairs.matched], of_picture[pairs.matched])
    assert torch.equal(asked.batch.tags[pairs.retagged], of_stranger[pairs.retagged])
    assert torch.equal(asked.itm, pairs.matched.long())
    some = pairs_of(of, desk, tags=0.5)
    assert 0 < int(some.retagged.sum()) < int((~some.matched).sum())
    assert (product[some.picture] == some.text)[some.retagged].all()
    assert (product[some.picture] != some.text)[~some.matched & ~some.retagged].all()


def test_hidden_tags_are_asked_for_where_they_stand(of, desk_of):
    desk = desk_of("oscar")
    pairs = pairs_of(of, desk)
    asked = spoil.ask(desk, pairs, generator=torch.Generator().manual_seed(1))
    slots, patches = asked.batch.words.shape[1], desk.store.layout.patches
    assert asked.mlm.shape[1] == masking.MOST_HIDDEN + spoil.HIDDEN_TAGS
    named = asked.mlm[:, masking.MOST_HIDDEN :]
    at = asked.wanted[:, 1 + masking.MOST_HIDDEN :] - slots - patches
    found = named != masking.IGNORE
    assert found.sum() == asked.itm.sum()  # one piece of the one tag, of matched pairs
    row, column = found.nonzero(as_tuple=True)
    clean = desk.store.tags[0][pairs.picture]
    assert torch.equal(clean[row, at[row, column]], named[row, column])
    assert (asked.batch.tags[row, at[row, column]] == desk.words.mask).float().mean() > 0.6


def test_nothing_is_mismatched_where_nothing_asks_whether_it_is(of, desk_of):
    desk = desk_of("vlbert")
    draw = spoil.drawing(desk, Shop.of(of, "train"), batch=8, same_kind=0.5, chance=lambda *n: torch.Generator())
    assert (draw(0, 0, 1).itm == 1).all()


def test_a_glance_tells_words_of_the_whole_picture_alone(of, desk_of):
    desk = desk_of("vlbert")
    model, asked = model_of("vlbert", desk), asked_of(of, desk)
    patches = model.look(asked.batch.pictures)
    shown = asked.batch.shown
    told = model.glance(patches, shown)
    assert told.abs().sum() > 0
    other = patches.clone()
    other[:, 1:] += 3
    assert torch.equal(model.glance(other, shown), told)
    assert (model.glance(patches, torch.zeros_like(shown)) == 0).all()


def test_two_streams_read_alone_where_the_other_is_missing_and_meet_where_it_is_not(of, desk_of):
    desk = desk_of("vilbert")
    model, asked = model_of("vilbert", desk), asked_of(of, desk)
    blind = replace(asked.batch, shown=torch.zeros_like(asked.batch.shown))
    first = model(blind)[:, 1]
    assert first.isfinite().all()
    assert torch.equal(first, model(replace(blind, patches=blind.patches + 1))[:, 1])
    assert not torch.equal(model(asked.batch)[:, 1], model(replace(asked.batch, patches=asked.batch.patches + 1))[:, 1])
    everything, wanted = model(asked.batch), torch.tensor([[0, 3]]).expand(len(asked.itm), -1)
    assert torch.allclose(model(asked.batch, wanted), everything[:, [0, 3]], atol=1e-6)


def test_two_streams_train_as_they_are_asked(of, desk_of):
    desk = desk_of("vilbert")
    model, asked = model_of("vilbert", desk).train(), asked_of(of, desk)
    sum(pretrain.losses_of(model, asked).values()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None and not name.startswith("likeness")]


def test_adaptive_weights_keep_their_bounds():
    assert losses.adaptive(torch.ones(3)).tolist() == pytest.approx([1 / 3] * 3)
    assert losses.adaptive(torch.tensor([3.0, 0.6, 0.9])).tolist() == pytest.approx([0.392, 0.304, 0.304], abs=6e-4)
    for seed in range(50):
        values = 10 * torch.rand(3, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        weights = losses.adaptive(values)
        assert not weights.requires_grad
        assert weights.sum() == pytest.approx(1)
        assert 2 / 7 - 1e-6 <= weights.min() <= weights.max() <= 3 / 7 + 1e-6
    assert losses.adaptive(torch.tensor([99.0, 0.0, 0.0])).tolist() == pytest.approx([3 / 7, 2 / 7, 2 / 7])


def test_learned_places_do_not_depend_on_corners(grids):
    sizes = {"vocabulary": grids.words.vocabulary, "dim": grids.store.dim, **SMALL, "grids": (1, 2, 3, 4, 5)}
    seen = grids.store.pictures([0, 1])
    moved = replace(seen, places=seen.places / 2)
    for places, same in (("learned", True), ("box", False)):
        torch.manual_seed(0)
        model = SingleStream(**sizes, objectives=["itm"], places=places).eval()
        assert torch.equal(model.look(seen), model.look(moved)) == same


def test_heads_that_do_not_fit_the_patches_are_refused(grids):
    sizes = {"vocabulary": grids.words.vocabulary, "dim": 12, **SMALL}
    with pytest.raises(ValueError, match="regions do not play 'blank'; they play"):
        SingleStream(**sizes, regions={"most": 6, "names": ["a"]}, objectives=["blank"])
    with pytest.raises(ValueError, match="do not play 'moc'"):
        SingleStream(**sizes, objectives=["moc"])


def test_a_batch_is_a_text_beside_pictures(grids):
    seen = grids.store.pictures([3, 1])
    batch = Batch.of(grids.texts.ids[:2], grids.texts.ids[:2] != grids.words.pad, seen)
    assert torch.equal(batch.pictures.patches, seen.patches)
    assert torch.equal(seen[1:].patches, seen.patches[1:])
