from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import shop
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from fashionvl import training
from fashionvl.catalogue.problems import Problem
from fashionvl.config import Training
from fashionvl.models.recognisers import READOUTS
from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks import labels, marks, recognition
from fashionvl.tasks.pairs import Pairs, Shop

TASK = "sub_category"
COLUMNS = recognition.COLUMNS
SIZES = {"width": 32, "layers": 2, "heads": 4, "inner": 64}


@pytest.fixture
def of():
    return shop.catalogue()


@pytest.fixture
def desk(of, tmp_path):
    return desk_of(of, tmp_path)


def desk_of(of, folder):
    base = shop.desk(folder / "patches", of)
    names = labels.classes(of, TASK)
    return recognition.Desk(
        base.words, base.texts, base.store, {TASK: torch.from_numpy(labels.answers(of, TASK, names))}
    )


def model_of(desk, classes=4, dropout=0.0, **changes):
    torch.manual_seed(0)
    return SingleStream(
        vocabulary=desk.words.vocabulary,
        dim=desk.store.dim,
        objectives=[],
        dropout=dropout,
        classes_of={TASK: classes},
        **{**SIZES, **changes},
    ).eval()


def drawing(desk, of, batch=8, **changes):
    chance = training.chance_of(3)
    return recognition.drawing(desk, Shop.of(of, "train"), task=TASK, batch=batch, chance=chance, **changes)


def only(column):
    return {column: 1.0}


def asked(desk, rows=6, column="both", seed=0, **spoiling):
    some = torch.arange(rows)
    pairs = Pairs(some, some * 2, torch.ones(rows, dtype=torch.bool), some * 2, torch.zeros(rows, dtype=torch.bool))
    spoiled = recognition.Spoiling(only(column), **{"word_dropout": 0.0, **spoiling})
    return recognition.ask(desk, pairs, task=TASK, spoiling=spoiled, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    return all(
        torch.equal(getattr(one.batch, name), getattr(other.batch, name))
        for name in ("words", "real", "patches", "shown")
    ) and torch.equal(one.answer, other.answer)


# Classes


def test_classes_are_those_of_training_sorted_and_answers_are_their_places(of):
    names = labels.classes(of, TASK)
    assert names == sorted(set(of.products[TASK][of.in_split("train")]))
    assert [names[a] for a in labels.answers(of, TASK, names)] == of.products[TASK].tolist()


def test_a_label_that_training_lacks_is_no_class_and_certainly_not_class_0(of):
    test = of.in_split("test")[0]
    of.products.loc[test, TASK] = "balaclava"
    of.products.loc[0, TASK] = ""
    names = labels.classes(of, TASK)
    found = labels.answers(of, TASK, names)
    assert "balaclava" not in names
    assert found[test] == labels.UNKNOWN
    assert found[0] == labels.NO_LABEL
    rows = labels.rows_of(of, TASK, "test")
    assert labels.never_learned(rows, names) == {"balaclava": 2}  # two views
    assert marks.temperature_of(rows, np.random.default_rng(0).random((len(rows), len(names))), names) > 0
    with pytest.raises(Problem, match="no row of the validation split is of a class that was learned"):
        marks.temperature_of(rows, np.zeros((len(rows), 1)), ["a hat that nobody has"])


def test_rows_of_an_unknown_class_stay_and_are_wrong_whatever_is_said(of):
    test = of.in_split("test")
    of.products.loc[test[0], TASK] = "balaclava"
    names, rows = labels.classes(of, TASK), labels.rows_of(of, TASK, "test")
    said = np.where(rows.true == "balaclava", names[0], rows.true)
    found = marks.marks(rows, said, names, generator=np.random.default_rng(0))
    assert found["accuracy"] == pytest.approx(1 - 2 / len(rows))
    present = set(rows.true)
    assert found["macro_f_present"] < (len(present) - 1) / len(present) + 1e-9
    everything = {*names, "balaclava"}
    assert found["macro_f_all"] * len(everything) == pytest.approx(found["macro_f_present"] * len(present))


def test_a_temperature_changes_how_sure_a_column_is_and_nothing_else(of):
    rows, names = labels.rows_of(of, TASK, "test"), labels.classes(of, TASK)
    scores, draw = {"both": np.random.default_rng(0).normal(size=(len(rows), 4)) * 5}, np.random.default_rng
    warm, plain = (marks.marks_of_scores(rows, scores, names, {"both": heat}, generator=draw(0)) for heat in (9.0, 1.0))
    assert {key for key in warm if warm[key] != plain[key]} == {"both.calibration_error", "both.temperature"}
    tables = [marks.table(rows, scores, names, {"both": heat}) for heat in (9.0, 1.0)]
    assert (tables[0]["confidence_both"] < tables[1]["confidence_both"]).all()
    assert tables[0]["said_both"].equals(tables[1]["said_both"])


def test_products_without_a_label_are_left_out_of_learning_and_measuring_and_counted(of, tmp_path):
    train, test = of.in_split("train")[:3], of.in_split("test")[:2]
    of.products.loc[[*train, *test], TASK] = ""
    desk = desk_of(of, tmp_path)
    taught = recognition.taught(desk, Shop.of(of, "train"), TASK)
    assert not set(taught.tolist()) & set(train)
    assert len(taught) == len(of.in_split("train")) - 3
    assert not set(labels.rows_of(of, TASK, "test").product) & set(test)
    assert (labels.without_label(of, TASK, "train"), labels.without_label(of, TASK, "test")) == (3, 2)
    draw = drawing(desk, of)
    assert all((draw(step, 0, 1).answer >= 0).all() for step in range(8))


def test_what_cannot_be_recognised_is_one_sentence(of):
    with pytest.raises(Problem, match=r"'jens' is none of the 4 classes .* did you mean 'jeans'"):
        labels.numbers_of(["jeans", "jens"], labels.classes(of, TASK))
    with pytest.raises(Problem, match="no recognition task 'colour'"):
        labels.classes(of, "colour")
    of.products.loc[of.in_split("train"), TASK] = ""
    assert not labels.is_asked(of, TASK)
    with pytest.raises(Problem, match="no product of the training split has a sub_category"):
        labels.classes(of, TASK)
    of.products[TASK] = ""
    with pytest.raises(Problem, match="no product of the split 'test' has a sub_category"):
        labels.rows_of(of, TASK, "test")


def test_a_row_is_a_picture_and_the_views_of_a_product_are_one_group(of):
    rows = labels.rows_of(of, TASK, "test")
    assert sorted(rows.picture) == sorted(of.pictures_in("test"))
    assert (of.groups()[rows.product] == rows.group).all()


# Questions


def test_a_question_is_a_function_of_the_step_and_parts_make_the_whole(desk, of):
    settings = {"word_dropout": 0.5, "patch_dropout": 0.3, "noise": 0.2}
    draw, again = drawing(desk, of, **settings), drawing(desk, of, **settings)
    assert same(draw(5, 0, 1), again(5, 0, 1))
    assert not same(draw(5, 0, 1), draw(6, 0, 1))
    whole, parts = draw(5, 0, 1), [draw(5, part, 2) for part in range(2)]
    assert torch.equal(torch.cat([part.batch.patches for part in parts]), whole.batch.patches)
    assert torch.equal(torch.cat([part.batch.shown for part in parts]), whole.batch.shown)
    width = min(part.batch.words.shape[1] for part in parts)
    assert torch.equal(torch.cat([p.batch.words[:, :width] for p in parts]), whole.batch.words[:, :width])
    assert sum(part.counts[TASK] for part in parts) == whole.counts[TASK] == 8


def test_an_epoch_shows_every_labelled_product_once_with_its_own_answer(desk, of):
    draw, inside = drawing(desk, of, columns=only("both"), word_dropout=0.0), of.in_split("train")
    steps = len(inside) // 8
    answers = torch.cat([draw(step, 0, 1).answer for step in range(steps)])
    assert Counter(answers.tolist()) == Counter(desk.answers[TASK][inside].tolist())
    question, names = draw(0, 0, 1), labels.classes(of, TASK)
    for ids, answer in zip(question.batch.words, question.answer, strict=True):
        assert names[answer] in desk.words.decode(ids.tolist())


def test_rows_are_shown_in_the_shares_that_are_asked_for(desk, of):
    draw = drawing(desk, of, batch=32, columns={"both": 2, "image": 1, "text": 1})
    seen: Counter = Counter()
    for step in range(60):
        batch = draw(step, 0, 1).batch
        seen.update(zip(batch.real.any(dim=1).tolist(), batch.shown.any(dim=1).tolist(), strict=True))
    assert (False, False) not in seen
    shares = {key: count / seen.total() for key, count in seen.items()}
    assert shares == pytest.approx({(True, True): 0.5, (False, True): 0.25, (True, False): 0.25}, abs=0.05)


@pytest.mark.parametrize("wrong", [{}, {"sound": 1.0}, {"both": 0.0}, {"both": 2.0, "text": -1.0}])
def test_shares_that_make_no_sense_are_one_sentence(wrong):
    with pytest.raises(Problem, match="shares of what is shown"):
        recognition.Spoiling(wrong)


def test_word_dropout_hides_whole_words_in_its_share_and_never_the_special_pieces(desk):
    paired = torch.where(desk.texts.whole == -1, -1, desk.texts.whole // 2)  # so that words have several pieces
    desk = replace(desk, texts=replace(desk.texts, whole=paired))
    plain = asked(desk).batch
    for leave_out in (False, True):
        hidden, words = 0, 0
        for seed in range(30):
            batch = asked(desk, seed=seed, word_dropout=0.3, leave_out=leave_out).batch
            gone = (plain.real & ~batch.real) if leave_out else (batch.words != plain.words)
            assert leave_out or (batch.words[gone] == desk.words.mask).all()
            whole = desk.texts.whole[:6, : gone.shape[1]]
            assert not gone[whole == -1].any()
            for row in range(6):
                for word in whole[row].unique()[1:]:
                    of_word = gone[row][whole[row] == word]
                    assert of_word.all() or not of_word.any()
                    hidden, words = hidden + int(of_word.all()), words + 1
        assert hidden / words == pytest.approx(0.3, abs=0.04)


def test_patches_are_dropped_in_their_share_and_noise_is_a_share_of_the_spread(desk):
    shown = asked(desk, patch_dropout=0.5).batch.shown
    assert shown.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert asked(desk, patch_dropout=1.0).batch.shown.sum(dim=1).tolist() == [1] * 6
    clean, noisy = asked(desk).batch.patches.float(), asked(desk, noise=0.5).batch.patches
    assert ((noisy - clean).std() / clean.std()).item() == pytest.approx(0.5, abs=0.1)


# A missing side


def test_no_trace_of_what_is_missing_reaches_the_batch(desk):
    image, text = asked(desk, column="image").batch, asked(desk, column="text").batch
    assert (image.words == desk.words.pad).all()
    assert not image.real.any()
    assert image.words.shape[1] == 1  # nothing is read for nothing
    assert not text.patches.any()
    assert not text.shown.any()


@pytest.mark.parametrize("meeting", [False, True])
@pytest.mark.parametrize("readout", READOUTS)
def test_what_is_not_shown_matters_not_a_bit(desk, meeting, readout):
    model = model_of(desk, meeting=meeting, readout=readout)
    other_words = replace(desk, texts=replace(desk.texts, ids=desk.texts.ids.roll(7, dims=0)))
    lent = Pairs(
        torch.arange(6),
        torch.arange(6) + 20,
        torch.ones(6, dtype=torch.bool),
        torch.arange(6),
        torch.zeros(6, dtype=torch.bool),
    )
    with torch.no_grad():
        for column, answers_alike in (("image", True), ("text", False), ("both", False)):
            one, other = (model.read_out(asked(each, column=column).batch) for each in (desk, other_words))
            assert one.isfinite().all()
            assert torch.equal(one, other) == answers_alike
        for column, answers_alike in (("image", False), ("text", True), ("both", False)):
            mine, generator = asked(desk, column=column), torch.Generator().manual_seed(0)
            spoiling = recognition.Spoiling(only(column), word_dropout=0.0)
            theirs = recognition.ask(desk, lent, task=TASK, spoiling=spoiling, generator=generator)
            assert torch.equal(model.read_out(mine.batch), model.read_out(theirs.batch)) == answers_alike


@pytest.mark.parametrize("meeting", [False, True])
@pytest.mark.parametrize("readout", READOUTS)
def test_behind_the_mask_the_model_itself_lets_nothing_through(desk, meeting, readout):
    model, question = model_of(desk, meeting=meeting, readout=readout), asked(desk, column="image")
    batch = question.batch
    wide = replace(batch, words=torch.zeros(6, 9, dtype=torch.int64), real=torch.zeros(6, 9, dtype=torch.bool))
    scribbled = wide.words.clone()
    scribbled[:, 1:] = 17
    with torch.no_grad():
        assert torch.equal(model.read_out(wide), model.read_out(replace(wide, words=scribbled)))
        text = asked(desk, column="text").batch
        blind = replace(text, patches=torch.full_like(text.patches, 9.0))
        assert torch.equal(model.read_out(text), model.read_out(blind))


@pytest.mark.parametrize("readout", READOUTS)
def test_gradients_are_finite_whatever_is_missing(desk, readout):
    for column in COLUMNS:
        model = model_of(desk, meeting=True, readout=readout, dropout=0.1).train()
        recognition.losses_of(model, asked(desk, column=column))[TASK].backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        assert found
        assert all(grad.isfinite().all() for grad in found)


# The heads


def test_a_model_without_recognisers_is_the_model_it_was(desk):
    torch.manual_seed(0)
    sizes = {"vocabulary": desk.words.vocabulary, "dim": desk.store.dim, "objectives": ["itm"], "dropout": 0.0}
    plain = SingleStream(**sizes, **SIZES).state_dict()
    torch.manual_seed(0)
    asked_too = SingleStream(**sizes, **SIZES, classes_of={TASK: 4}).state_dict()
    assert set(asked_too) - set(plain) == {f"recognisers.{TASK}.classify.{part}" for part in ("weight", "bias")}
    assert all(torch.equal(asked_too[name], value) for name, value in plain.items())


def test_a_head_is_one_linear_layer_of_the_papers_weights_on_the_pooled_cls(desk):
    model, batch = model_of(desk, classes=500), asked(desk).batch
    layer = model.recognisers[TASK].classify
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not layer.bias.any()
    with torch.no_grad():
        seen = model.read_out(batch)
        assert torch.allclose(seen, model.pooled(model(batch)), atol=1e-5)
        assert torch.equal(model.recognise(TASK, seen), layer(seen))
    with pytest.raises(ValueError, match="no readout 'max'"):
        model_of(desk, readout="max")


def test_the_head_drops_the_models_share_while_it_learns(desk):
    model = model_of(desk, dropout=0.5)
    model.recognisers.train()
    torch.manual_seed(0)
    with torch.no_grad():
        said = torch.stack([model.recognise(TASK, torch.ones(1, 32)) for _ in range(20)])
    assert said.std(dim=0).min() > 0


def test_means_count_what_is_shown_and_nothing_else(desk):
    model, batch = model_of(desk, readout="bag"), asked(desk).batch
    with torch.no_grad():
        states, seen = model(batch), model.read_out(batch)
        words = torch.stack([states[row, 1 : batch.real[row].sum()].mean(dim=0) for row in range(6)])
        assert torch.allclose(seen[:, 32:64], torch.nn.functional.layer_norm(words, (32,)), atol=1e-3)
        shuffled = torch.cat([batch.words[:, :1], batch.words[:, 1:].flip(1)], dim=1)
        turned = replace(batch, words=shuffled, real=torch.cat([batch.real[:, :1], batch.real[:, 1:].flip(1)], 1))
        assert torch.allclose(model.read_out(turned)[:, 96:], seen[:, 96:], atol=1e-5)  # a bag has no order


# Learning and predicting


def trained(of, desk, folder, readout="cls"):
    model = model_of(desk, dropout=0.1, readout=readout, meeting=True)
    recipe = Training(
        epochs=1, batch=16, lr=0.003, warmup=0.1, weight_decay=0.0, clip=1.0, accumulate=1, checkpointing=False
    )
    AcceleratorState._reset_state(reset_partial_state=False)
    training.train(
        model,
        draw=drawing(desk, of, batch=16),
        losses=recognition.losses_of,
        weights={TASK: 1.0},
        steps=60,
        recipe=recipe,
        seed=3,
        work=folder,
        name="recognition",
        accelerator=Accelerator(cpu=True, mixed_precision="no"),
    )
    return model


def scores_of(model, desk, rows):
    return {
        column: recognition.predict(model, desk, rows.picture, rows.product, column, task=TASK) for column in COLUMNS
    }


@pytest.mark.parametrize("readout", ["cls", "bag"])
def test_one_model_learns_all_three_columns_on_rows_it_has_not_seen(tmp_path, readout):
    of = shop.catalogue(products=240)
    desk, names = desk_of(of, tmp_path), labels.classes(of, TASK)
    model, rows = trained(of, desk, tmp_path, readout), labels.rows_of(of, TASK, "test")
    scores, heat = scores_of(model, desk, rows), dict.fromkeys(COLUMNS, 1.0)
    found = marks.marks_of_scores(rows, scores, names, heat, generator=np.random.default_rng(0))
    assert found["both.accuracy"] > 0.8
    assert found["text.accuracy"] > 0.7  # chance is 0.25
    assert found["image.accuracy"] > 0.6
    assert found["both.calibration_error"] == found["both.calibration_error_raw"]
    table = marks.table(rows, scores, names, heat)
    assert list(table)[:4] == ["product", "picture", "group", "true"]
    for column in COLUMNS:
        assert (table[f"said_{column}"] == table["true"]).mean() == found[f"{column}.accuracy"]
        assert table[f"confidence_{column}"].between(0.25, 1).all()


def test_a_prediction_is_that_of_its_row_by_itself_in_the_order_asked_for(of, desk):
    model, rows = model_of(desk, meeting=True), labels.rows_of(of, TASK, "test")
    for column in COLUMNS:
        said = recognition.predict(model, desk, rows.picture, rows.product, column, task=TASK, batch=5)
        assert said.shape == (len(rows), 4)
        for row in range(len(rows)):
            one = slice(row, row + 1)
            alone = recognition.predict(model, desk, rows.picture[one], rows.product[one], column, task=TASK)
            assert alone[0] == pytest.approx(said[row], abs=1e-5)
    with pytest.raises(Problem, match="no column 'sound'"):
        recognition.predict(model, desk, rows.picture, rows.product, "sound", task=TASK)


def test_the_first_patches_can_be_kept_from_being_hidden(desk):
    free, kept = (asked(desk, patch_dropout=0.9, kept=number).batch.shown for number in (0, 1))
    assert not free[:, 0].all()
    assert kept[:, 0].all()
    assert torch.equal(free[:, 1:], kept[:, 1:])
