"""Stages: files in, files out; the only modules that open a path."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fashionvl.catalogue.problems import Problem
from fashionvl.config import ConfigError


def run(main: Callable[[], None]) -> None:
    """Run a stage as a program: what a user can put right ends as one sentence and exit code 2."""
    try:
        main()
    except (Problem, ConfigError) as problem:
        print(f"{problem}", file=sys.stderr)
        sys.exit(2)


def options(description: str | None, *, works: bool = False, trains: bool = False) -> argparse.ArgumentParser:
    """A parser with the paths that every stage takes; a stage with an item adds its name.

    works   True for a stage that keeps unfinished work
    trains  True for one that works, and can be told to stop after a step
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the table of parameters")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the catalogue")
    parser.add_argument("--build", type=Path, default=Path("build"), help="the folder of everything made")
    if works or trains:
        parser.add_argument("--work", type=Path, default=Path(".work"), help="the folder of unfinished work")
    if trains:
        parser.add_argument("--stop-after", type=int, default=None, help="leave after this many steps, to go on later")
    return parser
