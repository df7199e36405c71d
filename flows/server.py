"""Prefect's server on this machine: the one of `make ui` if it is up, else one that lives as long as a run.

Prefect would start one by itself, but leaves it behind when the run is killed.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import env

HOST = "127.0.0.1"
START_SECONDS = 180.0  # it makes its database at the first start, on a machine that may be busy
HEALTH_SECONDS = 2.0


class ServerError(Exception):
    """Prefect's server cannot be started or reached; the message says why."""


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServerError(f"no port is free between {wanted} and {wanted + 99}")


def start(command: list[str], log: Path) -> subprocess.Popen:
    """A server that ends with this process and has its words in a file; not reached by a Ctrl-C meant for the run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as words:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.guard", *command],
            cwd=env.ROOT,
            stdout=words,
            stderr=words,
            process_group=0,
        )


def prefect(port: int) -> list[str]:
    """The command that starts Prefect's server."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def note() -> Path:
    """Where `make ui` writes the address of its Prefect server while it runs."""
    return env.work() / "ui.json"


@contextmanager
def running() -> Iterator[str]:
    """The address of a Prefect server's API for the length of a run; raises ServerError where there is none."""
    told = os.environ.get("PREFECT_API_URL") or (json.loads(note().read_text())["prefect"] if note().exists() else None)
    if told and answers(told):
        yield told
        return
    if "PREFECT_API_URL" in os.environ:
        raise ServerError(f"nothing answers at PREFECT_API_URL={told}")
    port = free_port(4300)
    address, log = f"http://{HOST}:{port}/api", env.work() / "prefect" / "server.log"
    server = start(prefect(port), log)
    try:
        end = time.monotonic() + START_SECONDS
        while not answers(address):
            if server.poll() is not None or time.monotonic() > end:
                raise ServerError(f"its server did not come up; see {log}")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def answers(address: str) -> bool:
    """True when a Prefect API answers at the address."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=HEALTH_SECONDS):
            return True
    except OSError:
        return False
