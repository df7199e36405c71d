"""`python -m flows.serve [SYSTEM] [options of fashionvl.service]`: serve the champion, and who is champion after it.

The champion's files are brought from the registry into .work/serving/<system>-<version>-<content>. A small file beside
them names what is served, and the service watches it: who promotes or rolls back has it written anew (`refresh`), and
the service lets the new one take over, index and all, without dropping a request. Where there is no champion, the
system in build/ is served.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from flows import env, notes, registry, stage


def pointer(system: str) -> Path:
    """The file that names what is served; it is there once a system has been served here."""
    return env.work() / "serving" / f"{system}.json"


def refresh(system: str, root: Path = env.ROOT) -> bool:
    """Let the service have the champion of now -> False where the system is not served from this checkout.

    Raises RegistryError.
    """
    if not pointer(system).exists():
        return False
    point(system, root)
    return True


def bring(system: str, version: registry.Version) -> None:
    """Have the files of the champion to come where the system is served: what cannot be had must not be promoted.

    Raises RegistryError.
    """
    if pointer(system).exists():
        _fetched(system, version)


def handed_over(system: str) -> bool | None:
    """`refresh` after aliases were moved -> what it says, None where it could not be done; the reason is printed."""
    try:
        return refresh(system)
    except (registry.RegistryError, OSError) as error:
        print(f"serve  the service was not told of the champion: {error}", file=sys.stderr)
        return None


def point(system: str, root: Path = env.ROOT) -> Path | None:
    """Name build/, data/ and the champion as what is served -> the champion's folder, None where there is none.

    Raises RegistryError.
    """
    from fashionvl.service.pointer import Folders
    from fashionvl.service.pointer import point as name_them

    file, version = pointer(system), registry.champion(system)
    file.parent.mkdir(parents=True, exist_ok=True)
    model = None if version is None else _fetched(system, version)
    name_them(file, Folders(root / "build", root / "data", model))
    if model is not None:
        _forget(system, model)
    return model


def _fetched(system: str, version: registry.Version) -> Path:
    """The saved system of a version, whole or not there; another registry's version of this number is not it."""
    folder = pointer(system).parent / f"{system}-{version.version}-{version.content[:8]}"
    if folder.exists():
        return folder
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        registry.fetch(version, part).rename(folder)
    except OSError as trouble:
        raise registry.RegistryError(f"{folder} cannot be written ({trouble})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _forget(system: str, model: Path) -> None:
    """Delete all versions but this and the one before it, which may be answering still."""
    ours = re.compile(re.escape(system) + r"-\d+-[^-]*")
    others = [path for path in model.parent.iterdir() if ours.fullmatch(path.name) and path != model]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-1]:
        shutil.rmtree(path)


def main(arguments: Sequence[str]) -> int:
    """Point, then become the service; 2 with a sentence where that cannot be done."""
    env.apply()
    rows = notes.to_register(env.ROOT)
    named = bool(arguments) and not arguments[0].startswith("-")
    system, rest = (arguments[0], arguments[1:]) if named else (rows[0] if rows else "", arguments)
    try:
        if system not in rows:
            raise stage.Refusal(f"{system!r} is no row of `run` in params.yaml ({', '.join(rows)}): nothing trains it")
        stage.own_library()
        model = point(system)
    except (registry.RegistryError, stage.Refusal) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"serve  {model.name if model else f'{system} as it is in build/, for there is no champion'}", flush=True)
    paths = [str(env.ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "fashionvl.service", "--pointer", str(pointer(system)), *rest]
    return os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
