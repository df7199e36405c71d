"""`make clean-old`: what is older than params.yaml keeps (`retention`) goes; it says what, and how many bytes.

    python -m flows.retention [--dry-run]

Unfinished trainings, logs and what MLflow was never told (here); DVC's cache (retention_cache.py); MLflow's runs and
models (retention_runs.py); Prefect's history (retention_history.py). What champion, previous and challenger are made of
stays, whatever its age. A kill at any moment leaves nothing half deleted that could be taken for whole; a second call
does the rest.
"""

import argparse
import dataclasses
import json
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from flows import env, guard, ledger

DAY = 86400.0  # seconds
FINGERPRINT = re.compile(r"[0-9a-f]{16}")
LOGS = ("*.log", "ui/*.log", "prefect/*.log")


class PolicyError(Exception):
    """What is to be kept is not said well; the message says where."""


@dataclass(frozen=True)
class Policy:
    """What stays; params.yaml says what each means, under `retention`."""

    work_days: float
    log_days: float
    feed_states: int
    retrainings: int
    runs_days: float
    versions: int
    history_days: float


def policy_of(root: Path) -> Policy:
    """What params.yaml keeps; raises PolicyError."""
    said = yaml.safe_load((root / "params.yaml").read_text()).get("retention") or {}
    names = {field.name for field in dataclasses.fields(Policy)}
    if set(said) != names or not all(isinstance(value, (int, float)) and value >= 0 for value in said.values()):
        raise PolicyError(f"params.yaml: retention must give a number, 0 or more, for each of {sorted(names)}")
    return Policy(**said)


def clean(root: Path = env.ROOT, policy: Policy | None = None, dry_run: bool = False) -> list[str]:
    """Delete what is older than the policy -> a line for everything that went, and one for what was left alone and why.

    policy   None for that of params.yaml
    dry_run  True to delete nothing and say what would go

    Raises PolicyError.
    """
    from flows import retention_cache, retention_history, retention_runs

    policy = policy or policy_of(root)
    with guard.turn(root / ".work" / "clean.lock", "clean-old"):
        lines = _work(root, policy, dry_run)
        runs = retention_runs.clean(root, policy, dry_run)
        lines += runs.lines
        lines += retention_cache.clean(root, policy, dry_run, needed=runs.needed)
        return lines + retention_history.clean(root, policy, dry_run)


def _work(root: Path, policy: Policy, dry_run: bool) -> list[str]:
    """Unfinished trainings, logs, summaries, leftovers, and entries of the ledger that MLflow was never told of."""
    work = root / ".work"
    trash = work / "trash"  # what a kill left of an earlier call
    leftovers = [*work.glob("gate-*"), *work.glob("packing-*")]  # whole systems, of what was killed
    told = [path for path in (work / "flow").glob("*") if path.is_dir()]
    old = {
        "unfinished training": _trainings(root, policy.work_days * DAY),
        "log": _older((path for name in LOGS for path in work.glob(name)), policy.log_days * DAY),
        "untold run": _untold(work, policy.log_days * DAY),
        "leftover": _older(leftovers, min(1.0, policy.work_days) * DAY),
        "summary": _older(told, policy.log_days * DAY),
    }
    lines = []
    for what, paths in old.items():
        for path in paths:
            lines.append(f"{what}  {path.relative_to(root)}  {megabytes(size(path))}")
            if not dry_run:
                trash.mkdir(parents=True, exist_ok=True)
                path.rename(trash / f"{time.time_ns()}")  # whole or gone, for whoever looks for it
    if not dry_run:
        shutil.rmtree(trash, ignore_errors=True)
    return lines


def _trainings(root: Path, seconds: float) -> list[Path]:
    """Unfinished trainings that nothing has touched for so long.

    The newest of each stage stays while DVC has anything to do: the next `make run` may go on with it.
    """
    found: dict[Path, list[Path]] = {}
    for folder in (root / ".work").glob("*/*"):
        if folder.is_dir() and FINGERPRINT.fullmatch(folder.name) and folder.parent.name != "mirror":
            found.setdefault(folder.parent, []).append(folder)
    if not found:
        return []
    running = {Path(said["history"]).parent for said in _entries(root / ".work") if said["alive"] and said["history"]}
    spared = set() if _is_up_to_date(root) else {max(folders, key=touched) for folders in found.values()}
    all_of_them = [folder for folders in found.values() for folder in folders]
    return [path for path in _older(all_of_them, seconds) if path not in spared and path.resolve() not in running]


def _is_up_to_date(root: Path) -> bool:
    """True when DVC has nothing to do; False too when it cannot say."""
    answer = env.dvc("status", "--json", root=root)
    return answer.returncode == 0 and json.loads(answer.stdout) == {}


def _untold(work: Path, seconds: float) -> list[Path]:
    """Entries of the ledger of trainings that cannot go on any more."""
    entries = [said for said in _entries(work) if not said["alive"]]
    done = [said["place"] for said in entries if not (said["history"] and Path(said["history"]).exists())]
    return _older(done, seconds)


def _entries(work: Path) -> list[dict]:
    found = []
    for file in sorted((work / "mirror").glob("*/entry.json")):
        said = json.loads(file.read_text(encoding="utf-8"))
        found.append({**said, "place": file.parent, "alive": ledger.is_alive(file.parent)})
    return found


def _older(paths: Iterable[Path], seconds: float) -> list[Path]:
    return sorted(path for path in paths if time.time() - touched(path) > seconds)


def touched(path: Path) -> float:
    """When a file, or the newest in a folder, was last written; seconds since 1970."""
    inside = [file.stat().st_mtime for file in path.rglob("*") if file.is_file() and file.name != ledger.ALIVE]
    return max(inside, default=path.stat().st_mtime)


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return path.stat().st_size if path.exists() else 0


def megabytes(count: float) -> str:
    """Bytes for people, exact below a thousand."""
    return f"{count:.0f} bytes" if count < 1000 else f"{count / 1e6:.1f} MB ({count:.0f} bytes)"


def main(arguments: Sequence[str]) -> int:
    """-> 0; what cannot be done is one sentence and 2."""
    parser = argparse.ArgumentParser(prog="make clean-old", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="delete nothing, say what would go")
    given = parser.parse_args(arguments)
    env.apply()
    try:
        lines = clean(dry_run=given.dry_run)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 2
    verb = "would go" if given.dry_run else "gone"
    print("\n".join(f"clean-old  {line}" for line in lines) or f"clean-old  nothing is old: nothing {verb}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
