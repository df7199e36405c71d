"""Show, Attend and Tell: what it says, in what order, and that it looks where the thing is."""

import pytest
import torch
from torch import Tensor

from fashionvl import training
from fashionvl.models.captioner import Captioner
from fashionvl.tasks import describe
from fashionvl.tasks.describe import END, PAD, START, UNKNOWN, Lexicon
from fashionvl.tasks.pairs import Shop

NAMES = ("zip", "hood", "belt", "pocket")
LEXICON = Lexicon.of([["with", "a", name] for name in NAMES], least=1)
SIDE = 3


def captioner(side: int = SIDE, block: int = 1) -> Captioner:
    torch.manual_seed(1)
    return Captioner(vocabulary=len(LEXICON.words), dim=16, side=side, block=block, width=32, dropout=0.0).eval()


def hidden_things(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of noise with one thing in one cell -> maps (n, 9, 16), which thing (n,), which cell (n,)."""
    draw = torch.Generator().manual_seed(4)
    thing = torch.randint(len(NAMES), (count,), generator=draw)
    cell = torch.randint(SIDE * SIDE, (count,), generator=draw)
    maps = 0.3 * torch.randn(count, SIDE * SIDE, 16, generator=draw)
    maps[torch.arange(count), cell] += 3 * torch.eye(16)[thing]
    return maps, thing, cell


def captions(thing: Tensor) -> Tensor:
    return LEXICON.encode([["with", "a", NAMES[number]] for number in thing.tolist()], longest=3)


@pytest.fixture(scope="module")
def trained() -> Captioner:
    """A captioner that has seen things in cells, and was told only their names."""
    maps, thing, _ = hidden_things(256)
    model = captioner().train()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(120):
        rows = torch.arange(64) + step % 4 * 64
        sums = describe.losses_of(model, describe.Question(maps[rows], captions(thing[rows]), {}))
        (sums["words"] / 256 + sums["spread"] / 640 + sums["shown"] / 64).backward()
        adam.step()
        adam.zero_grad()
    return model.eval()


def test_a_caption_is_cut_ended_and_padded():
    ids = LEXICON.encode([["with", "a", "zip", "too"], ["a", "ruff"], []], longest=3)
    assert ids.shape == (3, 4)
    assert ids[0].tolist()[-1] == END
    assert ids[1].tolist()[1:] == [UNKNOWN, END, PAD]
    assert LEXICON.decode(ids[0]) == ["with", "a", "zip"]
    assert LEXICON.decode(ids[2]) == []


def test_a_rare_word_is_never_learned():
    assert "once" not in Lexicon.of([["a", "once"], ["a", "b"], ["b"]], least=2).words


def test_a_word_does_not_know_what_comes_after_it():
    model, (maps, thing, _) = captioner(), hidden_things(3)
    words = captions(thing)
    scores = model(maps, words, START)[0]
    words[:, 2] = UNKNOWN
    torch.testing.assert_close(model(maps, words, START)[0][:, :3], scores[:, :3])
    assert not torch.allclose(model(maps, words, START)[0][:, 3], scores[:, 3])


def test_where_all_cells_are_alike_a_word_tells_nothing_about_where():
    model, thing = captioner(), torch.tensor([0, 2])
    maps = torch.randn(2, 1, 16).expand(-1, 9, -1)
    torch.testing.assert_close(model.origins(maps, captions(thing), START), torch.full((2, 4, 9), 1 / 9))


def test_the_decoder_sees_the_means_of_blocks_and_the_detector_every_cell():
    model, maps = captioner(side=4, block=2), torch.randn(2, 16, 16)
    scene, _ = model.look(maps)
    upper_left = maps[:, [0, 1, 4, 5]].mean(dim=1)
    torch.testing.assert_close(scene.cells[:, 0], model.norm(upper_left))
    assert scene.cells.shape[1] == 4
    assert model.shows(maps).shape[1] == 16
    thing = torch.tensor([0, 2])
    for name, cells in (("attention", 4), ("origin", 4), ("detector", 16)):
        assert describe.HEATS[name](model, maps, captions(thing)).shape == (2, 4, cells)


def test_the_penalty_is_zero_where_every_cell_gets_its_share():
    even = torch.full((2, 9, 9), 1 / 9)
    model = captioner()
    model.forward = lambda maps, words, start: (torch.zeros(2, 9, len(LEXICON.words)), even)  # type: ignore[method-assign]
    question = describe.Question(torch.zeros(2, 9, 16), torch.full((2, 9), END), {})
    assert describe.losses_of(model, question)["spread"] == pytest.approx(0, abs=1e-9)


def test_padding_counts_in_no_loss():
    model, (maps, thing, _) = captioner(), hidden_things(4)
    words = captions(thing)
    longer = torch.cat([words, torch.full((4, 3), PAD)], dim=1)
    short, long = (describe.losses_of(model, describe.Question(maps, ids, {})) for ids in (words, longer))
    for name in short:
        torch.testing.assert_close(short[name], long[name])


def test_it_says_what_is_there(trained):
    maps, thing, _ = hidden_things(64)
    for beam in (1, 3):
        said = describe.describe(trained, LEXICON, maps, longest=5, beam=beam, heat="attention")
        right = [
            words == ["with", "a", NAMES[number]] for words, number in zip(said.words, thing.tolist(), strict=True)
        ]
        assert sum(right) >= 62
        assert all(heat.shape == (len(words), 3, 3) for words, heat in zip(said.words, said.heat, strict=True))


@pytest.mark.parametrize("heat", ["origin", "detector"])
def test_told_a_word_it_points_where_the_thing_is(trained, heat):
    maps, thing, cell = hidden_things(64)
    texts = [["with", "a", NAMES[number]] for number in thing.tolist()]
    told = describe.tell(trained, LEXICON, maps, texts, longest=5, heat=heat)
    pointed = torch.stack([found[2].flatten().argmax() for found in told.heat])
    assert (pointed == cell).float().mean() > 0.9


def test_a_word_it_never_learned_has_no_name_to_be_matched_by():
    told = describe.tell(captioner(), LEXICON, hidden_things(1)[0], [["a", "ruff"]], longest=5, heat="detector")
    assert told.words == [["a", ""]]


def test_every_heat_is_a_distribution_over_cells():
    model, (maps, thing, _) = captioner(), hidden_things(5)
    for look in describe.HEATS.values():
        heat = look(model, maps, captions(thing))
        assert heat.shape == (5, 4, 9)
        torch.testing.assert_close(heat.sum(dim=2), torch.ones(5, 4))


def test_a_beam_of_one_takes_the_likeliest_word_at_every_step():
    model, (maps, _, _) = captioner(), hidden_things(6)
    found = describe.search(model, maps, longest=4, beam=1)
    scores = model(maps, found, START)[0]
    scores[..., [PAD, START, UNKNOWN]] = -torch.inf
    for row, best in zip(found.tolist(), scores.argmax(dim=2).tolist(), strict=True):
        said = row.index(END) + 1 if END in row else len(row)
        assert row[:said] == best[:said]


def test_pictures_beside_it_do_not_change_a_caption(trained):
    maps, _, _ = hidden_things(9)
    together = describe.search(trained, maps, longest=5, beam=3)
    alone = torch.cat([describe.search(trained, row[None], longest=5, beam=3) for row in maps])
    assert torch.equal(together, alone)


def test_parts_of_a_batch_together_are_the_batch():
    maps, thing, _ = hidden_things(24)
    kept = describe.Maps(maps.half(), torch.arange(24))
    number = torch.arange(24)
    shop = Shop(number, number, torch.zeros(24, dtype=torch.int64), number, torch.ones(24, dtype=torch.int64))
    draw = describe.drawing(kept, captions(thing), shop, batch=8, chance=training.chance_of(3))
    whole, parts = draw(4, 0, 1), [draw(4, part, 2) for part in range(2)]
    torch.testing.assert_close(torch.cat([part.maps for part in parts]), whole.maps)
    assert sum(part.counts["words"] for part in parts) == whole.counts["words"]
    assert not torch.equal(draw(0, 0, 1).maps, draw(3, 0, 1).maps)
