"""Parameters of one run: written into params.yaml while it goes, taken out when it ends, in whatever way.

`dvc exp run -S` would be the other way; it is one process for all stages, so nothing could be seen of any one of them.
What was made is kept with its parameters as an experiment (flows/snapshot.py), so nothing is lost when params.yaml is
as before; dvc.lock goes on saying what build/ was made with, and `dvc status` that params.yaml asks for something else.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
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
def applied(overrides: Mapping[str, Any] | None, root: Path = env.ROOT) -> Iterator[None]:
    """params.yaml with these values, to the end of the block; only ever in one run at a time (flow.lock)."""
    put_back(root)
    if not overrides:
        yield
        return
    check(overrides, root)
    file = root / "params.yaml"
    before = file.read_text(encoding="utf-8")
    changed = _written(before, overrides, root)
    _journal().write_text(json.dumps({"before": before, "during": changed}), encoding="utf-8")
    _replace(file, changed)
    try:
        yield
    finally:
        sentence = put_back(root)
        if sentence:
            print(sentence, flush=True)


def put_back(root: Path = env.ROOT) -> str | None:
    """Undo what a run wrote into params.yaml -> a sentence where it cannot be undone, None else.

    Someone who edited the file meanwhile keeps his edits, and is told where the former one lies.
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
        sentence = f"params.yaml was edited while a run had its own values in it; as it was before that run: {kept}"
    _journal().unlink()
    return sentence


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
