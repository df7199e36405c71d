"""Who is champion is served: its files are brought whole, the service is pointed at them, older ones are forgotten."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from flows import registry, serve
from flows.registry import RegistryError, Version


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A checkout whose registry is a list of versions, the last of them champion."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    made = SimpleNamespace(root=tmp_path, champion=0, fetched=[], breaks=None, content="0123456789ab")

    def fetch(version, folder):
        made.fetched.append(version.version)
        (folder / "system").mkdir()
        (folder / "system" / "card.json").write_text(str(version.version))
        if made.breaks:
            raise made.breaks
        return folder / "system"

    def champion(system):
        return version(made.champion, system) if made.champion else None

    def version(number, system="kaleido"):
        return Version(f"fashionvl-{system}", number, "x", content=made.content)

    made.version = version
    monkeypatch.setattr(registry, "fetch", fetch)
    monkeypatch.setattr(registry, "champion", champion)
    return made


def pointed(here) -> dict:
    return json.loads(serve.pointer("kaleido").read_text())


def test_without_a_champion_what_is_in_build_is_served(here):
    assert serve.point("kaleido", here.root) is None
    assert pointed(here) == {"build": str(here.root / "build"), "data": str(here.root / "data")}


def test_a_new_champion_is_brought_once_and_takes_over_where_one_is_served(here):
    here.champion = 1
    assert not serve.refresh("kaleido", here.root)  # nobody serves it
    assert here.fetched == []
    model = serve.point("kaleido", here.root)
    assert (model.name, (model / "card.json").read_text()) == ("kaleido-1-01234567", "1")
    here.champion = 2
    assert serve.refresh("kaleido", here.root)
    assert pointed(here)["model"].endswith("serving/kaleido-2-01234567")
    here.champion = 1  # rolled back
    assert serve.refresh("kaleido", here.root)
    assert pointed(here)["model"].endswith("serving/kaleido-1-01234567")
    assert here.fetched == [1, 2]


def test_only_the_champion_and_the_one_before_it_stay(here):
    serving = serve.pointer("kaleido").parent
    (serving / "kaleido-2-1-01234567").mkdir(parents=True)  # of a row that is called so
    (serving / "kaleido-large-1-01234567").mkdir()
    for number in (1, 2, 3):
        here.champion = number
        model = serve.point("kaleido", here.root)
        os.utime(model, (number, number))
    left = {path.name for path in serving.iterdir()} - {"kaleido-2-1-01234567", "kaleido-large-1-01234567"}
    assert left == {"kaleido-2-01234567", "kaleido-3-01234567", "kaleido.json"}
    assert len(list(serving.iterdir())) == 5


def test_the_same_number_in_another_registry_is_another_system(here):
    here.champion = 1
    first = serve.point("kaleido", here.root)
    here.content = "ba9876543210"
    second = serve.point("kaleido", here.root)
    assert first != second
    assert here.fetched == [1, 1]
    assert pointed(here)["model"] == str(second)


def test_what_cannot_be_had_is_said_before_anything_is_promoted(here, capsys):
    serve.bring("kaleido", here.version(2))  # nobody serves it: nothing to bring
    assert here.fetched == []
    here.champion = 1
    serve.point("kaleido", here.root)
    here.breaks = OSError(28, "No space left on device")
    with pytest.raises(RegistryError, match=r"kaleido-2-01234567 cannot be written \(.*No space left"):
        serve.bring("kaleido", here.version(2))
    here.champion = 2
    assert serve.handed_over("kaleido") is None
    assert "the service was not told of the champion: " in capsys.readouterr().err
    here.breaks = None
    serve.bring("kaleido", here.version(2))
    assert serve.handed_over("kaleido") is True
    assert here.fetched == [1, 2, 2, 2]


def test_a_champion_that_came_in_part_is_brought_again(here):
    here.champion, here.breaks = 1, RegistryError("the registry went away")
    with pytest.raises(RegistryError, match="went away"):
        serve.point("kaleido", here.root)
    assert not serve.pointer("kaleido").exists()
    here.breaks = None
    assert (serve.point("kaleido", here.root) / "card.json").read_text() == "1"
    assert sorted(path.name for path in serve.pointer("kaleido").parent.iterdir()) == [
        "kaleido-1-01234567",
        "kaleido.json",
    ]


def test_a_system_that_is_not_trained_is_one_sentence(project):
    answer = subprocess.run(
        [sys.executable, "-m", "flows.serve", "other"],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "'other' is no row of `run` in params.yaml (kaleido): nothing trains it\n"
