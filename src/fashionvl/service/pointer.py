"""Which system is to be served: a small file that names its folders, and is watched.

Who may write the file may swap; there is no address for it. `point` replaces it whole, so that nobody reads half of it.
The service answers from the system it has until the one that is named is loaded and has answered once; what cannot be
loaded is refused with a sentence in the log and `"refused": true` in /health, and the one there is goes on.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fashionvl.catalogue.problems import Problem
from fashionvl.config import ConfigError
from fashionvl.service.finding import Finder
from fashionvl.service.room import Room
from fashionvl.service.serving import Serving, serving_of

log = logging.getLogger("fashionvl.service")
SECONDS = 0.5  # between two looks


class Folders(NamedTuple):
    """Of a system: what was made, the catalogue it was made from, and what re-ranks in place of the one made there."""

    build: Path
    data: Path
    model: Path | None = None


Mark = tuple[int, int]
Load = Callable[[Folders], Finder]  # raises Problem or ConfigError


def point(file: Path, folders: Folders) -> None:
    """Name what is to be served from now on."""
    said = {name: str(folder.absolute()) for name, folder in folders._asdict().items() if folder is not None}
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(json.dumps(said) + "\n", encoding="utf-8")
    beside.replace(file)


def pointed(file: Path) -> Folders:
    """What a file names; a Problem where it is none of ours."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return Folders(Path(said["build"]), Path(said["data"]), Path(said["model"]) if "model" in said else None)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Problem(
            f'{file} must be JSON that names folders, {{"build": ..., "data": ...}} and perhaps "model"; it cannot be'
            f" read ({type(error).__name__})"
        ) from None


async def watch(file: Path, had: Mark | None, room: Room, load: Load) -> None:
    """Let what the file names take over, whenever the file is replaced; for ever.

    had  the mark of the file that names what is served now
    """
    while True:
        await asyncio.sleep(SECONDS)
        mark = mark_of(file)
        if mark == had or mark is None:
            continue
        had = mark
        loading = asyncio.get_running_loop().run_in_executor(None, _loaded, file, load)
        await asyncio.wait([loading])
        error = loading.exception()
        if error is None:
            room.swap(loading.result())
            log.warning("another system took over: %s", dict(room.desk.serving.versions))
        else:
            room.refuse()
            named = isinstance(error, (Problem, ConfigError))
            log.error("the system that is named cannot be served: %s", error, exc_info=None if named else error)


def mark_of(file: Path) -> Mark | None:
    """What changes when the file is replaced; None where there is none."""
    try:
        seen = file.stat()
    except FileNotFoundError:
        return None
    return seen.st_ino, seen.st_mtime_ns


def _loaded(file: Path, load: Load) -> Serving:
    return serving_of(load(pointed(file)))
