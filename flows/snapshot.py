"""What a run made, kept as an experiment of DVC: code, parameters, data.dvc and dvc.lock, one commit beside the branch.

In a `git worktree add` of that commit, with the cache of this checkout (`dvc cache dir --local`), `dvc checkout` brings
build/ back and `dvc repro` has nothing to do.
"""

import subprocess
from pathlib import Path

from flows import env, graph

NAME = "retrain-"
MARK_LETTERS = 12


class NotKept(Exception):
    """DVC could not keep the experiment; the message says why."""


def name_of(root: Path = env.ROOT) -> str:
    """The name of the experiment of this dvc.lock: the same work has the same name, whoever did it."""
    return f"{NAME}{graph.mark(root)[:MARK_LETTERS]}"


def commit_of(name: str, root: Path = env.ROOT) -> str | None:
    """The commit of an experiment, None when there is none of that name."""
    asked = ["git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}"]
    answer = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=False)
    found = answer.stdout.split()
    return found[0] if found else None


def keep(root: Path = env.ROOT) -> tuple[str, str]:
    """Keep what is in the checkout -> the name of the experiment and its commit; raises NotKept.

    One that is there is left alone: `--force` would make another commit and leave the old one, which tags may name,
    for git to forget.
    """
    name = name_of(root)
    commit = commit_of(name, root)
    if commit is None:
        untracked = [word for file in ("dvc.lock", "data.dvc") for word in ("--include-untracked", file)]
        # All is in the cache already; without a target DVC would look for what other files' stages have not made.
        here = ["data.dvc"] if (root / "data.dvc").exists() else []
        answer = env.dvc("exp", "save", "--name", name, *untracked, *here, root=root)
        commit = commit_of(name, root)
        if answer.returncode != 0 or commit is None:
            said = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")] or ["DVC said nothing"]
            raise NotKept(f"the run could not be kept as {name}: {said[0].removeprefix('ERROR: ')}")
    return name, commit
