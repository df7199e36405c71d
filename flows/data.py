"""What is in data/, and how another catalogue gets there: the sample, the user's own, or a feed that is followed.

    python -m flows.data FROM           a folder or a catalogue file, an s3:// address, or the word `sample`
    python -m flows.data --feed FROM    a folder whose additions `dvc update data.dvc` brings in later

Nothing that lies in data/ is replaced before it is in DVC's cache, and `.work/data/` keeps the data.dvc that names it.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from flows import env

FICLONE = 0x40049409  # ioctl: share the blocks of a file until one side changes (btrfs, xfs)
TABLES = (".csv", ".tsv", ".parquet")
ADDRESS = "://"


class DataError(Exception):
    """What was asked for cannot be had; the message says why and what to do."""


def facts(root: Path) -> dict[str, Any]:
    """What data.dvc says: `md5` of all of data/, `sample` the md5 of the sample it was made with, `feed` its source."""
    file = root / "data.dvc"
    if not file.exists():
        return {}
    said = yaml.safe_load(file.read_text())
    deps = said.get("deps") or [{}]
    return {
        "md5": said["outs"][0].get("md5"),
        "sample": (said.get("meta") or {}).get("sample"),
        "feed": deps[0].get("path"),
    }


def is_there(root: Path) -> bool:
    """True when data/ holds anything."""
    return (root / "data").is_dir() and any((root / "data").iterdir())


def ensure(root: Path = env.ROOT) -> None:
    """Have a catalogue in data/: what is there, what data.dvc names, or the generated sample.

    Raises DataError when data.dvc names a catalogue that is nowhere to be had.
    """
    if is_there(root):
        return
    said = facts(root)
    if not said:
        _make_sample(root)
        return
    if _checked_out(root):
        print(f"data  {said['md5']} brought into data/, as data.dvc names it", flush=True)
        return
    if said["md5"] != said["sample"]:
        source = f", nor in its source {said['feed']}" if said["feed"] else ""
        raise DataError(
            f"data.dvc names the catalogue {said['md5']}, which is neither in DVC's cache nor in a remote{source};"
            " bring it with `make data FROM=folder`, or go back to the sample with `make data FROM=sample`"
        )
    made = _make_sample(root)
    if made != said["md5"]:
        print(
            f"data  the sample made here is {made}, not {said['md5']} as data.dvc named it: another version of a"
            " library draws or packs pictures otherwise. The run goes on with the one made here, and data.dvc names it",
            flush=True,
        )


def bring(source: str, root: Path = env.ROOT, *, feed: bool = False) -> None:
    """Put another catalogue into data/ and name it in data.dvc.

    source  "sample", a folder, a catalogue file, or an address that DVC can import a folder from
    feed    follow the folder: `dvc update data.dvc` brings what is new there
    """
    if source == "sample":
        _make_sample(root)
    elif feed or ADDRESS in source:
        _import(source, root)
    else:
        _copy(Path(source), root)
    print(f"data  {facts(root)['md5']} is in data/ and in data.dvc; `make run` does the rest", flush=True)


def keep(root: Path) -> None:
    """Have what lies in data/ in DVC's cache, and its data.dvc in .work/data/, so that it can come back."""
    if not is_there(root):
        return
    if (root / "data.dvc").exists():
        _dvc(root, "commit", "--force", "data.dvc")
    else:
        _dvc(root, "add", "data")
    md5 = facts(root)["md5"]
    name = root / ".work" / "data" / f"{md5}.dvc"
    name.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / "data.dvc", name)
    print(f"data  what was there is kept: `cp {name.relative_to(root)} data.dvc && dvc checkout data.dvc`", flush=True)


def _checked_out(root: Path) -> bool:
    """True when DVC could bring what data.dvc names, from its cache, else from a remote or the feed's source."""
    if env.dvc("checkout", "data.dvc", root=root).returncode == 0 and is_there(root):
        return True
    somewhere = env.dvc("remote", "list", root=root).stdout.strip() or facts(root)["feed"]
    if not somewhere:
        return False
    print("data  is not in the cache, asking the remote", flush=True)
    return env.dvc("pull", "data.dvc", root=root).returncode == 0 and is_there(root)


def _make_sample(root: Path) -> str:
    """Generate the sample into data/ -> its md5, which data.dvc now names as the sample's too."""
    with _fresh(root) as place:
        _stage(root, "sample", str(place))
        _swap(place, root)
    md5 = facts(root)["md5"]
    said = yaml.safe_load((root / "data.dvc").read_text())
    said["meta"] = {"sample": md5}
    (root / "data.dvc").write_text(yaml.safe_dump(said, sort_keys=False))
    return md5


def _copy(source: Path, root: Path) -> None:
    """Check a folder or file, copy it beside data/, and let it take its place."""
    if not source.exists():
        raise DataError(
            f"{source} does not exist; FROM is a folder or file with a catalogue, an s3:// address, or `sample`"
        )
    if source.resolve().is_relative_to((root / "data").resolve()):
        raise DataError(f"{source} is in data/ already; `make run` takes it as it is")
    _stage(root, "check", str(source))
    with _fresh(root) as place:
        _check_space(source, root)
        if source.is_dir():
            shutil.copytree(source, place, copy_function=_clone, ignore=shutil.ignore_patterns(".git", ".dvc", "*.dvc"))
        else:
            place.mkdir()
            _copy_file(source, place, root)
        _swap(place, root)


def _copy_file(source: Path, place: Path, root: Path) -> None:
    """A single file, and if it is a table the pictures that it names, each at its path."""
    _clone(str(source), str(place / source.name))
    if source.suffix.lower() not in TABLES:
        return
    sys.path.insert(0, str(env.ROOT / "src"))
    from fashionvl import config
    from fashionvl.catalogue.sources import find_source, open_source

    columns = config.load(root / "params.yaml").catalogue.columns
    for row in open_source(find_source(source), columns).rows:
        picture = Path(row.cells.get("image_path", ""))
        wanted = (source.parent / picture).resolve()
        if not wanted.is_file() or not wanted.is_relative_to(source.parent.resolve()):
            continue  # the stage `catalogue` sets such a row aside and says why
        (place / picture).parent.mkdir(parents=True, exist_ok=True)
        _clone(str(wanted), str(place / picture))


def _import(source: str, root: Path) -> None:
    """`dvc import-url`: a folder, by its relative path, or an address; checked before it replaces anything."""
    if source.startswith(("http://", "https://")):
        raise DataError(f"{source}: a web address has no folders for DVC to list; download it, then FROM=folder")
    if ADDRESS not in source:
        if not Path(source).is_dir():
            raise DataError(f"{source} is no folder; a feed is a folder that grows, or an s3:// address")
        _stage(root, "check", source)
        source = os.path.relpath(Path(source).resolve(), root.resolve())
    keep(root)
    with _fresh(root) as place:
        before = place.with_name("before")
        _set_aside(root, before)
        answer = env.dvc("import-url", source, "data", root=root)
        if answer.returncode != 0 or (ADDRESS in source and not _passes(root)):
            shutil.rmtree(root / "data", ignore_errors=True)
            (root / "data.dvc").unlink(missing_ok=True)
            _put_back(root, before)
            raise DataError(f"{source} could not be brought in: {_reason(answer)}")
        _keep_sample_name(root, before)
        shutil.rmtree(before)


def _passes(root: Path) -> bool:
    """True when the stage `check` accepts what is in data/ now; it says itself what it does not."""
    try:
        _stage(root, "check", "data")
    except DataError:
        return False
    return True


def _set_aside(root: Path, before: Path) -> None:
    before.mkdir(parents=True)
    for name in ("data", "data.dvc"):
        if (root / name).exists():
            (root / name).rename(before / name)


def _put_back(root: Path, before: Path) -> None:
    for kept in before.iterdir():
        kept.rename(root / kept.name)
    before.rmdir()


def _keep_sample_name(root: Path, before: Path) -> None:
    """data.dvc goes on knowing which sample this project has."""
    if not (before / "data.dvc").exists():
        return
    meta = yaml.safe_load((before / "data.dvc").read_text()).get("meta")
    if meta:
        said = yaml.safe_load((root / "data.dvc").read_text())
        (root / "data.dvc").write_text(yaml.safe_dump({**said, "meta": meta}, sort_keys=False))


@contextmanager
def _fresh(root: Path) -> Iterator[Path]:
    """A path beside data/ where a catalogue can grow; whatever is left there by a kill is removed."""
    place = root / ".work" / "data" / "incoming"
    if place.with_name("before").exists():  # killed between two steps of an import
        raise DataError(
            f"{place.with_name('before')} holds what was in data/ when `make data` was killed; move it back, or away"
        )
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _swap(place: Path, root: Path) -> None:
    """Let a finished folder take the place of data/, whose content is in the cache by then, and name it in data.dvc."""
    keep(root)
    if (root / "data").is_dir() and not is_there(root):
        (root / "data").rmdir()
    if (root / "data").exists():
        shutil.rmtree(root / "data")
    place.rename(root / "data")
    if facts(root).get("feed"):
        said = yaml.safe_load((root / "data.dvc").read_text())
        plain = {name: said[name] for name in ("outs", "meta") if name in said}  # no longer an import
        (root / "data.dvc").write_text(yaml.safe_dump(plain, sort_keys=False))
    _dvc(root, "add", "data")


def _stage(root: Path, name: str, *arguments: str) -> None:
    """Run a stage of this checkout; what it says goes to the screen, a failure is a DataError."""
    environment = {**os.environ, "PYTHONPATH": str(env.ROOT / "src")}
    command = [sys.executable, "-m", f"fashionvl.stages.{name}", *arguments]
    if subprocess.run(command, cwd=root, env=environment, check=False).returncode != 0:
        raise DataError(f"nothing was changed: `{name}` did not pass, see above")


def _dvc(root: Path, *arguments: str) -> None:
    answer = env.dvc(*arguments, root=root)
    if answer.returncode != 0:
        raise DataError(f"`dvc {' '.join(arguments)}` failed: {_reason(answer)}")


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    """DVC's own words for what went wrong, without its colours and its invitation to chat."""
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in answer.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if "https://dvc" not in line]
    return said[0].removeprefix("ERROR: ") if said else "it did not pass the check above"


def _check_space(source: Path, root: Path) -> None:
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    needed = 2 * sum(file.stat().st_size for file in files)  # in data/ and in DVC's cache
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataError(f"{source} needs {needed / 1e9:.1f} GB (data/ and DVC's cache), {free / 1e9:.1f} GB are free")


def _clone(source: str, target: str) -> str:
    """Copy a file, sharing its blocks where the file system can; never a link, which would let one change the other."""
    with open(source, "rb") as old, open(target, "wb") as new:  # noqa: PTH123  copytree hands strings
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)
    return target


def main(arguments: Sequence[str]) -> int:
    """-> 0; what cannot be done is one sentence and 2."""
    parser = argparse.ArgumentParser(prog="make data", description=__doc__)
    parser.add_argument("source", metavar="FROM", help="a folder, a catalogue file, an s3:// address, or `sample`")
    parser.add_argument("--feed", action="store_true", help="follow the folder (make data FROM=folder FEED=1)")
    given = parser.parse_args(arguments)
    env.apply()
    try:
        if not given.source:
            raise DataError("say where from: make data FROM=folder, FROM=file, FROM=s3://bucket/folder or FROM=sample")
        bring(given.source, feed=given.feed)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
