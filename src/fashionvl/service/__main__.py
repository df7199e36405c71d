"""`make serve`: the search service, until Ctrl-C or SIGTERM; what was taken in before has its answer."""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

import fashionvl
from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.service import pointer
from fashionvl.service.app import app_of
from fashionvl.service.finding import Finder
from fashionvl.service.settings import KEY, Settings
from fashionvl.stages import options, run

CONNECTIONS = 900  # open at a time; a process has some 1,000 files
HERE = ("localhost", "127.0.0.1", "[::1]")


def arguments() -> argparse.Namespace:
    """What the command says."""
    parser = options(__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", type=Path, help="a trained system that re-ranks in place of the one in --build")
    parser.add_argument(
        "--pointer", type=Path, help="a file that names what is served in place of --build, --data and --model"
    )
    parser.add_argument("--open", action="store_true", help=f"listen beyond this machine without a key ({KEY})")
    return parser.parse_args()


def settings_of(host: str, key: str | None, is_open: bool) -> Settings:
    """What the service allows; a Problem where it would be open to anybody by accident."""
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise Problem(f"{KEY} must be letters, digits and signs of ASCII without spaces, or unset")
    here = is_loopback(host)
    if key is None and not here and not is_open:
        raise Problem(f"{host} can be reached from elsewhere: set {KEY}, or say --open to serve anybody")
    return Settings(key=key, hosts=tuple(dict.fromkeys((*HERE, host))) if here and key is None else ())


def is_loopback(host: str) -> bool:
    """True for an address, or a name, of this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; a Problem where it cannot."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise Problem(f"cannot listen at {host}, port {port} ({error}): choose others by --host and --port") from None


async def serve(app: FastAPI, at: socket.socket, watching: Coroutine[Any, Any, None] | None) -> None:
    """Answer until a signal comes; watching: what lets other systems take over."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=int(app.state.room.settings.seconds) + 5,
        )
    )
    watcher = asyncio.create_task(watching) if watching else None
    await server.serve([at])
    if watcher is not None:
        watcher.cancel()


def main() -> None:
    """Load, listen, answer."""
    said = arguments()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    settings, params = settings_of(said.host, os.environ.get(KEY), said.open), config.load(said.params)

    def load(folders: pointer.Folders) -> Finder:
        from fashionvl.pretrained import finder  # takes seconds, and what is wrong above is told at once

        most = params.catalogue.max_megapixels
        model = fashionvl.load(folders.model, max_megapixels=most) if folders.model else None
        return finder.Finder.load(folders.build, folders.data, settings=params, model=model)

    with contextlib.suppress(KeyboardInterrupt), listening(said.host, said.port) as at:  # before the long wait
        mark = pointer.mark_of(said.pointer) if said.pointer else None
        folders = pointer.pointed(said.pointer) if mark else pointer.Folders(said.build, said.data, said.model)
        app = app_of(load(folders), settings)
        watching = pointer.watch(said.pointer, mark, app.state.room, load) if said.pointer else None
        print(f"serve  http://{said.host}:{at.getsockname()[1]}  until Ctrl-C", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        asyncio.run(serve(app, at, watching))


if __name__ == "__main__":
    run(main)
