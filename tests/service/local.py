"""A service on a port of its own, within the process of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fake_finder import Finder

from fashionvl.service.app import app_of
from fashionvl.service.settings import Settings


@contextmanager
def served(folder: Path, settings: Settings) -> Iterator[str]:
    """-> its address; folder: where the pictures of its products are put."""
    server = uvicorn.Server(uvicorn.Config(app_of(Finder(folder), settings), port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
