import json

import pytest
import torch

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem


def test_what_is_shelved_is_what_is_loaded(tmp_path):
    weights = {"a": torch.randn(3, 2), "b": torch.arange(4)}
    checkpoint.save(tmp_path / "run", weights, {"stage": "pretrain"})
    loaded, card = checkpoint.load(tmp_path / "run")
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert card == {"version": checkpoint.VERSION, "stage": "pretrain"}


def test_a_folder_without_card_of_another_version_or_broken_is_a_sentence(tmp_path):
    with pytest.raises(Problem, match=r"no card\.json"):
        checkpoint.read_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(Problem, match="version 99"):
        checkpoint.read_card(tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(Problem, match="not valid JSON"):
        checkpoint.read_card(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(Problem, match=r"broken\.safetensors cannot be read"):
        checkpoint.read_tensors(tmp_path / "broken.safetensors")


def test_a_fingerprint_changes_with_parameters_and_content_and_with_nothing_else(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("one")
    mark = checkpoint.fingerprint(params={"lr": 1}, inputs=[data])
    assert mark == checkpoint.fingerprint(params={"lr": 1}, inputs=[data])
    assert mark != checkpoint.fingerprint(params={"lr": 2}, inputs=[data])
    (data / "card.json").write_text("{}")
    assert mark == checkpoint.fingerprint(params={"lr": 1}, inputs=[data])
    (data / "a.txt").write_text("two")
    assert mark != checkpoint.fingerprint(params={"lr": 1}, inputs=[data])
    with pytest.raises(Problem, match="does not exist"):
        checkpoint.fingerprint(params={}, inputs=[tmp_path / "nothing"])


def test_json_that_is_no_number_is_refused_and_leaves_the_old_file(tmp_path):
    checkpoint.write_json(tmp_path / "metrics" / "m.json", {"a": 1})
    with pytest.raises(ValueError):
        checkpoint.write_json(tmp_path / "metrics" / "m.json", {"a": float("nan")})
    assert json.loads((tmp_path / "metrics" / "m.json").read_text()) == {"a": 1}
