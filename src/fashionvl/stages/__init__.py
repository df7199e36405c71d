"""Stages: files in, files out; the only modules that open a path."""

import sys
from collections.abc import Callable

from fashionvl.catalogue.problems import Problem
from fashionvl.config import ConfigError


def run(main: Callable[[], None]) -> None:
    """Run a stage as a program: what a user can put right ends as one sentence and exit code 2."""
    try:
        main()
    except (Problem, ConfigError) as problem:
        print(f"{problem}", file=sys.stderr)
        sys.exit(2)
