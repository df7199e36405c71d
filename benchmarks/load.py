"""The service under load: `wrk` for ten minutes on loopback, then with a kill and a restart in the middle.

    python benchmarks/load.py [--minutes 10] [--connections 16] [--build build] [--data data] [--params params.yaml]

Texts are titles of the catalogue. First `wrk` (it must be installed) asks as fast as it is answered, while the memory
of the service is read every two seconds. Then eight clients ask texts whose answers are known from before, the service
is killed (SIGKILL) in the middle and started again; a client that fails tries again. The last line is one JSON object:

requests, errors     of the first test; errors: answers other than 2xx, broken connections, time-outs
per_second, p50_ms, p99_ms
memory_mb            of the service after a tenth of the time, and at the end: flat where they are alike
kill                 right: answers as before; retried: failures to try again (503, no connection); wrong: the rest
load                 of the machine before and after: numbers mean little where others compute too
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

HOST = "127.0.0.1"
TEXTS, CLIENTS = 500, 8
LUA = """
local bodies = %s
local at = 0
function request()
  at = at %% #bodies + 1
  return wrk.format("POST", "/search", {["Content-Type"] = "application/json"}, bodies[at])
end
function done(summary, latency)
  local wrong = summary.errors
  io.write(string.format('{"requests": %%d, "errors": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f}\\n',
    summary.requests, wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class Service:
    """The service as `make serve` runs it; it can be killed and started again."""

    def __init__(self, arguments: argparse.Namespace):
        folders = ("--build", arguments.build, "--data", arguments.data, "--params", arguments.params)
        port = ("--port", str(arguments.port))
        self.command = [sys.executable, "-m", "fashionvl.service", *map(str, folders), *port]
        self.address = f"http://{HOST}:{arguments.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.process = subprocess.Popen(self.command)
        while True:
            if self.process.poll() is not None:
                sys.exit("the service did not start; see above")
            try:
                with urllib.request.urlopen(f"{self.address}/health/ready", timeout=60):
                    return
            except OSError:
                time.sleep(0.2)

    def end(self, by: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(by)
        self.process.wait()

    def memory(self) -> float:
        """Megabytes that it has in memory."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=60) as answer:
            told = re.search(r"^process_resident_memory_bytes (\S+)", answer.read().decode(), re.MULTILINE)
        assert told is not None
        return float(told[1]) / 1e6


def asked(text: str) -> bytes:
    """The body of one search."""
    return json.dumps({"text": text, "count": 10}).encode()


def first_test(service: Service, texts: list[str], minutes: float, connections: int) -> dict[str, Any]:
    """Ask as fast as possible."""
    bodies = "{" + ", ".join(f"[==[{asked(text).decode()}]==]" for text in texts) + "}"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % bodies)
        script.flush()
        times = ("-t1", f"-c{connections}", f"-d{round(minutes * 60)}s", "--timeout", "30s")
        wrk = subprocess.Popen(["wrk", *times, "-s", script.name, service.address], stdout=subprocess.PIPE, text=True)
        memory = []
        while wrk.poll() is None:
            memory.append(service.memory())
            time.sleep(2)
    assert wrk.stdout is not None
    said = json.loads(wrk.stdout.read().splitlines()[-1])
    said["per_second"] = round(said["requests"] / said.pop("seconds"), 1)
    return said | {"memory_mb": [round(memory[len(memory) // 10]), round(memory[-1])]}


def answer(service: Service, text: str) -> list[str]:
    """The ids that a text finds; raises OSError."""
    request = urllib.request.Request(
        f"{service.address}/search", asked(text), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as told:
        return [found["product_id"] for found in json.load(told)["found"]]


def second_test(service: Service, texts: list[str], seconds: float) -> dict[str, int]:
    """Ask what is known, with a kill in the middle."""
    known = {text: answer(service, text) for text in texts}
    stop = threading.Event()

    def ask_on(number: int) -> Counter[str]:
        at, seen = number, Counter[str]()
        while not stop.is_set():
            text = texts[at % len(texts)]
            try:
                seen["right" if answer(service, text) == known[text] else "wrong"] += 1
                at += CLIENTS
            except urllib.error.HTTPError as error:
                seen["retried" if error.code == 503 else "wrong"] += 1
            except OSError:
                seen["retried"] += 1
                time.sleep(0.1)

        return seen

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask_on, number) for number in range(CLIENTS)]
        time.sleep(seconds / 2)
        service.end(signal.SIGKILL)
        service.start()
        time.sleep(seconds / 2)
        stop.set()
        seen = sum((client.result() for client in clients), Counter[str]())
    return {name: seen[name] for name in ("right", "retried", "wrong")}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--port", type=int, default=8009)
    for name, default in (("build", "build"), ("data", "data"), ("params", "params.yaml")):
        parser.add_argument(f"--{name}", type=Path, default=Path(default))
    arguments = parser.parse_args()
    if shutil.which("wrk") is None or not (arguments.build / "index").is_dir():
        print("not measured: this needs wrk (Debian: apt-get install wrk), and an index (`dvc repro`)")
        return
    titles = pd.read_parquet(arguments.build / "catalogue" / "products.parquet", columns=["title"])["title"]
    texts = [title for title in titles.drop_duplicates() if title][:TEXTS]
    service, before = Service(arguments), os.getloadavg()[0]
    service.start()
    try:
        said = first_test(service, texts, arguments.minutes, arguments.connections)
        said["kill"] = second_test(service, texts[:50], max(20.0, arguments.minutes * 6))
    finally:
        service.end(signal.SIGTERM)
    print(json.dumps(said | {"load": [before, os.getloadavg()[0]]}))


if __name__ == "__main__":
    main()
