"""What is new in a feed, and how it gets into data/: fetched beside it, checked, compared, then put in its place.

    python -m flows.ingest              bring what is new
    python -m flows.ingest --dry-run    only say what is new
    python -m flows.ingest --accept     bring it although many products are gone

A feed is a data.dvc that `make data FROM=... FEED=1` made. A bad one leaves data/ and data.dvc as they were.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from flows import data, env, ledger, swap
from flows.swap import DataError


@dataclass(frozen=True)
class News:
    """What a catalogue has that the models of build/ were not trained on.

    feed     True where data.dvc follows a source
    fresh    True where training would see another catalogue than the last time: the source has something new that
             can be used, or data/ has and `dvc repro` has not been run since
    new, changed, withdrawn   products, by their ids; 0 where that is not known
    md5      of the catalogue that is spoken of
    refused  why what the source has is not brought; data/ is as it was, and may be fresh itself
    drift    what the stage `drift` found, empty where nothing was compared
    """

    feed: bool
    fresh: bool
    new: int = 0
    changed: int = 0
    withdrawn: int = 0
    md5: str = ""
    refused: str | None = None
    drift: dict[str, Any] = field(default_factory=dict)

    @property
    def drifted(self) -> bool:
        """True where the catalogue has moved further than params.yaml allows (`drift.limits`)."""
        return bool(self.drift.get("drifted"))

    @property
    def counts(self) -> str:
        return f"{self.new} new, {self.changed} changed, {self.withdrawn} withdrawn"


def probe(root: Path = env.ROOT) -> News:
    """What is new, without changing data/ or data.dvc; what was fetched stays beside it for `take`.

    Raises DataError when there is no catalogue, or DVC cannot be used.
    """
    return _in_turn(root, accept=False, bring=False)


def take(root: Path = env.ROOT, *, accept: bool = False) -> News:
    """Bring what is new into data/ and name it in data.dvc; what was there stays in DVC's cache.

    accept  True to bring a feed that lacks more products than `feed.withdrawn_limit`

    Raises DataError as `probe`. A kill leaves data/ old or new; the next call does the rest.
    """
    return _in_turn(root, accept=accept, bring=True)


def _in_turn(root: Path, *, accept: bool, bring: bool) -> News:
    data.ensure(root)
    with swap.turn(root):
        news = _look(root, accept=accept)
        if not bring or news.refused or not _is_fetched(root):
            return news
        said = swap.read(swap.incoming(root) / "data.dvc")
        said["deps"][0]["path"] = swap.facts(root)["feed"]
        ledger.write(_told(root), asdict(news))
        swap.put(root, said)
        return news


def _look(root: Path, *, accept: bool) -> News:
    said = swap.facts(root)
    if not said["feed"]:
        trained = said["md5"] == _trained_on(root) and swap.matches(root)
        return News(feed=False, fresh=not trained, md5=said["md5"])
    here = _as_it_is(root, said["md5"])
    try:
        if not _fetch(root) or swap.facts(swap.incoming(root))["md5"] == said["md5"]:  # touched, but the same
            return here
        found = _examined(root)
    except DataError as trouble:
        return replace(here, refused=str(trouble))
    refused = None if accept else _too_few(root, found)
    return replace(here, refused=refused) if refused else found


def _as_it_is(root: Path, md5: str) -> News:
    """What data/ holds already: what the source brought the last time may still wait to be trained on."""
    if md5 == _trained_on(root):
        return News(feed=True, fresh=False, md5=md5)
    if _told(root).exists():
        told = News(**json.loads(_told(root).read_text(encoding="utf-8")))
        if told.md5 == md5:
            return told
    return News(feed=True, fresh=True, md5=md5)


def _trained_on(root: Path) -> str | None:
    """The md5 of the catalogue that the stage `catalogue` last read, as dvc.lock says."""
    lock = root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text()).get("stages", {}) if lock.exists() else {}
    deps = stages.get("catalogue", {}).get("deps", [])
    return next((dep.get("md5") for dep in deps if dep["path"] == "data"), None)


def _fetch(root: Path) -> bool:
    """Have what is new in the source beside data/ -> False when nothing is.

    Raises DataError when the source cannot be read.
    """
    place, said = swap.incoming(root), swap.read(root / "data.dvc")
    source = said["deps"][0]["path"]
    if not (_is_fetched(root) and swap.matches(place) and not _source_changed(place, source)):
        place = swap.prepare(root)
        here = source if data.ADDRESS in source else os.path.normpath(root.resolve() / source)
        said["deps"][0]["path"] = here
        swap.write(place / "data.dvc", swap.sign(said))
        if not _source_changed(place, source):
            swap.drop(root)
            return False
        print(f"ingest  fetching what is new in {source}", flush=True)
        answer = env.dvc("update", "data.dvc", root=place)
        if answer.returncode != 0:
            swap.drop(root)
            raise DataError(f"{source} could not be fetched: {swap.reason(answer)}")
        (place / "fetched").touch()
    return True


def _is_fetched(root: Path) -> bool:
    """True when something was fetched to its end and has not taken the place of data/ yet."""
    return (swap.incoming(root) / "fetched").exists()


def _source_changed(place: Path, source: str) -> bool:
    """True when the source is not what data.dvc in `place` says it was; raises DataError when it cannot be read."""
    thawed = swap.read(place / "data.dvc")
    swap.write(place / "data.dvc", {**thawed, "frozen": False})  # DVC does not look at the source of a frozen import
    try:
        found = json.loads(swap.dvc(place, "status", "--json", "data.dvc"))
    except DataError as trouble:
        raise DataError(f"{source} cannot be read ({trouble})") from None
    finally:
        swap.write(place / "data.dvc", thawed)
    deps = [entry["changed deps"] for entry in found.get("data.dvc", []) if "changed deps" in entry]
    states = [state for entry in deps for state in entry.values()]
    if "deleted" in states:
        raise DataError(
            f"{source}, which data.dvc follows, is not there; bring it back, or follow another with make data"
        )
    return bool(states)


def _examined(root: Path) -> News:
    """Check what was fetched and compare it with data/; done once for each state of the source and of params.yaml.

    Raises DataError where it does not pass.
    """
    place = swap.incoming(root)
    noted, params = place / "news.json", (root / "params.yaml").read_bytes()
    mark = hashlib.sha256(params + (root / "data.dvc").read_bytes()).hexdigest()
    if noted.exists():
        kept = json.loads(noted.read_text(encoding="utf-8"))
        if kept.pop("mark") == mark:
            return News(**kept)
    new, counts, drift = str(place / "data"), place / "counts.json", place / "drift.json"
    swap.stage(root, "check", new)
    swap.stage(root, "news", "data", new, "--out", str(counts))
    swap.stage(root, "drift", "data", new, "--out", str(drift))
    numbers = json.loads(counts.read_text(encoding="utf-8"))
    news = News(
        feed=True,
        fresh=True,
        md5=swap.facts(place)["md5"],
        drift={**json.loads(drift.read_text(encoding="utf-8")), "before": numbers["before"]},
        **{kind: numbers[kind] for kind in ("new", "changed", "withdrawn")},
    )
    ledger.write(noted, {**asdict(news), "mark": mark})
    return news


def _too_few(root: Path, news: News) -> str | None:
    """Why a feed that lacks so many products is taken for broken; None where it is not."""
    before = news.drift["before"]
    limit = yaml.safe_load((root / "params.yaml").read_text())["feed"]["withdrawn_limit"]
    if news.withdrawn <= limit * before:
        return None
    return (
        f"{news.withdrawn} of {before} products are gone from the feed, which looks broken: feed.withdrawn_limit in"
        f" params.yaml allows {limit:.0%}; if it is right, `python -m flows.ingest --accept` brings it"
    )


def _told(root: Path) -> Path:
    """What was last said of a feed that was brought, until it has been trained on."""
    return root / ".work" / "data" / "news.json"


def sentence(news: News, *, brought: bool) -> str:
    """What there is to say, for people."""
    if news.refused:
        return f"refused, data/ is as it was: {news.refused}"
    if not news.feed:
        waits = "has not been trained on yet; `make run` does" if news.fresh else "is what was trained on"
        return f"data/ follows no feed (`make data FROM=... FEED=1`); what is in it {waits}"
    if not news.fresh:
        return "nothing new"
    drifted = f"; drifted: {', '.join(news.drift['exceeded'])}" if news.drifted else ""
    return f"{news.counts}{drifted}; {'in data/ and in data.dvc' if brought else 'data/ is as it was'}"


def main(arguments: Sequence[str]) -> int:
    """-> 0, 1 for a feed that was refused, 2 with a sentence for what cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m flows.ingest", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="only say what is new")
    parser.add_argument("--accept", action="store_true", help="bring a feed although many products are gone from it")
    given = parser.parse_args(arguments)
    env.apply()
    try:
        news = probe() if given.dry_run else take(accept=given.accept)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"ingest  {sentence(news, brought=not given.dry_run)}", flush=True)
    return 1 if news.refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
