"""The name of a trained system changes with whatever changes an answer, and with nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from flows import env, made
from flows.made import LineageError, made_of

PARAMS = {
    "finetune": {"retrieval": {}, "category": {}},
    "run_tasks": ["retrieval", "category"],
    "patches": {"squares": {"pixels": 64}},
    "alignment": {"tau": 0.5},
    "evaluate": {"draws": 5},
}
LOCK = {
    "words": {"build/words": "w.dir"},
    "encoder": {"build/encoder/model.safetensors": "e", "build/encoder/history.jsonl": "h"},
    "captioner": {"build/captioner/model.safetensors": "c"},
    "patches@squares": {"build/patches/squares": "p.dir"},
    "pretrain@kaleido": {"build/runs/kaleido/model.safetensors": "m", "build/runs/kaleido/history.jsonl": "h"},
    "finetune@kaleido-category": {"build/finetuned/kaleido-category/model.safetensors": "f"},
    "examine@kaleido-category": {"build/metrics/kaleido-category.json": "x"},
    "pretrain@other": {"build/runs/other/model.safetensors": "o"},
}
MEASURED = {"both.accuracy": 0.5, "both.temperature": 2.0}


class Root:
    """A checkout whose files say only what is asked of them."""

    def __init__(self, root: Path):
        self.root = root
        self.lock = json.loads(json.dumps(LOCK))
        self.params = json.loads(json.dumps(PARAMS))
        self.measured = dict(MEASURED)
        self.card = {"stage": "pretrain", "system": {"patches": "squares"}}

    def name(self) -> str:
        stages = {
            name: {"outs": [{"path": path, "md5": md5} for path, md5 in outs.items()]}
            for name, outs in self.lock.items()
        }
        self.put("dvc.lock", yaml.safe_dump({"stages": stages}))
        self.put("params.yaml", yaml.safe_dump(self.params))
        self.put("build/metrics/kaleido-category.json", json.dumps(self.measured))
        self.put("build/runs/kaleido/card.json", json.dumps(self.card))
        self.put("build/finetuned/kaleido-category/card.json", "{}")
        return made_of("kaleido", self.root).md5

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Root:
    made = Root(tmp_path)
    monkeypatch.setattr(env, "dvc", lambda *words, root: subprocess.CompletedProcess(words, 0, "{}", ""))
    return made


def test_what_changes_an_answer_changes_the_name(root):
    names = [root.name()]
    for change in (
        lambda: root.lock["pretrain@kaleido"].update({"build/runs/kaleido/model.safetensors": "m2"}),
        lambda: root.lock["finetune@kaleido-category"].update(
            {"build/finetuned/kaleido-category/model.safetensors": "f2"}
        ),
        lambda: root.lock["words"].update({"build/words": "w2.dir"}),
        lambda: root.lock["encoder"].update({"build/encoder/model.safetensors": "e2"}),
        lambda: root.lock["captioner"].update({"build/captioner/model.safetensors": "c2"}),
        lambda: root.params["patches"]["squares"].update(pixels=32),
        lambda: root.params["alignment"].update(tau=0.4),
        lambda: root.measured.update({"both.temperature": 1.5}),
    ):
        change()
        names.append(root.name())
    assert len(set(names)) == len(names)


def test_nothing_else_does(root):
    name = root.name()
    root.lock["pretrain@kaleido"]["build/runs/kaleido/history.jsonl"] = "the same training took longer"
    root.lock["patches@squares"]["build/patches/squares"] = "new pictures, the same weights"
    root.lock["examine@kaleido-category"]["build/metrics/kaleido-category.json"] = "measured anew"
    root.lock["pretrain@other"]["build/runs/other/model.safetensors"] = "another system"
    root.measured["both.accuracy"] = 0.6
    root.params["evaluate"]["draws"] = 1
    assert root.name() == name


def test_what_is_not_there_or_not_up_to_date_is_a_sentence(root, monkeypatch):
    root.name()
    with pytest.raises(LineageError, match="build/runs/other holds no trained system"):
        made_of("other", root.root)
    root.put("build/finetuned/kaleido-retrieval/card.json", "{}")
    with pytest.raises(LineageError, match=r"kaleido-retrieval/model\.safetensors is not in dvc.lock"):
        root.name()
    (root.root / "build/finetuned/kaleido-retrieval/card.json").unlink()
    asked = []
    for code, out, err, says in (
        (0, '{"encoder": ["changed"]}', "", "encoder is not up to date: run `dvc repro`"),
        (255, "", "first\nERROR: the lock is held", "whether the system is up to date: ERROR: the lock is held"),
    ):
        answer = subprocess.CompletedProcess([], code, out, err)
        monkeypatch.setattr(env, "dvc", lambda *words, root, answer=answer: asked.append(words) or answer)
        with pytest.raises(LineageError, match=says):
            root.name()
    assert set(asked[0][2:]) == set(LOCK) - {"pretrain@other"}


def test_a_head_that_no_stage_makes_any_more_is_a_sentence(root):
    root.name()
    root.params["run_tasks"].remove("category")
    with pytest.raises(
        LineageError, match=r"build/finetuned/kaleido-category is there, but `run_tasks` .* delete that"
    ):
        root.name()


def test_the_numbers_that_people_look_at_are_tagged(root):
    root.name()
    tags = made_of("kaleido", root.root).tags
    assert json.loads(tags["metrics"]) == {"kaleido-category.both.accuracy": 0.5}
    assert tags["system"] == "kaleido"
    assert made.SHOWN.search("sampled.tir.R@1")
    assert not made.SHOWN.search("sampled.tir.R@1.low")
