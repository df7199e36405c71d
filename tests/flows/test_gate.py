"""The gate lets nothing through that is not better; people promote and roll back from the command line."""

import json

import pytest
import trained

from flows import gate, promote, registry, rollback, serve
from flows.gate import GateError, Verdict
from flows.registry import RegistryError, Version

ONE, TWO = (Version("fashionvl-kaleido", number, f"models:/fashionvl-kaleido/{number}") for number in (1, 2))
PROMOTE, ROLLBACK = ["-m", "flows.promote", "kaleido"], ["-m", "flows.rollback", "kaleido"]


@pytest.fixture
def desk(monkeypatch) -> dict:
    """A registry of two versions, the first of which is champion, and a gate that says `promote`."""
    known = {"champion": ONE, "promote": True, "asked": 0}

    def judge(system, challenger, champion):
        known["asked"] += 1
        return Verdict(known["promote"], ["because"], "because of this\n", [])

    monkeypatch.setattr(registry, "register", lambda system: TWO)
    monkeypatch.setattr(registry, "version_of", lambda system, number: {1: ONE, 2: TWO}[number])
    monkeypatch.setattr(registry, "champion", lambda system: known["champion"])
    monkeypatch.setattr(registry, "promote", lambda system, version: known.update(champion=version))
    monkeypatch.setattr(registry, "former", lambda system: ONE)
    monkeypatch.setattr(registry, "rollback", lambda system: known.update(champion=ONE) or ONE)
    monkeypatch.setattr(gate, "judge", judge)
    monkeypatch.setattr(serve, "bring", lambda system, version: None)
    monkeypatch.setattr(serve, "refresh", lambda system: False)
    return known


def test_what_is_better_is_promoted(desk, capsys):
    assert promote.main(["kaleido"]) == 0
    assert desk["champion"] == TWO
    said = capsys.readouterr().out
    assert "because of this" in said
    assert "version 1 can be had back with `python -m flows.rollback kaleido`" in said


def test_what_is_not_better_is_not(desk, capsys):
    desk["promote"] = False
    assert promote.main(["kaleido"]) == 1
    assert desk["champion"] == ONE
    assert "fashionvl-kaleido 2 is not promoted; fashionvl-kaleido 1 stays" in capsys.readouterr().out
    assert promote.main(["kaleido", "2", "--force"]) == 0
    assert desk == {"champion": TWO, "promote": False, "asked": 1}


def test_the_champion_is_not_judged_again(desk, capsys):
    assert promote.main(["kaleido", "1"]) == 0
    assert desk["asked"] == 0
    assert "is the champion already" in capsys.readouterr().out


@pytest.mark.parametrize("trouble", [RegistryError("MLflow is away"), GateError("nothing can be compared")])
def test_trouble_is_a_sentence(desk, capsys, monkeypatch, trouble):
    def fail(*words):
        raise trouble

    monkeypatch.setattr(gate, "judge", fail)
    monkeypatch.setattr(registry, "former", fail)
    assert promote.main(["kaleido"]) == 2
    assert capsys.readouterr().err == f"{trouble}\n"
    if isinstance(trouble, RegistryError):
        assert rollback.main(["kaleido"]) == 2
        assert capsys.readouterr().err == f"{trouble}\n"
    assert desk["champion"] == ONE


def test_what_cannot_be_served_is_not_promoted_and_nothing_is_rolled_back(desk, capsys, monkeypatch):
    def fail(system, version):
        raise RegistryError("the disk is full")

    monkeypatch.setattr(serve, "bring", fail)
    assert promote.main(["kaleido", "2"]) == 2
    assert desk["champion"] == ONE
    desk["champion"] = TWO
    assert rollback.main(["kaleido"]) == 2
    assert desk["champion"] == TWO
    assert capsys.readouterr().err == "the disk is full\n" * 2


def test_a_service_that_was_not_told_is_said_and_told_by_the_same_command(desk, capsys, monkeypatch):
    told = []

    def refresh(system):
        told.append(system)
        if len(told) == 1:
            raise RegistryError("MLflow is away")
        return True

    monkeypatch.setattr(serve, "refresh", refresh)
    assert promote.main(["kaleido", "2"]) == 3
    assert desk["champion"] == TWO
    assert capsys.readouterr().err == "serve  the service was not told of the champion: MLflow is away\n"
    assert promote.main(["kaleido", "2"]) == 0
    assert len(told) == 2


def test_the_champion_against_itself_is_kept_without_being_asked():
    found = gate.judge("kaleido", ONE, ONE)
    assert not found.promote
    assert found.reasons == ["fashionvl-kaleido 1 is the champion already"]


@pytest.mark.slow
@pytest.mark.ci
def test_from_a_first_version_to_a_rollback(tmp_path):
    checkout = trained.make(tmp_path / "checkout")

    first = checkout.run(*PROMOTE)  # weights that nobody trained: at chance
    assert first.returncode == 1, first.stderr
    assert "is not above chance for certain" in first.stdout
    assert "there is still no champion" in first.stdout
    assert checkout.run(*ROLLBACK).returncode == 2
    assert checkout.run(*PROMOTE, "--force").returncode == 0

    checkout.spoil()
    second = checkout.run(*PROMOTE)
    assert second.returncode == 1, second.stderr
    assert "sampled.R@1 falls from" in second.stdout
    assert "sampled.R@1 where category=" in second.stdout
    known = checkout.known()
    assert known["aliases"] == {"champion": 1, "challenger": 2}
    assert known["tags"]["2"]["gate.verdict"] == "keep"
    assert known["tags"]["2"]["gate.against"] == "1"
    assert "sampled.R@1 falls from" in known["tags"]["2"]["gate.reasons"]
    kept = json.loads((checkout.root / "build/gate/kaleido-2/verdict.json").read_text())
    assert kept["questions"] == known["tags"]["2"]["gate.questions"]
    assert (checkout.root / "build/gate/questions" / kept["questions"] / "lists.parquet").exists()

    checkout.ok(*PROMOTE, "--force")
    better = checkout.ok(*PROMOTE, "1")
    assert "sampled.R@1 rises from 0.0 %" in better
    assert checkout.ok(*ROLLBACK) == "rollback  fashionvl-kaleido 2 is the champion again\n"
    assert checkout.known()["aliases"] == {"champion": 2, "previous": 1}
    assert list((checkout.root / ".work").glob("*-*/")) == []  # nothing that was fetched stays


@pytest.mark.slow
@pytest.mark.ci
def test_what_the_library_refuses_is_one_sentence(tmp_path):
    with pytest.raises(GateError, match=r"^the gate could not compare them: .*params\.yaml does not exist[^\n]*$"):
        gate._compare([tmp_path], tmp_path / "out", tmp_path)
