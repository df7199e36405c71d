"""Prefect's server on this machine: the one of `make ui` if it is up, else one that lives as long as a run.

Prefect would start one by itself, but leaves it behind when the run is killed.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows import env, guard

HOST = "127.0.0.1"
START_SECONDS = 180.0  # it makes its database at the first start, on a machine that may be busy
HEALTH_SECONDS = 2.0
PRIVATE = {
    "PREFECT_UI_ENABLED": "false",
    **{
        f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
        for service in ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "TRIGGERS")
    },
}


class ServerError(Exception):
    """Prefect's server cannot be started or reached; the message says why."""


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on; for 0, one that the system picks."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
            return attempt.getsockname()[1]
    raise ServerError(f"no port is free between {wanted} and {wanted + 99}")


def start(command: list[str], log: Path, settings: Mapping[str, str] | None = None) -> subprocess.Popen:
    """A server that ends with this process and has its words in a file; not reached by a Ctrl-C meant for the run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as words:
        return subprocess.Popen(
            guard.bound(command),
            cwd=env.ROOT,
            env={**os.environ, **(settings or {})},
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
def running() -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a Prefect server's API for the length of a run, and a function that waits until it answers.

    Both raise ServerError where there is none. The one of `make ui`, or that the user named, is there already; else one
    is started, which has no page and no clock, so that nothing but this run runs on it.
    """
    told = os.environ.get("PREFECT_API_URL") or (json.loads(note().read_text())["prefect"] if note().exists() else None)
    if told and answers(told):
        yield told, lambda: None
        return
    if "PREFECT_API_URL" in os.environ:
        raise ServerError(f"nothing answers at PREFECT_API_URL={told}")
    port = free_port(0)  # or two checkouts that start at once would take the same
    address, log = f"http://{HOST}:{port}/api", env.work() / "prefect" / "server.log"
    server = start(prefect(port), log, PRIVATE)
    try:
        yield address, lambda: until_it_answers(address, server, log)
    finally:
        server.terminate()
        server.wait()


def until_it_answers(address: str, server: subprocess.Popen | None = None, log: Path | None = None) -> None:
    """Wait for a server that was started; raises ServerError when it ends or takes too long."""
    end = time.monotonic() + START_SECONDS
    while not answers(address):
        if (server is not None and server.poll() is not None) or time.monotonic() > end:
            raise ServerError(f"its server did not come up{f'; see {log}' if log else ''}")
        time.sleep(0.1)


def answers(address: str) -> bool:
    """True when a Prefect API answers at the address."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=HEALTH_SECONDS):
            return True
    except (OSError, ValueError, http.client.HTTPException):  # away, or no address at all
        return False
