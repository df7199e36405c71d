"""The service as a process: it ends gracefully, comes back after a kill, and is not held up by those who are slow."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# The command itself, but for what it loads.
STARTED = """
import sys
from types import SimpleNamespace
from fake_finder import Finder
from fashionvl.service import __main__ as service
from fashionvl import pretrained

class Slow(Finder):
    @classmethod
    def load(cls, build, data, *, settings, model):
        return cls(data, version=build.name, slow=0.05)

pretrained.finder = sys.modules["fashionvl.pretrained.finder"] = SimpleNamespace(Finder=Slow)
service.run(service.main)
"""


@contextmanager
def service(folder: Path, port: int = 0, *more: str, **environment: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A running service -> its process, its address."""
    command = [sys.executable, "-c", STARTED, "--build", "one", "--data", str(folder), "--port", str(port), *more]
    paths = os.pathsep.join([str(HERE), str(ROOT / "src")])
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONPATH": paths, **environment},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said[:1] == ["serve"], (folder / "log").read_text()
        yield process, said[1]
    finally:
        process.kill()
        process.wait()


def search(address: str, text: str = "red coat") -> dict:
    body = json.dumps({"text": text, "count": 1}).encode()
    request = urllib.request.Request(f"{address}/search", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.ci
def test_a_signal_lets_what_was_taken_in_have_its_answer(tmp_path):
    with service(tmp_path) as (process, address):
        search(address)
        answers: list[dict] = []
        asking = [threading.Thread(target=lambda: answers.append(search(address))) for _ in range(20)]
        for one in asking:
            one.start()
        while "fashionvl_taken_requests 0.0" in urllib.request.urlopen(f"{address}/metrics").read().decode():
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        for one in asking:
            one.join(300)
        assert process.wait(300) == 0
    assert answers
    assert all(answer["found"][0]["title"] == "Red coat" for answer in answers)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_kill_and_a_restart_are_failures_to_try_again_and_never_a_wrong_answer(tmp_path):
    stop, seen = threading.Event(), []

    def ask_on(address: str) -> None:
        while not stop.is_set():
            try:
                seen.append(search(address)["found"][0]["title"])
            except urllib.error.HTTPError as error:
                seen.append(error.code)
            except OSError:
                seen.append("gone")
                time.sleep(0.05)

    with service(tmp_path) as (process, address):
        port = int(address.rsplit(":", 1)[1])
        asking = [threading.Thread(target=ask_on, args=(address,)) for _ in range(4)]
        for one in asking:
            one.start()
        while len(seen) < 20:
            time.sleep(0.05)
        process.kill()
        process.wait()
    before = len(seen)
    with service(tmp_path, port):
        while len(seen) < before + 40 or seen[-5:] != ["Red coat"] * 5:
            time.sleep(0.05)
        stop.set()
        for one in asking:
            one.join(300)
    assert "gone" in seen
    assert set(seen) <= {"Red coat", "gone", 503}


@pytest.mark.slow
def test_a_pointer_lets_another_system_take_over_in_the_running_process(tmp_path):
    from fashionvl.service.pointer import Folders, point

    file = tmp_path / "serving.json"
    with service(tmp_path, 0, "--pointer", str(file)) as (_, address):
        assert search(address)["versions"]["model"] == "one"
        point(file, Folders(tmp_path / "two", tmp_path))
        end = time.monotonic() + 300
        while search(address)["versions"]["model"] != "two":
            assert time.monotonic() < end
    with service(tmp_path, 0, "--pointer", str(file)) as (_, address):
        assert search(address)["versions"]["model"] == "two"  # what the file names is what is served


@pytest.mark.slow
def test_who_sends_slowly_or_says_nonsense_holds_up_nobody(tmp_path):
    with service(tmp_path) as (_, address):
        port = int(address.rsplit(":", 1)[1])
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        for one in slow:
            one.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 999\r\n\r\n{")  # fmt: skip
        assert search(address)["found"]
        assert b" 408 " in slow[0].recv(1000)  # after the seconds that a body may take
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            b"GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"GET /\r\nfoo: bar HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
                one.sendall(nonsense)
                status = one.recv(1000).split(b" ")[1]
                assert status.startswith(b"4"), nonsense[:60]
        assert search(address)["found"]
        for one in slow:
            one.close()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_what_cannot_be_served_ends_with_one_sentence(tmp_path):
    def ends(*more: str, **environment: str) -> str:
        paths = os.pathsep.join([str(HERE), str(ROOT / "src")])
        done = subprocess.run(
            [sys.executable, "-c", STARTED, "--data", str(tmp_path), *more], cwd=ROOT, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": paths, **environment}, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        return done.stderr

    assert "--open" in ends("--host", "0.0.0.0")
    assert "FASHIONVL_API_KEY" in ends(FASHIONVL_API_KEY="")
    (tmp_path / "serving.json").write_text("{")
    assert "names folders" in ends("--pointer", str(tmp_path / "serving.json"), "--port", "0")
