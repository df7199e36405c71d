"""The stages `pretrain` and `evaluate` where patches, objectives and weights do not belong together."""

from pathlib import Path

import pytest
import shop

from fashionvl import checkpoint, config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.stages import evaluate, pretrain

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def settings():
    return config.load(PARAMS)


def test_an_objective_that_the_grids_do_not_play_is_one_sentence(settings):
    row = settings.systems["kaleido"]
    with pytest.raises(config.ConfigError, match=r"kaleido\.objectives names 'rotation', .* \[8\] play"):
        pretrain.objectives_of(row, "systems.kaleido", Pyramid((8,)))
    assert list(pretrain.objectives_of(row, "systems.kaleido", KALEIDO)) == list(row.objectives)


def test_an_objective_that_is_off_may_lack_its_grid(settings):
    row = settings.systems["kaleido"]
    row.objectives.update(dict.fromkeys(("rotation", "jigsaw", "camouflage", "grey"), 0.0))
    assert list(pretrain.objectives_of(row, "systems.kaleido", Pyramid((8,)))) == ["mlm", "itm", "blank"]


def test_weights_are_not_read_with_the_patches_of_other_grids(settings, tmp_path):
    of = shop.catalogue()
    desk = shop.desk(tmp_path / "patches" / "kaleido", of)
    desk.words.save(tmp_path / "words")
    sizes = pretrain.sizes_of(settings.systems["kaleido"], desk.words, desk.store, ["itm", "blank"])
    assert sizes["grids"] == [1, 2, 3, 4, 5]
    sizes["grids"] = [8]
    weights = SingleStream(**sizes, dropout=0.0).state_dict()
    checkpoint.save(tmp_path / "runs" / "kaleido", weights, {"model": sizes})
    with pytest.raises(
        Problem, match=r"runs/kaleido learned from the grids \[8\] and .* holds the grids \[1, 2, 3, 4, 5\]"
    ):
        evaluate._single_stream("kaleido", settings, of, tmp_path)
