"""Captioning with the encoder: who may look at whom, what is asked, and what is said."""

import math
from dataclasses import replace

import pytest
import shop
import torch
from torch import Tensor

from fashionvl import words as wording
from fashionvl.batches import Pictures
from fashionvl.catalogue.problems import Problem
from fashionvl.masking import IGNORE
from fashionvl.models.reading import Reading
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.tasks import captioning, saying
from fashionvl.tasks.captioning import MODES, Question
from fashionvl.tasks.matching import Sides
from fashionvl.tasks.pairs import Shop
from fashionvl.training import chance_of

CATALOGUE = shop.catalogue(24)
TEXTS = CATALOGUE.texts(["title", "description"])
SLOTS = 24


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Sides:
    return desk_of(tmp_path_factory.mktemp("patches"))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Sides:
    """Pictures of few patches, so that saying takes little time."""
    return desk_of(tmp_path_factory.mktemp("small"), Pyramid((1, 2)))


def desk_of(folder, pyramid: Pyramid = KALEIDO, slots: int = SLOTS) -> Sides:
    words = wording.learn(TEXTS, vocabulary=120, slots=slots)
    return Sides(words, words.encode(TEXTS), shop.store(folder, CATALOGUE, pyramid=pyramid))


def encoder(desk: Sides, spread: float = 0.02, **changes) -> SingleStream:
    """A random encoder; a larger `spread` of its weights makes it say things with more confidence."""
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 2, "heads": 4, "inner": 64, "dropout": 0.0, "grids": desk.store.layout.sides}
    sizes |= {"vocabulary": desk.words.vocabulary, "dim": desk.store.dim, "objectives": ["mlm"], **changes}
    model = SingleStream(**sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(spread / 0.02)
    return model


def asked(desk: Sides, rows: int = 6, modes=MODES) -> Question:
    products = torch.arange(rows)
    return captioning.ask(desk, 2 * products, products, modes=modes)


def states(model: SingleStream, said: Tensor, pictures: Pictures) -> Tensor:
    """(B, T + P, C)   of all that `causal` reads"""
    shown = captioning.prefix_mask(said.shape[1], pictures.shown)
    with torch.no_grad():
        return model.read(model.words(said), model.look(pictures), shown)


def scores_of(model: SingleStream, said: Tensor, pictures: Pictures) -> Tensor:
    """(B, T, V) float   log-probabilities of the piece behind each slot, by the full forward"""
    return model.name_words(states(model, said, pictures)[:, : said.shape[1]]).log_softmax(dim=2).detach()


def search(model: SingleStream, desk: Sides, pictures: Tensor, **how) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return saying.search(model, desk.words, desk.store.pictures(pictures), **how)


def test_the_prefix_mask_written_out():
    rows = ["x..xx", "xx.xx", "xxxxx", "x..xx", "x..xx"]  # [CLS], two words, two patches
    found = captioning.prefix_mask(3, torch.ones(1, 2, dtype=torch.bool))[0]
    assert found.tolist() == [[letter == "x" for letter in row] for row in rows]


@pytest.mark.parametrize("meeting", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_later_word_changes_not_a_bit_before_it(desk, meeting, dropout):
    model = encoder(desk, spread=0.1, meeting=meeting, dropout=dropout).train(dropout > 0)
    question = asked(desk)
    other, slots = question.said.clone(), question.said.shape[1]
    other[:, 5:] = desk.words.mask
    read = []
    for said in (question.said, other):
        torch.manual_seed(1)
        read.append(states(model, said, question.pictures))
    assert torch.equal(read[0][:, :5], read[1][:, :5])  # [CLS] and the words before
    assert torch.equal(read[0][:, slots:], read[1][:, slots:])  # the patches
    assert not torch.equal(read[0][:, 5:slots], read[1][:, 5:slots])


def test_causal_asks_for_the_piece_behind_and_mask_all_for_the_piece_below(desk):
    question, words = asked(desk), desk.words
    ids = desk.texts.ids[0]
    length = int((ids != words.pad).sum())
    assert question.said[0, :length].tolist() == ids[:length].tolist()
    assert question.next[0, : length - 1].tolist() == ids[1:length].tolist()
    assert ids[length - 1] == words.id_of("[SEP]")
    assert (question.next[0, length - 1 :] == IGNORE).all()
    assert question.blank[0].tolist() == [words.id_of("[CLS]"), *[words.mask] * (SLOTS - 2), words.id_of("[SEP]")]
    assert question.named[0, : length - 1].tolist() == ids[1:length].tolist()
    assert (question.named[0, length - 1 :] == IGNORE).all()
    assert question.counts["causal"] == question.counts["mask_all"] == (desk.texts.ids[:6] != words.pad).sum() - 6


def test_a_text_that_fills_all_slots_is_asked_for_to_its_end(tmp_path):
    desk = desk_of(tmp_path, slots=8)
    full = (desk.texts.ids != desk.words.pad).all(dim=1)
    assert full.any()
    product = full.nonzero()[:1, 0]
    question = captioning.ask(desk, 2 * product, product, modes=MODES)
    assert question.counts == {"causal": 7, "mask_all": 6}  # [SEP] stands in the last slot, which is not masked
    model = encoder(desk)
    assert all(value.isfinite() for value in captioning.losses_of(model, question).values())
    said = search(model, desk, torch.arange(4), beam=2, longest=6)[0]
    assert said.shape == (4, 7)
    assert (said[:, -1] == desk.words.id_of("[SEP]")).all()


def test_an_untrained_encoder_is_as_good_as_chance(desk):
    mean = captioning.examine(encoder(desk), [asked(desk), asked(desk)])
    assert set(mean) == set(MODES)
    for value in mean.values():
        assert value == pytest.approx(math.log(desk.words.vocabulary), abs=0.3)


def test_a_mode_that_is_off_is_not_read_and_has_no_loss(desk):
    model = encoder(desk)
    both = captioning.losses_of(model, asked(desk))
    for mode in MODES:
        question = asked(desk, modes={mode: 1.0})
        assert set(question.counts) == {mode}
        alone = captioning.losses_of(model, question)
        assert set(alone) == {mode}
        torch.testing.assert_close(alone[mode], both[mode])


def test_padding_counts_in_no_loss(desk):
    model, question = encoder(desk), asked(desk)
    assert (question.said == desk.words.pad).any()
    scrambled = replace(question, said=question.said.masked_fill(question.said == desk.words.pad, 30))
    long = torch.nn.functional.pad(question.said, (0, 8), value=desk.words.pad)
    longer = replace(question, said=long, next=torch.nn.functional.pad(question.next, (0, 8), value=IGNORE))
    plain = captioning.losses_of(model, question)
    for other in (scrambled, longer):
        torch.testing.assert_close(captioning.losses_of(model, other), plain)


@pytest.mark.parametrize("word_dropout", [0.0, 0.3])
def test_parts_of_a_batch_add_up_to_the_whole(desk, word_dropout):
    of = Shop.of(CATALOGUE, "train")
    draw = captioning.drawing(desk, of, batch=8, modes=MODES, word_dropout=word_dropout, chance=chance_of(7))
    model = encoder(desk)
    for step in (0, 1, 2):
        whole = draw(step, 0, 1)
        halves = [draw(step, part, 2) for part in (0, 1)]
        sums = [captioning.losses_of(model, half) for half in halves]
        for mode, value in captioning.losses_of(model, whole).items():
            torch.testing.assert_close(sums[0][mode] + sums[1][mode], value)
            assert halves[0].counts[mode] + halves[1].counts[mode] == whole.counts[mode]
        assert torch.equal(draw(step, 0, 1).said, whole.said)


def test_word_dropout_hides_pieces_from_what_is_read_and_not_from_what_is_asked(desk):
    of = Shop.of(CATALOGUE, "train")
    plain, hidden = (
        captioning.drawing(desk, of, batch=16, modes=MODES, word_dropout=share, chance=chance_of(7))(0, 0, 1)
        for share in (0.0, 0.4)
    )
    is_piece = plain.next[:, :-1] != IGNORE  # of slots 1 on: a word that something stands behind
    changed = (hidden.said != plain.said)[:, 1:-1]
    assert changed[is_piece].float().mean().item() == pytest.approx(0.4, abs=0.1)
    assert not changed[~is_piece].any()
    assert (hidden.said[hidden.said != plain.said] == desk.words.mask).all()
    assert torch.equal(hidden.next, plain.next)
    assert torch.equal(hidden.said[:, 0], plain.said[:, 0])


def test_products_without_a_text_are_left_out(desk):
    of = Shop.of(CATALOGUE, "train")
    mute = desk.words.encode([text if number % 2 else "" for number, text in enumerate(TEXTS)])
    draw = captioning.drawing(replace(desk, texts=mute), of, batch=8, modes=["causal"], chance=chance_of(7))
    for step in range(4):
        assert (draw(step, 0, 1).next[:, 0] != desk.words.id_of("[SEP]")).all()
    silence = replace(desk, texts=desk.words.encode(["" for _ in TEXTS]))
    with pytest.raises(Problem, match="no product of the split has a text"):
        captioning.drawing(silence, of, batch=8, modes=["causal"], chance=chance_of(7))


@pytest.mark.parametrize("meeting", [True, False])
def test_what_is_read_on_is_what_is_read_at_once(desk, meeting):
    model, question, beam = encoder(desk, spread=0.1, meeting=meeting), asked(desk, rows=3), 2
    texts = [question.said, question.said.roll(1, dims=0)]  # two hypotheses a picture, of words that differ
    expected = torch.stack([states(model, said, question.pictures)[:, : said.shape[1]] for said in texts], dim=1)
    with torch.no_grad():
        patches, shown = model.look(question.pictures), question.pictures.shown
        reading = Reading(model, question.said[:, :1], patches, shown, words=beam * (SLOTS - 2))
        torch.testing.assert_close(reading.cls, expected[:, 0, 0], atol=1e-4, rtol=0)
        seen = torch.zeros(3, beam, reading.room, dtype=torch.bool)
        seen[:, :, : reading.length] = True
        for slot in range(1, question.said.shape[1] - 1):
            now = reading.length + torch.arange(beam)
            seen[:, torch.arange(beam), now] = True
            words = torch.stack([said[:, slot] for said in texts], dim=1)
            read = reading.on(words, slot, seen[:, :, : reading.length + beam])
            torch.testing.assert_close(read, expected[:, :, slot], atol=1e-4, rtol=0)


def greedy(model: SingleStream, desk: Sides, picture: Pictures, longest: int) -> list[int]:
    """One picture, the likeliest piece that may be said again and again, by the full forward."""
    said, sep = [desk.words.id_of("[CLS]")], desk.words.id_of("[SEP]")
    while len(said) <= longest:
        scores = scores_of(model, torch.tensor([said]), picture)[0, -1]
        said.append(int(scores.masked_fill(saying.silent(desk.words), -torch.inf).argmax()))
        if said[-1] == sep:
            break
    return [piece for piece in said[1:] if piece != sep]


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_a_beam_of_one_is_greedy(small, spread):
    model = encoder(small, spread, meeting=True)
    said = search(model, small, torch.arange(8), beam=1, longest=9)[0]
    for number, row in enumerate(said.tolist()):
        pieces = greedy(model, small, small.store.pictures([number]), 9)
        assert row == pieces + [small.words.id_of("[SEP]")] * (10 - len(pieces))


@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_a_score_is_the_mean_log_probability_of_the_text(small, beam, spread):
    model, sep = encoder(small, spread), small.words.id_of("[SEP]")
    said, score = search(model, small, torch.arange(8), beam=beam, longest=9)
    read = torch.cat([torch.full((8, 1), small.words.id_of("[CLS]")), said], dim=1)
    likely = scores_of(model, read, small.store.pictures(range(8)))[:, :-1].gather(2, said[:, :, None])[..., 0]
    counted = (said == sep).cumsum(dim=1) <= 1  # up to the first [SEP]
    torch.testing.assert_close((likely * counted).sum(dim=1) / counted.sum(dim=1), score, atol=1e-4, rtol=0)
    assert not saying.silent(small.words)[said].any()


def test_a_wide_beam_finds_the_best_text_there_is(small):
    """Two pieces at most, and room for every first piece: only second pieces are cut off, the poor ones."""
    model, words = encoder(small, 0.2), small.words
    said, score = search(model, small, torch.tensor([3]), beam=words.vocabulary, longest=2)
    cls, sep, speakable = words.id_of("[CLS]"), words.id_of("[SEP]"), (~saying.silent(words)).nonzero()[:, 0]
    firsts = speakable[speakable != sep]
    picture = small.store.pictures([3])
    begun = torch.stack([torch.full_like(firsts, cls), firsts], dim=1)
    then = scores_of(model, begun, picture[torch.zeros(len(firsts), dtype=torch.int64)])
    ended = torch.cartesian_prod(firsts, firsts)
    full = torch.cat([torch.full((len(ended), 1), cls), ended], dim=1)
    same = torch.zeros(500, dtype=torch.int64)
    last = torch.cat([scores_of(model, part, picture[same[: len(part)]])[:, 2, sep] for part in full.split(500)])
    empty = then[:1, 0, sep]
    one = (then[:, 0].gather(1, firsts[:, None])[:, 0] + then[:, 1, sep]) / 2
    both = (then[:, 0].gather(1, firsts[:, None]) + then[:, 1][:, firsts]).flatten()
    best = torch.cat([empty, one, (both + last) / 3]).max()
    assert score.item() == pytest.approx(best.item(), abs=1e-4)
    assert said.shape == (1, 3)


def test_texts_of_unlike_length_are_ranked_by_their_mean():
    """One text is over (-1.2 a piece); the other may go on: a piece for -0.9 makes it -1.1, [SEP] costs more."""
    sep, never = 0, torch.zeros(4, dtype=torch.bool)
    begun = saying.Hypotheses.none(torch.ones(1, 1, dtype=torch.bool), 2, most=4, sep=sep)
    begun.said[0, 1, :2] = torch.tensor([2, 3])
    over = torch.tensor([[True, False]])
    begun = replace(begun, total=torch.tensor([[-2.4, -2.4]]), length=torch.full((1, 2), 2.0), over=over)
    scores = torch.tensor([0.05, math.exp(-0.9), 0.0, 0.0])
    scores[2:] = (1 - scores.sum()) / 2
    found = saying._longer(begun, scores.log().expand(1, 2, -1), 2, never=never, sep=sep)
    assert found.said[0].tolist() == [[2, 3, 1, sep, sep], [sep] * 5]
    assert found.over[0].tolist() == [False, True]
    torch.testing.assert_close(found.score, torch.tensor([[-1.1, -1.2]]))
    assert found.length[0].tolist() == [3, 2]


def test_pictures_do_not_hear_each_other(small):
    model = encoder(small, 0.2, meeting=True)
    together = search(model, small, torch.arange(4), beam=3, longest=9)
    for picture in range(4):
        alone = search(model, small, torch.tensor([picture]), beam=3, longest=9)
        assert torch.equal(alone[0][0], together[0][picture])
        torch.testing.assert_close(alone[1][0], together[1][picture], atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[SingleStream, Sides]:
    """An encoder that has learned a few texts by heart, in both modes; its pictures have grids of their own."""
    desk = desk_of(tmp_path_factory.mktemp("fixed"), Pyramid((2,)))
    model, products = encoder(desk, meeting=True).train(), torch.arange(5)
    question = captioning.ask(desk, 2 * products, products, modes=MODES)
    adam = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(110):
        sums = captioning.losses_of(model, question)
        sum(sums[mode] / question.counts[mode] for mode in MODES).backward()
        adam.step()
        adam.zero_grad()
    return model.eval(), desk


@pytest.mark.parametrize(("mode", "beam"), [("causal", 1), ("causal", 4), ("mask_all", 1)])
def test_texts_learned_by_heart_are_said(learned, mode, beam):
    model, desk = learned
    told = captioning.caption(model, desk.words, desk.store.pictures(2 * torch.arange(5)), mode=mode, beam=beam)
    assert len(set(told)) > 2
    assert told == [desk.words.decode(row) for row in desk.texts.ids[:5].tolist()]
    assert told[0] == TEXTS[0][: len(told[0])]


@pytest.mark.parametrize("mode", MODES)
def test_a_caption_is_no_longer_than_asked(learned, mode):
    model, desk = learned
    whole = captioning.caption(model, desk.words, desk.store.pictures([0, 2]), mode=mode, beam=1)
    short = captioning.caption(model, desk.words, desk.store.pictures([0, 2]), mode=mode, beam=1, longest=3)
    for text, start in zip(whole, short, strict=True):
        assert text.startswith(start)
        assert len(desk.words.encode([start]).ids[0].nonzero()) <= 5


def test_more_pictures_than_are_read_at_once(learned, monkeypatch):
    model, desk = learned
    pictures = 2 * torch.arange(5)
    together = captioning.caption(model, desk.words, desk.store.pictures(pictures), mode="mask_all")
    monkeypatch.setattr(captioning, "AT_ONCE", 2)
    assert captioning.caption(model, desk.words, desk.store.pictures(pictures), mode="mask_all") == together
    assert captioning.caption(model, desk.words, desk.store.pictures(pictures), mode="causal", beam=2) == together


def test_wrong_ways_of_captioning_are_a_sentence(learned):
    model, desk = learned
    pictures = desk.store.pictures([0])
    with pytest.raises(Problem, match="no way of captioning called 'sideways'"):
        captioning.caption(model, desk.words, pictures, mode="sideways")
    for longest in (0, SLOTS - 1):
        with pytest.raises(Problem, match=f"1 to {SLOTS - 2} word pieces"):
            captioning.caption(model, desk.words, pictures, mode="causal", longest=longest)
