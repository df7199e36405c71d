"""`python -m flows.rollback SYSTEM`: the champion before the present one is champion again; once more undoes it.

Ends with 0; with 2 where nothing was done, for there is none to go back to, or it cannot be had; with 3 where it is
champion and the service could not be told.
"""

import sys
from collections.abc import Sequence

from flows import env, registry, serve


def main(arguments: Sequence[str]) -> int:
    """-> exit code; what a user can put right is one sentence and 2."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    env.apply()
    try:
        serve.bring(arguments[0], registry.former(arguments[0]))
        version = registry.rollback(arguments[0])
    except registry.RegistryError as error:
        print(error, file=sys.stderr)
        return 2
    served = serve.handed_over(arguments[0])
    said = ", and is served from now on" if served else ""
    print(f"rollback  {version.name} {version.version} is the champion again{said}")
    return 3 if served is None else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
