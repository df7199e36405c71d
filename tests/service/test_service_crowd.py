"""Many ask at once: everybody gets the right answer or is told to come again, and nothing is dropped on the way."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fake_finder import COLOURS, THINGS, Finder, picture_bytes
from starlette.testclient import TestClient

from fashionvl.service import asking
from fashionvl.service.app import app_of, swap
from fashionvl.service.desk import Desk
from fashionvl.service.finding import Query
from fashionvl.service.serving import serving_of
from fashionvl.service.settings import Settings

PATIENT = Settings(seconds=100)  # on a busy machine too


def until(holds, seconds: float = 100.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def taken(client) -> int:
    return client.app.state.room.gauges.taken._value.get()


def test_a_hundred_at_once_are_batched_and_all_answered_rightly(tmp_path):
    finder = Finder(tmp_path, slow=0.02)
    titles = [f"{colour.title()} {thing}" for colour in COLOURS for thing in THINGS]
    with TestClient(app_of(finder, replace(PATIENT, at_once=100))) as client, ThreadPoolExecutor(100) as crowd:
        asked = [titles[number % len(titles)] for number in range(100)]
        answers = list(crowd.map(lambda title: client.post("/search", json={"text": title.lower(), "count": 1}), asked))
    assert [answer.json()["found"][0]["title"] for answer in answers] == asked
    assert sum(finder.asked) == 101  # the first one is the service's own
    assert max(finder.asked) > 4
    assert max(finder.asked) <= Settings().batch
    assert len(finder.asked) < 60
    assert len(finder.threads) == 2  # the service's own, then one


def test_different_questions_are_not_mixed(tmp_path):
    finder = Finder(tmp_path, slow=0.01)
    names = list(COLOURS)

    def ask(number: int) -> str:
        colour = names[number % len(names)]
        picture = {"picture": ("x", picture_bytes(COLOURS[colour]))}
        if number % 3 == 0:
            said = client.post("/caption", files=picture, data={"mode": ("causal", "mask_all")[number % 2]})
            return said.json()["caption"].removeprefix("a ").split()[0]
        if number % 3 == 1:
            return client.post("/classify", files=picture).json()["classes"][0]["name"]
        return client.post("/search", files=picture).json()["found"][0]["attributes"]["colour"]

    with TestClient(app_of(finder, PATIENT)) as client, ThreadPoolExecutor(30) as crowd:
        assert list(crowd.map(ask, range(60))) == [names[number % len(names)] for number in range(60)]


def test_a_request_that_fails_spoils_no_other(tmp_path):
    finder = Finder(tmp_path)
    texts = ["red", "a bug", "blue", "a problem", "green"]
    with (
        TestClient(app_of(finder, PATIENT), raise_server_exceptions=False) as client,
        ThreadPoolExecutor(5) as crowd,
    ):
        finder.hold.clear()
        first = crowd.submit(client.post, "/search", json={"text": "black"})
        until(lambda: len(finder.asked) == 2)
        others = [crowd.submit(client.post, "/search", json={"text": text}) for text in texts[:4]]
        until(lambda: taken(client) == 5)
        finder.hold.set()
        assert first.result().status_code == 200
        assert [other.result().status_code for other in others] == [200, 500, 200, 422]


def test_a_full_service_says_when_to_come_again(tmp_path):
    finder = Finder(tmp_path)
    with TestClient(app_of(finder, replace(PATIENT, at_once=3))) as client, ThreadPoolExecutor(3) as crowd:
        finder.hold.clear()
        waiting = [crowd.submit(client.post, "/search", json={"text": "red"}) for _ in range(3)]
        until(lambda: taken(client) == 3)
        refused = client.post("/search", json={"text": "red"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "come again" in refused.json()["error"]
        assert client.get("/health/live").status_code == 200
        finder.hold.set()
        assert [one.result().status_code for one in waiting] == [200] * 3
        assert client.post("/search", json={"text": "red"}).status_code == 200
        assert "fashionvl_refused_full_total 1.0" in client.get("/metrics").text


def test_what_takes_too_long_is_given_up_and_a_stuck_model_is_seen(tmp_path):
    finder = Finder(tmp_path)
    with TestClient(app_of(finder, Settings(seconds=0.3))) as client:
        finder.hold.clear()
        late = client.post("/search", json={"text": "red"})
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert client.post("/search", json={"text": "never asked"}).status_code == 503
        assert client.get("/health/ready").status_code == 503
        finder.hold.set()
        until(lambda: client.get("/health/ready").status_code == 200)
        client.app.state.room.desk.settings = PATIENT
        assert client.post("/search", json={"text": "red"}).status_code == 200
    assert sum(finder.asked) == 3  # the service's own, the first and the last


def test_another_system_takes_over_under_load_and_nobody_is_dropped(tmp_path):
    (tmp_path / "two").mkdir()
    one, two = Finder(tmp_path, "one", slow=0.005), Finder(tmp_path / "two", "two", slow=0.005)
    stop = threading.Event()

    def ask_on(_: int) -> list[tuple[int, str, str]]:
        seen = []
        while not stop.is_set():
            answer = client.post("/search", json={"text": "red coat", "count": 1})
            said = answer.json()
            seen.append((answer.status_code, said["versions"]["model"], said["found"][0]["description"]))
        return seen

    with TestClient(app_of(one, PATIENT)) as client, ThreadPoolExecutor(8) as crowd:
        asking = [crowd.submit(ask_on, number) for number in range(8)]
        try:
            until(lambda: len(one.asked) > 10)
            swap(client.app, two)
            until(lambda: len(two.asked) > 10)
        finally:
            stop.set()
        seen = [each.result() for each in asking]
        health = client.get("/health").json()
    for of_one in seen:
        assert {status for status, _, _ in of_one} == {200}
        assert {(version, words) for _, version, words in of_one} == {
            ("one", "A red coat of one"),
            ("two", "A red coat of two"),
        }
        versions = [version for _, version, _ in of_one]
        assert versions == sorted(versions)  # never back
    assert (health["versions"]["model"], health["swaps"]) == ("two", 1)


def test_a_system_that_cannot_be_asked_does_not_take_over(tmp_path):
    class Broken(Finder):
        def find_each(self, queries, **options):
            raise ZeroDivisionError("broken")

    with TestClient(app_of(Finder(tmp_path), Settings())) as client:
        with pytest.raises(ZeroDivisionError):
            swap(client.app, Broken(tmp_path))
        answer = client.post("/search", json={"text": "red"})
        assert answer.json()["versions"]["model"] == "one"


def test_what_has_been_taken_in_is_answered_before_the_desk_closes(tmp_path):
    finder = Finder(tmp_path, slow=0.05)

    async def ask_and_close() -> list[str]:
        desk = Desk(serving_of(finder), Settings(batch=2), seen=lambda together: None)
        desk.open()
        asked = [asyncio.create_task(desk.ask(asking.search, Query("red"), 1, None, None, False)) for _ in range(5)]
        await asyncio.sleep(0)
        await desk.close()
        with pytest.raises(TimeoutError):
            await desk.ask(asking.search, Query("too late"), 1, None, None, False)
        return [answer.versions["model"] for answer in await asyncio.gather(*asked)]

    assert asyncio.run(ask_and_close()) == ["one"] * 5
    assert finder.asked == [1, 2, 2, 1]


def test_an_answer_does_not_wait_for_those_asked_with_it(tmp_path):
    go_on = threading.Event()

    def slow(serving, asked):
        for number in asked:
            yield number
            assert go_on.wait(100)

    async def ask() -> list[int]:
        desk = Desk(serving_of(Finder(tmp_path)), PATIENT, seen=lambda together: None)
        asked = [asyncio.create_task(desk.ask(slow, number)) for number in range(3)]
        await asyncio.sleep(0)
        desk.open()
        first = await asked[0]
        assert not asked[1].done()
        go_on.set()
        others = await asyncio.gather(*asked[1:])
        await desk.close()
        return [first, *others]

    assert asyncio.run(ask()) == [0, 1, 2]


def test_a_model_is_read_whole_before_it_is_asked(tmp_path):
    """What is read later may have been replaced by a training since."""
    finder = Finder(tmp_path)
    serving_of(finder)
    assert finder.model.is_read
