"""What is in data/, and how another catalogue gets there: the sample, the user's own, or a feed that is followed.

    python -m flows.data FROM           a folder or a catalogue file, an s3:// address, or the word `sample`
    python -m flows.data --feed FROM    a folder whose additions `python -m flows.ingest` brings in later

Nothing that lies in data/ is replaced before it is in DVC's cache, and `.work/data/` keeps the data.dvc that names it.
"""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import env, swap
from flows.swap import DataError, facts, is_there

FICLONE = 0x40049409  # ioctl: share the blocks of a file until one side changes (btrfs, xfs)
TABLES = (".csv", ".tsv", ".parquet")
ADDRESS = "://"


def ensure(root: Path = env.ROOT) -> None:
    """Have a catalogue in data/: what is there, what data.dvc names, or the generated sample.

    Raises DataError when data.dvc names a catalogue that is nowhere to be had.
    """
    with swap.turn(root):
        swap.finish(root)
        _ensure(root)


def _ensure(root: Path) -> None:
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
    with swap.turn(root):
        swap.finish(root)
        try:
            if source == "sample":
                _make_sample(root)
            elif feed or ADDRESS in source:
                _import(source, root)
            else:
                _copy(Path(source).expanduser(), root)  # not every shell does it behind FROM=
        finally:
            swap.drop(root)
    print(f"data  {facts(root)['md5']} is in data/ and in data.dvc; `make run` does the rest", flush=True)


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
    place = swap.prepare(root)
    swap.stage(root, "sample", str(place / "data"))
    said = _named(place)
    md5 = said["outs"][0]["md5"]
    swap.put(root, {**said, "meta": {"sample": md5}})
    return md5


def _copy(source: Path, root: Path) -> None:
    """Check a folder or file, copy it beside data/, and let it take its place."""
    if not source.exists():
        raise DataError(
            f"{source} does not exist; FROM is a folder or file with a catalogue, an s3:// address, or `sample`"
        )
    if source.resolve().is_relative_to((root / "data").resolve()):
        raise DataError(f"{source} is in data/ already; `make run` takes it as it is")
    swap.stage(root, "check", str(source))
    _check_space(source, root)
    place = swap.prepare(root)
    if source.is_dir():
        left_out = shutil.ignore_patterns(".git", ".dvc", "*.dvc")
        shutil.copytree(source, place / "data", copy_function=_clone, ignore=left_out)
    else:
        (place / "data").mkdir()
        _copy_file(source, place / "data", root)
    swap.put(root, _named(place))


def _named(place: Path) -> dict[str, Any]:
    """Have DVC name the catalogue that has grown in a project beside data/ -> what its data.dvc says."""
    swap.dvc(place, "add", "data")
    return swap.read(place / "data.dvc")


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
        inside = not picture.is_absolute() and ".." not in picture.parts  # or it would be written where it came from
        if not inside or not wanted.is_file() or not wanted.is_relative_to(source.parent.resolve()):
            continue  # the stage `catalogue` sets such a row aside and says why
        (place / picture).parent.mkdir(parents=True, exist_ok=True)
        _clone(str(wanted), str(place / picture))


def _import(source: str, root: Path) -> None:
    """`dvc import-url` beside data/: a folder, by its relative path, or an address; checked before it replaces it."""
    if source.startswith(("http://", "https://")):
        raise DataError(f"{source}: a web address has no folders for DVC to list; download it, then FROM=folder")
    if ADDRESS not in source:
        if not Path(source).is_dir():
            raise DataError(f"{source} is no folder; a feed is a folder that grows, or an s3:// address")
        swap.stage(root, "check", source)
        source = str(Path(source).resolve())
    place = swap.prepare(root)
    answer = env.dvc("import-url", source, "data", root=place)
    if answer.returncode != 0:
        raise DataError(f"{source} could not be brought in: {swap.reason(answer)}")
    if ADDRESS in source:
        swap.stage(root, "check", str(place / "data"))
    said = swap.read(place / "data.dvc")
    if ADDRESS not in source:
        said["deps"][0]["path"] = os.path.relpath(source, root.resolve())
    swap.put(root, said)


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
