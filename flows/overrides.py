"""Parameters of one run: written into params.yaml while it goes, taken out when it ends, in whatever way.

`dvc exp run -S` would be the other way; it is one process for all stages, so nothing could be seen of any one of them.
What was made is kept with its parameters as an experiment (flows/snapshot.py), so nothing is lost when params.yaml is
as before; dvc.lock goes on saying what build/ was made with, and `dvc status` that params.yaml asks for something else.
"""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from flows import env, notes


class Refused(Exception):
    """The parameters cannot be used; the message names the one that is wrong."""


def check(overrides: Mapping[str, Any], root: Path = env.ROOT) -> None:
    """Every name must stand in params.yaml, every value be of the kind that stands there; raises Refused."""
    known = _flat(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")))
    for name, value in overrides.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise Refused(
                f"params.yaml has no {name!r}{f'; is {near[0]!r} meant?' if near else ''}; nothing was started"
            )
        if not _alike(known[name], value):
            raise Refused(f"{name} is {known[name]!r} in params.yaml, which {value!r} cannot replace")


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Everything by its dotted name, tables too."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[f"{above}{key}"] = value
        if isinstance(value, dict):
            found.update(_flat(value, f"{above}{key}."))
    return found


def _alike(old: Any, new: Any) -> bool:
    """True when one may stand for the other: numbers are alike, and nothing is known of what replaces a null."""
    if old is None or new is None:
        return True
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    if isinstance(old, (int, float)):
        return isinstance(new, int) or (isinstance(new, float) and (isinstance(old, float) or new.is_integer()))
    return isinstance(new, type(old))


@contextmanager
def applied(
    overrides: Mapping[str, Any] | None, root: Path = env.ROOT, say: Callable[[str], None] = print
) -> Iterator[None]:
    """params.yaml with these values, to the end of the block; only ever in one run at a time (flow.lock).

    say  is told where what a run wrote could not be taken out as it came in
    """
    _put_back(say, root)
    if not overrides:
        yield
        return
    check(overrides, root)
    file = root / "params.yaml"
    before = file.read_text(encoding="utf-8")
    changed = _written(before, overrides, root)
    journal = {"before": before, "during": changed, "overrides": dict(overrides)}
    _journal().write_text(json.dumps(journal), encoding="utf-8")
    _replace(file, changed)
    try:
        yield
    finally:
        _put_back(say, root)


def _put_back(say: Callable[[str], None], root: Path) -> None:
    sentence = put_back(root)
    if sentence:
        say(sentence)


def put_back(root: Path = env.ROOT) -> str | None:
    """Undo what a run wrote into params.yaml -> a sentence where somebody edited the file meanwhile, None else.

    Edits stay: taken out is what still has the run's value, and the file as it was before lies beside.
    """
    if not _journal().exists():
        return None
    said = json.loads(_journal().read_text(encoding="utf-8"))
    file = root / "params.yaml"
    now = file.read_text(encoding="utf-8")
    sentence = None
    if now == said["during"]:
        _replace(file, said["before"])
    elif now != said["before"]:
        kept = notes.folder() / "params-before.yaml"
        kept.write_text(said["before"], encoding="utf-8")
        undone = _undone(now, said, root)
        sentence = (
            "params.yaml was edited while a run had its own values in it;"
            f" taken out again: {', '.join(undone) or 'none of them'}; as it was before that run: {kept}"
        )
    _journal().unlink()
    return sentence


def _undone(now: str, said: dict[str, Any], root: Path) -> list[str]:
    """Give what still has a run's value its former one -> the names; a file that is no table is left alone."""
    try:
        here, before = yaml.safe_load(now), _flat(yaml.safe_load(said["before"]))
    except yaml.YAMLError:
        return []
    here = _flat(here) if isinstance(here, dict) else {}
    former = {name: before[name] for name, value in said["overrides"].items() if name in here and here[name] == value}
    if former:
        _replace(root / "params.yaml", _written(now, former, root))
    return list(former)


def _journal() -> Path:
    return notes.folder() / "params.json"


def _written(text: str, overrides: Mapping[str, Any], root: Path) -> str:
    """The file with other values, its comments kept."""
    from dvc.utils.serialize import modify_yaml

    draft = notes.folder() / "params.yaml"
    draft.write_text(text, encoding="utf-8")
    with modify_yaml(str(draft)) as values:
        for name, value in overrides.items():
            *tables, key = name.split(".")
            table = values
            for part in tables:
                table = table[part]
            table[key] = value
    changed = draft.read_text(encoding="utf-8")
    draft.unlink()
    return changed


def _replace(file: Path, text: str) -> None:
    """Whole or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
