"""Another system takes over by a file that names it."""

import asyncio
from pathlib import Path

import pytest
from fake_finder import Finder

from fashionvl.catalogue.problems import Problem
from fashionvl.service import pointer
from fashionvl.service.__main__ import listening, settings_of
from fashionvl.service.app import app_of
from fashionvl.service.pointer import Folders
from fashionvl.service.settings import Settings


def test_what_is_pointed_at_is_read_back_whole(tmp_path, monkeypatch):
    file = tmp_path / "serving.json"
    monkeypatch.chdir(tmp_path)
    assert pointer.mark_of(file) is None
    pointer.point(file, Folders(tmp_path / "build", tmp_path / "data"))
    assert pointer.pointed(file) == (tmp_path / "build", tmp_path / "data", None)
    before = pointer.mark_of(file)
    pointer.point(file, Folders(Path("other"), tmp_path / "data", Path("champion")))
    assert pointer.pointed(file) == (tmp_path / "other", tmp_path / "data", tmp_path / "champion")
    assert pointer.mark_of(file) != before
    assert [left.name for left in tmp_path.iterdir()] == ["serving.json"]


@pytest.mark.parametrize("said", ["", "{", "[]", "7", '{"build": "x"}', '{"build": 1, "data": 2}', "\x00"])
def test_a_file_that_names_no_folders_is_said_so(tmp_path, said):
    file = tmp_path / "serving.json"
    file.write_text(said)
    with pytest.raises(Problem, match="must be JSON that names folders"):
        pointer.pointed(file)


def test_the_newest_that_can_be_loaded_is_served_and_a_broken_one_is_refused(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pointer, "SECONDS", 0.01)
    file = tmp_path / "serving.json"

    def load(folders: Folders) -> Finder:
        if folders.build.name == "broken":
            raise Problem(f"{folders.build} has no index: run the stage `index`")
        if folders.build.name == "bug":
            raise ZeroDivisionError
        return Finder(tmp_path, folders.build.name)

    async def change() -> list[tuple[str, int, bool]]:
        room = app_of(load(Folders(tmp_path / "one", tmp_path)), Settings()).state.room
        watching, seen = asyncio.create_task(pointer.watch(file, None, room, load)), []
        for name in ("two", "broken", "bug", "three"):
            outcomes = sum(told.value for told in room.gauges.swaps.collect()[0].samples if told.name.endswith("total"))
            pointer.point(file, Folders(tmp_path / name, tmp_path))
            while outcomes == sum(
                told.value for told in room.gauges.swaps.collect()[0].samples if told.name.endswith("total")
            ):
                await asyncio.sleep(0.01)
            seen.append((room.desk.serving.versions["model"], room.swaps, room.refused))
        watching.cancel()
        return seen

    seen = asyncio.run(asyncio.wait_for(change(), 100))
    assert seen == [("two", 1, False), ("two", 1, True), ("two", 1, True), ("three", 2, False)]
    assert "has no index: run the stage `index`" in caplog.text


def test_a_service_is_not_open_to_everybody_by_accident():
    assert settings_of("127.0.0.1", None, False).hosts == ("localhost", "127.0.0.1", "[::1]")
    assert "127.0.0.2" in settings_of("127.0.0.2", None, False).hosts
    assert settings_of("::1", "secret", False) == Settings(key="secret")
    assert settings_of("0.0.0.0", "secret", False).key == "secret"
    assert settings_of("0.0.0.0", None, True) == Settings()
    for host in ("0.0.0.0", "192.168.0.7", "example.org", "::"):
        with pytest.raises(Problem, match="can be reached from elsewhere"):
            settings_of(host, None, False)
    for key in ("", "  ", "sésame", "a b", "a\nb"):
        with pytest.raises(Problem, match="FASHIONVL_API_KEY"):
            settings_of("127.0.0.1", key, False)


def test_a_port_that_is_taken_is_said_so():
    with listening("127.0.0.1", 0) as at, pytest.raises(Problem, match="cannot listen"):
        listening("127.0.0.1", at.getsockname()[1])
    with pytest.raises(Problem, match="cannot listen"):
        listening("127.0.0.1", 99999)
    with pytest.raises(Problem, match="cannot listen"):
        listening("203.0.113.7", 8000)
