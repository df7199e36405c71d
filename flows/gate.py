"""The gate before a new champion: both are asked about the catalogue of today, and the better one stays.

What is asked and what is allowed stands in params.yaml (`gate`); the judging is the library's (pretrained/judging.py),
in a process of its own. build/gate/<system>-<version>/ keeps every answer and the verdict.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import env, guard, registry
from flows.registry import Version


class GateError(Exception):
    """Nothing could be judged; the message says why and what to do."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    promote   True where the challenger becomes champion
    reasons   why, in sentences with numbers
    markdown  the same with the table, for people
    table     one row a metric, then one a slice: metric, slice, groups, challenger, champion, gain, low, high, says
    """

    promote: bool
    reasons: list[str]
    markdown: str
    table: list[dict[str, Any]]


def judge(system: str, challenger: Version, champion: Version | None, root: Path = env.ROOT) -> Verdict:
    """Compare a version with the champion, or with chance where there is none, and tag it with what came out.

    Raises GateError where that cannot be done, RegistryError where MLflow is away.
    """
    if champion and champion.version == challenger.version:
        same = f"{challenger.name} {challenger.version} is the champion already"
        return Verdict(False, [same], f"{same}\n", [])
    out = root / "build" / "gate" / f"{system}-{challenger.version}"
    sides = [challenger, *([champion] if champion else [])]
    env.work().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gate-", dir=env.work()) as place:
        folders = [_fetched(version, Path(place)) for version in sides]
        _compare(folders, out, root)
    said = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    found = Verdict(said["promote"], said["reasons"], (out / "verdict.md").read_text(encoding="utf-8"), said["table"])
    registry.note(
        challenger,
        {
            registry.VERDICT: "promote" if found.promote else "keep",
            "gate.against": str(champion.version) if champion else "chance",
            "gate.questions": said["questions"],
            "gate.reasons": "\n".join(found.reasons),
        },
    )
    return found


def _fetched(version: Version, place: Path) -> Path:
    folder = place / str(version.version)
    folder.mkdir()
    return registry.fetch(version, folder)


def _compare(folders: list[Path], out: Path, root: Path) -> None:
    """Run the library's judging to its end; it ends with this process."""
    judging = [sys.executable, "-m", "fashionvl.pretrained.judging", *map(str, folders), "--out", str(out)]
    paths = [str(env.ROOT / "src"), str(env.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    answer = subprocess.run(
        guard.bound(judging, kill=True),
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or [f"it ended with {answer.returncode}"])[-1]
        raise GateError(f"the gate could not compare them: {last}")
