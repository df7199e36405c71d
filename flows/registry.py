"""Versions of trained systems in MLflow's registry: registered once, promoted, rolled back.

    python -m flows.registry SYSTEM     register what is in build/, unless it is there already

A version is the system of build/runs/<system> with all around it. Aliases: `challenger`, the last that was registered;
`champion`, the one in use; `previous`, the champion before it. Whatever is killed, the same command goes on: the same
content is found by its tag `dvc.md5`, and half-written files are written again. One process at a time (a file lock; two
machines on one MLflow server are not kept apart).
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows import env, guard, packing, tracking
from flows.made import LineageError, Made, made_of

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
VERDICT, PROMOTED = "gate.verdict", "gate.promoted"  # tags of a version: what the gate said, and that it was done
SWAP = "rollback"  # tag of a model while its champion is being swapped: {"champion": 1, "previous": 2}
LONGEST = 5000  # characters of a tag or a description in MLflow's tables


class RegistryError(Exception):
    """The registry cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Version:
    """One version of a system.

    fresh    True where this call made it
    settled  True where the gate has judged it and what it said was done: there is nothing left to do with it
    content  a name of what it answers with, whatever its number and whatever registry it is in
    """

    name: str
    version: int
    model_uri: str
    fresh: bool = False
    settled: bool = False
    content: str = ""


def name_of(system: str) -> str:
    """What a system is called in the registry."""
    return f"fashionvl-{system}"


def register(system: str, root: Path = env.ROOT) -> Version:
    """Have a version of what is in build/; the one there is, where the same was registered before.

    A new version is the challenger. Raises RegistryError.
    """
    try:
        made = made_of(system, root)
    except LineageError as error:
        raise RegistryError(str(error)) from None
    with _registry() as (client, experiment):
        found = _with_tag(client, system, made.md5)
        fresh = found is None
        if found is None:
            found = _create(
                client, system, *packing.packed(client, experiment, name_of(system), system, made, root), made
            )
        version = _version(found, fresh=fresh)
        if version.version in _aliases(client, system, CHAMPION):
            _finish_promotion(client, system, version)
            version = replace(version, settled=True)
        elif not version.settled:
            client.set_registered_model_alias(version.name, CHALLENGER, str(version.version))
        return version


def champion(system: str) -> Version | None:
    """The version in use, None where there is none yet."""
    with _registry() as (client, _):
        return _aliased(client, system, CHAMPION)


def version_of(system: str, number: int) -> Version:
    """One version by its number; RegistryError where it is not there."""
    with _registry() as (client, _):
        found = client.search_model_versions(f"name='{name_of(system)}'", max_results=10_000)
        there = {int(each.version): each for each in found}
        if number not in there:
            known = ", ".join(map(str, sorted(there))) or "none yet"
            raise RegistryError(f"{name_of(system)} has no version {number}; there are: {known}")
        return _version(there[number])


def promote(system: str, version: Version) -> None:
    """Make a version the champion; the one before it becomes `previous`, and it is no challenger any more.

    Each step can be done twice, so that a promotion that was killed is finished by the next.
    """
    with _registry() as (client, _):
        _finish_swap(client, system)
        before = _aliased(client, system, CHAMPION)
        if before and before.version != version.version:
            client.set_registered_model_alias(version.name, PREVIOUS, str(before.version))
        client.set_registered_model_alias(version.name, CHAMPION, str(version.version))
        _finish_promotion(client, system, version)


def former(system: str) -> Version:
    """The version that `rollback` would make champion; RegistryError where there is none."""
    with _registry() as (client, _):
        number = (_swap_of(client, system) or _swap(client, system))[CHAMPION]
        return _version(client.get_model_version(name_of(system), str(number)))


def rollback(system: str) -> Version:
    """Swap champion and previous -> the champion now; a rollback that was killed is finished, not swapped once more."""
    with _registry() as (client, _):
        if not _finish_swap(client, system):
            client.set_registered_model_tag(name_of(system), SWAP, json.dumps(_swap(client, system)))
            _finish_swap(client, system)
        found = _aliased(client, system, CHAMPION)
        assert found is not None, "a swap sets the champion"
        return found


def note(version: Version, tags: dict[str, str]) -> None:
    """Tag a version with what was found of it."""
    with _registry() as (client, _):
        for name, value in tags.items():
            client.set_model_version_tag(version.name, str(version.version), name, value[:LONGEST])


def fetch(version: Version, folder: Path) -> Path:
    """Bring the saved system of a version into a folder -> the folder that `fashionvl.load` takes."""
    with _registry() as (client, _):
        place = client.get_model_version_download_uri(version.name, str(version.version))
        return packing.download(place, "", folder)


@contextmanager
def _registry() -> Iterator[tuple[Any, str]]:
    """The client and the experiment, for one process at a time; MLflow's troubles become one sentence."""
    with guard.turn(env.work() / "registry.lock", "registry"):
        try:
            yield tracking.connect()
        except packing.PackingError as error:
            raise RegistryError(str(error)) from None
        except tracking.away() as trouble:
            reason = env.first_line(trouble)
            raise RegistryError(f"MLflow at {env.shown_store()} cannot be used ({reason}); try again later") from None


def _with_tag(client: Any, system: str, md5: str) -> Any | None:
    """The version with this content; of several, which only a hand can have made, the first."""
    found = client.search_model_versions(f"name='{name_of(system)}' and tags.`dvc.md5`='{md5}'")
    return min(found, key=lambda each: int(each.version), default=None)


def _create(client: Any, system: str, model: Any, card: str, made: Made) -> Any:
    """A version in one transaction, tags and all."""
    name = name_of(system)
    if _registered(client, system) is None:
        client.create_registered_model(name, description=f"The system {system} of params.yaml; see its champion.")
    text, place = card.split("---\n", 2)[-1][:LONGEST], model.artifact_location
    with _everywhere(env.store()):
        return client.create_model_version(name, place, model_id=model.model_id, tags=made.tags, description=text)


@contextmanager
def _everywhere(address: str) -> Iterator[None]:
    """Have MLflow's own look-ups, which do not go through the client, find the same store."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _finish_promotion(client: Any, system: str, version: Version) -> None:
    """What is left to do once a version has the champion's alias."""
    if version.version in _aliases(client, system, CHALLENGER):
        client.delete_registered_model_alias(version.name, CHALLENGER)
    client.set_model_version_tag(version.name, str(version.version), PROMOTED, "true")


def _swap(client: Any, system: str) -> dict[str, int]:
    """What a rollback would set: alias -> version."""
    now, before = (_aliased(client, system, alias) for alias in (CHAMPION, PREVIOUS))
    if now is None or before is None or now.version == before.version:
        raise RegistryError(f"{name_of(system)} has no champion before the present one to go back to")
    return {CHAMPION: before.version, PREVIOUS: now.version}


def _swap_of(client: Any, system: str) -> dict[str, int]:
    """The rollback that is noted and was not finished, as `_swap`; empty where none is."""
    model = _registered(client, system)
    told = model.tags.get(SWAP) if model else None
    return json.loads(told) if told else {}


def _finish_swap(client: Any, system: str) -> bool:
    """Finish the rollback that is noted, if one is -> True where one was."""
    noted = _swap_of(client, system)
    for alias, number in noted.items():
        client.set_registered_model_alias(name_of(system), alias, str(number))
    if noted:
        client.delete_registered_model_tag(name_of(system), SWAP)
    return bool(noted)


def _registered(client: Any, system: str) -> Any | None:
    """The registered model of a system, None before its first version."""
    return next(iter(client.search_registered_models(f"name='{name_of(system)}'")), None)


def _aliased(client: Any, system: str, alias: str) -> Version | None:
    model = _registered(client, system)
    number = model.aliases.get(alias) if model else None
    return _version(client.get_model_version(name_of(system), str(number))) if number else None


def _aliases(client: Any, system: str, *aliases: str) -> set[int]:
    """The versions that have one of these aliases."""
    return {found.version for alias in aliases if (found := _aliased(client, system, alias))}


def _version(found: Any, *, fresh: bool = False) -> Version:
    settled = found.tags.get(VERDICT) == "keep" or PROMOTED in found.tags
    uri = f"models:/{found.name}/{found.version}"
    content = found.tags.get("dvc.md5") or found.model_id or ""
    return Version(found.name, int(found.version), uri, fresh, settled, content)


def main(arguments: Sequence[str]) -> int:
    """-> 0, 2 with a sentence where it cannot be registered."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    env.apply()
    try:
        version = register(arguments[0])
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"registry  {version.name} {version.version} {'is new' if version.fresh else 'was there already'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
