"""What DVC knows: the stages, what each needs, and what is stale. There is no second list of stages."""

import hashlib
import json
from pathlib import Path
from typing import Any

from flows import env

Plan = list[tuple[str, list[str]]]


class Unclear(Exception):
    """DVC cannot say what there is to do; the message says why."""


def plan(root: Path = env.ROOT) -> Plan:
    """-> (stage, the stages it needs) in an order in which they can run; data.dvc is one of them.

    Stages of other files than dvc.yaml are left out: those are asked for by name (`make ablations`, `make trials`).
    `Repo.index.graph` is no documented interface of DVC; the version is pinned and a test looks at the plan.
    """
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # edges go from a stage to what it needs
        order = reversed(list(networkx.topological_sort(graph)))
        found = [(stage.addressing, [need.addressing for need in graph.successors(stage)]) for stage in order]
        return [(stage, needs) for stage, needs in found if not env.is_apart(stage)]


def stale(root: Path = env.ROOT) -> dict[str, Any]:
    """What DVC finds changed or missing in dvc.yaml, by stage; empty when there is nothing to do.

    A stage whose inputs will only change when another one has run is not among them. Raises Unclear.
    """
    answer = env.dvc("status", "--json", root=root)
    if answer.returncode != 0:
        said = answer.stderr.strip().splitlines()
        raise Unclear(f"DVC cannot say what there is to do: {said[-1] if said else 'it said nothing'}")
    return {stage: why for stage, why in json.loads(answer.stdout).items() if not env.is_apart(stage)}


def mark(root: Path = env.ROOT) -> str:
    """The md5 of dvc.lock: of all that was made and of all that it was made from; empty before the first stage."""
    lock = root / "dvc.lock"
    return hashlib.md5(lock.read_bytes(), usedforsecurity=False).hexdigest() if lock.exists() else ""
