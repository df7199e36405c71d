"""How a catalogue takes the place of the one in data/: a kill at any moment leaves the one or the other, whole.

The new one grows in `.work/data/incoming/`, a DVC project of its own that shares the checkout's cache, where it gets
its name (`data.dvc`). Then a note says what is about to happen, the two folders change places in one step, data.dvc is
written, the note goes. Whatever finds the note (`finish`) does what is left. Nothing that lies in data/ is replaced
before it is in DVC's cache, and `.work/data/<md5>.dvc` keeps the data.dvc that names it.
"""

import ctypes
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from flows import env, guard, ledger

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # this kernel or this file system has none
_UNSIGNED = ("size", "nfiles", "isexec")  # what DVC leaves out when it signs an import


class DataError(Exception):
    """What was asked for cannot be had; the message says why and what to do."""


def facts(root: Path) -> dict[str, Any]:
    """What data.dvc says: `md5` of all of data/, `sample` the md5 of the sample it was made with, `feed` its source."""
    file = root / "data.dvc"
    if not file.exists():
        return {}
    said = read(file)
    deps = said.get("deps") or [{}]
    return {
        "md5": said["outs"][0].get("md5"),
        "sample": (said.get("meta") or {}).get("sample"),
        "feed": deps[0].get("path"),
    }


def is_there(root: Path) -> bool:
    """True when data/ holds anything."""
    return (root / "data").is_dir() and any((root / "data").iterdir())


def turn(root: Path) -> AbstractContextManager[None]:
    """Held by whoever changes data/ or what grows beside it; a second one waits and says so."""
    return guard.turn(root / ".work" / "data" / "lock", "data")


def incoming(root: Path) -> Path:
    """The project beside data/ where a catalogue grows, in its folder `data`."""
    return root / ".work" / "data" / "incoming"


def prepare(root: Path) -> Path:
    """An empty project beside data/ with the checkout's cache and remotes -> its folder."""
    from dvc.config import Config

    place = incoming(root)
    shutil.rmtree(place, ignore_errors=True)
    (place / ".dvc").mkdir(parents=True)
    (place / ".dvc" / "config").touch()
    if (root / ".dvcignore").exists():
        shutil.copyfile(root / ".dvcignore", place / ".dvcignore")
    theirs = Config(str(root / ".dvc"))
    with Config(str(place / ".dvc")).edit("repo") as ours:
        ours.update({section: dict(theirs[section]) for section in ("core", "cache", "remote")})
        ours["core"]["no_scm"] = True
        ours["cache"].setdefault("dir", str((root / ".dvc" / "cache").resolve()))
    return place


def drop(root: Path) -> None:
    """Remove what has grown beside data/ and is not to take its place."""
    if not _note(root).exists():
        shutil.rmtree(incoming(root), ignore_errors=True)


def put(root: Path, said: dict[str, Any]) -> None:
    """Let what has grown beside data/ take its place.

    said  what data.dvc is to say; which sample this project has is added
    """
    meta = read(root / "data.dvc").get("meta") if (root / "data.dvc").exists() else None
    said = sign({**said, **({"meta": meta} if meta and "meta" not in said else {})})
    keep(root)
    inode = (incoming(root) / "data").stat().st_ino
    ledger.write(_note(root), {"inode": inode, "data.dvc": said})
    finish(root)


def finish(root: Path) -> None:
    """Do what is left of a change of places that was killed; nothing where none was."""
    if not _note(root).exists():
        return
    note = json.loads(_note(root).read_text(encoding="utf-8"))
    new, data = incoming(root) / "data", root / "data"
    if not (data.exists() and data.stat().st_ino == note["inode"]) and new.exists():
        try:
            _change_places(new, data)
        except DataError:
            _note(root).unlink()
            raise
    write(root / "data.dvc", note["data.dvc"])
    if not matches(root):  # the checkout was moved to another disk meanwhile, and the numbers of its folders with it
        dvc(root, "checkout", "--force", "data.dvc")
    shutil.rmtree(incoming(root), ignore_errors=True)
    _note(root).unlink()


def keep(root: Path) -> None:
    """Have what lies in data/ in DVC's cache, and its data.dvc in .work/data/, so that it can come back."""
    if not is_there(root):
        return
    if facts(root).get("feed"):
        said = read(root / "data.dvc") if matches(root) else _feed_as_it_lies(root)
    else:
        dvc(root, *(("commit", "--force", "data.dvc") if (root / "data.dvc").exists() else ("add", "data")))
        said = read(root / "data.dvc")
    name = root / ".work" / "data" / f"{said['outs'][0]['md5']}.dvc"
    name.parent.mkdir(parents=True, exist_ok=True)
    write(name, said)
    print(f"data  what was there is kept: `cp {name.relative_to(root)} data.dvc && dvc checkout data.dvc`", flush=True)


def _feed_as_it_lies(root: Path) -> dict[str, Any]:
    """Put data/ into the cache as it lies there, changed by hand -> what its data.dvc would say.

    `dvc commit` would ask the source anew, and note that what is new there has been brought.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo, repo.lock:
        (out,) = repo.stage.load_one("data.dvc").outs
        out.save()
        out.commit()
        return sign({**read(root / "data.dvc"), "outs": [out.dumpd()]})


def matches(root: Path) -> bool:
    """True when data/ is what data.dvc says, and in the cache; raises DataError when DVC cannot say."""
    return json.loads(dvc(root, "status", "--json", "data.dvc")) == {}


def read(file: Path) -> dict[str, Any]:
    """What a .dvc file says."""
    return yaml.safe_load(file.read_text())


def write(file: Path, said: dict[str, Any]) -> None:
    """Write a .dvc file whole or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_text(yaml.safe_dump(said, sort_keys=False))
    part.replace(file)


def sign(said: dict[str, Any]) -> dict[str, Any]:
    """What a .dvc file says, with the checksum over it that DVC wants of an import; others have none."""
    from dvc.utils import dict_md5

    plain = {name: said[name] for name in ("outs", "meta") if name in said}
    if "deps" not in said:
        return plain
    md5 = dict_md5({name: said[name] for name in ("deps", "outs")}, exclude=_UNSIGNED)
    return {"md5": md5, "frozen": True, "deps": said["deps"], **plain}


def stage(root: Path, name: str, *arguments: str) -> None:
    """Run a stage of this checkout; what it says goes to the screen, a failure is a DataError with its last line."""
    environment = {**os.environ, "PYTHONPATH": str(env.ROOT / "src")}
    command = [sys.executable, "-m", f"fashionvl.stages.{name}", *arguments]
    answer = subprocess.run(command, cwd=root, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    said = answer.stderr.strip().splitlines()
    last = (said.pop() if said else f"it ended with {answer.returncode}") if answer.returncode else ""
    print(*said, sep="\n", end="\n" if said else "", file=sys.stderr, flush=True)
    if last:
        raise DataError(f"nothing was changed: `{name}` did not pass: {last}")


def dvc(root: Path, *arguments: str) -> str:
    """Run a DVC command -> what it printed; a failure is a DataError."""
    answer = env.dvc(*arguments, root=root)
    if answer.returncode != 0:
        raise DataError(f"`dvc {' '.join(arguments)}` failed: {reason(answer)}")
    return answer.stdout


def reason(answer: subprocess.CompletedProcess[str]) -> str:
    """DVC's own words for what went wrong, without its colours and its invitation to chat."""
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in answer.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if "https://dvc" not in line]
    return said[0].removeprefix("ERROR: ") if said else f"it ended with {answer.returncode} and said nothing"


def _note(root: Path) -> Path:
    return root / ".work" / "data" / "swap.json"


def _change_places(new: Path, data: Path) -> None:
    """Two folders, in one step where the kernel can; where it cannot, data/ is away for a moment."""
    if data.exists() and _exchanged(new, data):
        return
    leaving = new.with_name("leaving")
    try:
        if data.exists():
            data.rename(leaving)
        new.rename(data)
    except OSError as error:
        raise DataError(f"{new} cannot take the place of {data} ({error.strerror}); both are as they were") from None


def _exchanged(new: Path, data: Path) -> bool:
    """True when the two have changed places, False where this machine has no such step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(data), _RENAME_EXCHANGE) == 0:
        return True
    if (number := ctypes.get_errno()) in _NO_EXCHANGE:
        return False
    raise DataError(f"{new} cannot take the place of {data} ({os.strerror(number)}); both are as they were")
