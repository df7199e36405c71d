"""`python -m flows.rollback SYSTEM`: the champion before the present one is champion again; once more undoes it.

Ends with 0, or with 2 where there is none to go back to.
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
        version = registry.rollback(arguments[0])
        served = serve.refresh(arguments[0])
    except registry.RegistryError as error:
        print(error, file=sys.stderr)
        return 2
    said = ", and is served from now on" if served else ""
    print(f"rollback  {version.name} {version.version} is the champion again{said}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
