"""`python -m flows.promote SYSTEM [VERSION] [--force]`: make a version the champion, if it is better.

Without a version, what is in build/ is registered (unless it is already) and judged. --force does not ask the gate.
Ends with 0 where the version is the champion now, 1 where the gate keeps the present one, 2 where nothing was done, 3
where it is champion and the service could not be told (the same command tells it).
"""

import argparse
import sys
from collections.abc import Sequence

from flows import env, gate, registry, serve


def promote(system: str, number: int | None, *, force: bool) -> int:
    """-> exit code; prints what was done and why."""
    version = registry.register(system) if number is None else registry.version_of(system, number)
    now = registry.champion(system)
    label = f"{version.name} {version.version}"
    if now and now.version == version.version:
        registry.promote(system, version)  # a promotion that was killed is finished
        print(f"promote  {label} is the champion already")
        return 3 if serve.handed_over(system) is None else 0
    if not force:
        found = gate.judge(system, version, now)
        print(found.markdown, flush=True)
        if not found.promote:
            stays = f"{now.name} {now.version} stays the champion" if now else "there is still no champion"
            print(f"promote  {label} is not promoted; {stays} (--force promotes it all the same)")
            return 1
    serve.bring(system, version)
    registry.promote(system, version)
    served = serve.handed_over(system)
    said = ", and is served from now on" if served else ""
    before = f", version {now.version} can be had back with `python -m flows.rollback {system}`" if now else ""
    print(f"promote  {label} is the champion now{said}{before}")
    return 3 if served is None else 0


def main(arguments: Sequence[str]) -> int:
    """-> exit code; what a user can put right is one sentence and 2."""
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description=__doc__)
    parser.add_argument("system", help="a row under `systems` in params.yaml")
    parser.add_argument("version", type=int, nargs="?", help="a version of the registry; of build/, if none is given")
    parser.add_argument("--force", action="store_true", help="do not ask the gate")
    asked = parser.parse_args(arguments)
    env.apply()
    try:
        return promote(asked.system, asked.version, force=asked.force)
    except (registry.RegistryError, gate.GateError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
