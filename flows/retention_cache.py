"""What DVC's cache keeps: all that the workspace, branches, tags and kept experiments name, and what data/ once was.

`dvc gc` does not know `.work/data/*.dvc`, so what is in use is asked of DVC and the rest deleted here, as it would.
"""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import env, swap
from flows.retention import megabytes, size

if TYPE_CHECKING:
    from flows.retention import Policy

RETRAINING = "retrain-"  # how the experiments of retrainings are called; all others are the user's
EVERYTHING = "*"  # is needed, where MLflow cannot say what is


def clean(root: Path, policy: "Policy", dry_run: bool, *, needed: set[str]) -> list[str]:
    """Forget old retrainings and old states of the feed, and delete what nothing names any more -> lines.

    needed  names or commits of experiments that stay whatever their age
    """
    with swap.turn(root):
        lines = _unfetch(root, dry_run)
        states = _old_states(root, policy.feed_states)
        keep, drop = _experiments(root, policy.retrainings, needed)
        lines += [f"feed  an earlier state, {path.stem}" for path in states]
        lines += [f"experiment  {name}" for name in drop]
        if not dry_run:
            for path in states:
                path.unlink()
            if drop and (answer := env.dvc("exp", "remove", *drop, root=root)).returncode != 0:
                return [*lines, f"DVC's cache is left alone: {swap.reason(answer)}"]
        return lines + _collect(root, keep, set(states), dry_run)


def _unfetch(root: Path, dry_run: bool) -> list[str]:
    """What was fetched from a feed and did not get into data/: it would be fetched again anyway."""
    if not dry_run:
        swap.finish(root)
    place = swap.incoming(root)
    if not place.exists():
        return []
    line = f"feed  fetched, but not brought  {megabytes(size(place))}"
    if not dry_run:
        swap.drop(root)
    return [line]


def _old_states(root: Path, keep: int) -> list[Path]:
    """The data.dvc of states of a followed feed but for the newest; what was the user's own is never old."""
    found = [path for path in (root / ".work" / "data").glob("*.dvc") if "deps" in swap.read(path)]
    return sorted(sorted(found, key=lambda path: -path.stat().st_mtime)[keep:])


def _experiments(root: Path, keep: int, needed: set[str]) -> tuple[list[str], list[str]]:
    """-> the commits of the experiments that stay, the names of those that go."""
    command = ["git", "for-each-ref", "--sort=-committerdate", "--format=%(refname) %(objectname)", "refs/exps"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    stay, go, seen = [], [], 0
    for ref, commit in (line.split() for line in answer.stdout.splitlines()):
        name = ref.rpartition("/")[2]
        seen += name.startswith(RETRAINING)
        if not name.startswith(RETRAINING) or seen <= keep or {name, commit, EVERYTHING} & needed:
            stay.append(commit)
        else:
            go.append(name)
    return stay, go


def _collect(root: Path, revs: list[str], gone: set[Path], dry_run: bool) -> list[str]:
    """Delete the objects of the cache that nothing names -> a line with how many bytes."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(root)) as repo, repo.lock:
            cache = repo.cache.local
            if not Path(cache.path).resolve().is_relative_to((root / ".dvc").resolve()):
                return [f"DVC's cache in {cache.path} is left alone: other checkouts may use it (`dvc gc --projects`)"]
            used = _used(repo, revs) | _of_states(repo, root, gone)
            unused = [oid for oid in cache.all() if oid not in used]
            paths = [Path(cache.oid_to_path(oid)) for oid in sorted(unused, key=lambda oid: not oid.endswith(".dir"))]
            freed = sum(map(size, paths))
            for path in paths if not dry_run else []:  # folders first: one without its files would look whole
                path.unlink(missing_ok=True)
    except (DvcException, SCMError) as trouble:
        return [f"DVC's cache is left alone: {str(trouble).splitlines()[0]}"]
    return [f"DVC's cache  {len(paths)} files that nothing names  {megabytes(freed)}"] if paths else []


def _used(repo: Any, revs: list[str]) -> set[str]:
    """What the workspace, HEAD, branches, tags and these commits name."""
    in_git = hasattr(repo.scm, "list_branches") and repo.scm.list_branches()
    asked = {"revs": ["HEAD", *revs], "all_branches": True, "all_tags": True} if in_git else {}
    return {str(one.value) for ids in repo.used_objs(**asked).values() for one in ids}


def _of_states(repo: Any, root: Path, gone: set[Path]) -> set[str]:
    """What earlier states of data/ are made of."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    found: set[str] = set()
    for path in set((root / ".work" / "data").glob("*.dvc")) - gone:
        md5 = swap.read(path)["outs"][0]["md5"]
        found.add(md5)
        if md5.endswith(".dir") and repo.cache.local.exists(md5):
            tree = Tree.load(repo.cache.local, HashInfo("md5", md5))
            found |= {str(one.value) for _, _, one in tree}
    return found
