"""What MLflow is to be told of each run of a stage, and of the pipeline it belongs to; kept on disk until it is told.

One folder a run, `.work/mirror/<stage>[-<item>]-<mark>/`, where the mark is the name of the unfinished training's
folder, so that a training that was killed and goes on is the same run. It holds `entry.json`, and once the stage has
ended well a copy of what its output folder says. `pipeline-<mark>/` is the same of a run of the pipeline
(flows/parent.py).
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from flows import env, facts, guard, parent
from flows.facts import params_of
from flows.parent import read, write

ENTRY_TAG = "ledger.id"  # of the run of an entry in MLflow
OUTPUTS = {
    "catalogue": "build/catalogue",
    "words": "build/words",
    "encoder": "build/encoder",
    "captioner": "build/captioner",
    "detector": "build/detector",
    "patches": "build/patches/{item}",
    "align": "build/alignment/{item}",
    "pretrain": "build/runs/{item}",
    "contrast": "build/runs/{item}",
    "clip": "build/runs/{item}",
    "evaluate": "build/evaluation/{item}",
    "finetune": "build/finetuned/{item}",
    "probe": "build/probes/{item}",
    "examine": "build/evaluation/{item}",
    "yardsticks": "build/metrics/yardsticks.json",
    "report": "build/report",
    "compare": "build/metrics/compare.json",
    "clock": "build/clock/{item}",
    "budget": "build/{study}s/{name}",
    "ablation": "build/{study}s/{name}",
    "ablation_tasks": "build/{study}_tasks/{name}",
    "ablations": "build/metrics/ablations.md",
    "comparison": "build/metrics/comparisons.md",
    "pace": "build/trials/pace",
    "trial": "build/trials/{item}",
    "trials": "build/metrics/trials.md",
}
ALIVE = "alive"
WEIGHTS = "model.safetensors"
PAGES = ("report.html", "index.html")  # that show the user's pictures
KEPT = (
    *PAGES,
    "card.json",
    "curves.csv",
    "compare.json",
    "yardsticks.json",
    "ablations.md",
    "comparisons.md",
    "trials.md",
    "history.jsonl",
    "confusion.png",
)


def folder() -> Path:
    """Where the entries lie."""
    return env.work() / "mirror"


def output_of(stage: str, item: str | None) -> Path | None:
    """What a stage leaves; the runs of studies other than the ablations say which: comparison.oscar-1."""
    study, _, name = (item or "").rpartition(".")
    where = OUTPUTS.get(stage)
    return Path(where.format(item=item, study=study or "ablation", name=name)) if where else None


def waiting() -> list[Path]:
    """The entries that MLflow has not been told of in full, those of pipelines first."""
    found = [path.parent for path in folder().glob("*/entry.json")]
    return sorted(found, key=lambda place: (not parent.is_one(place), place.name))


def is_alive(place: Path) -> bool:
    """True while the stage of an entry runs, or the process that runs the pipeline."""
    if parent.is_one(place):
        return parent.is_alive(read(place))
    with (place / ALIVE).open("wb") as file:
        return not guard.taken(file.fileno())


def forget(place: Path, told: dict[str, Any]) -> None:
    """Drop an entry that was told in full; keep that of a training which can still go on.

    told  what the entry said then: it says something else when the training goes on already
    """
    with suppress(FileNotFoundError):
        if read(place) != told:
            return
        if told.get("code") == 0 or not told.get("history") or not Path(told["history"]).exists():
            shutil.rmtree(place)
        else:
            write(place / "entry.json", {**told, "closed": True})


def _stay_alive(place: Path) -> IO[bytes]:
    """A file that says until this process ends that the stage of an entry runs."""
    while True:
        with suppress(FileNotFoundError):  # the mirror drops what was there before
            place.mkdir(parents=True, exist_ok=True)
            file = (place / ALIVE).open("wb")
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(file.fileno()), (place / ALIVE).stat()):
                return file


class Entry:
    """The entry of one run of a stage, while it runs."""

    def __init__(
        self, stage: str, item: str | None, *, group: int | None = None, settings: dict[str, str] | None = None
    ):
        """
        group     the process group of the stage, whose use of the machine is recorded
        settings  what MLflow may be told (facts.settings)
        """
        self.stage, self.item, self.group, self.settings = stage, item, group, settings or {}
        self.started = time.time()
        self.place: Path | None = None
        self.alive: IO[bytes] | None = None
        self.facts: dict[str, Any] = {}
        self.parent: Path | None = None

    def open(self, run_folder: Path | None) -> Path:
        """Write the entry, or go on with that of a training which was killed -> its folder.

        run_folder  the folder of the unfinished training, whose history.jsonl is followed; None for other stages
        """
        name = f"{self.stage}-{self.item}" if self.item else self.stage
        mark = run_folder.name if run_folder else f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.place = folder() / f"{name}-{mark}"
        self.alive = _stay_alive(self.place)
        before = self.place / "entry.json"
        known = read(self.place) if before.exists() else {}
        label = f"{self.stage}@{self.item}" if self.item else self.stage
        run = parent.opened(folder())
        self.parent = run
        where = parent.tags(run) if run else facts.checkout()
        self.facts = {
            "id": known.get("id", uuid.uuid4().hex),
            "stage": self.stage,
            "item": self.item,
            "name": os.environ.get("DVC_STAGE", label).rpartition(":")[2],  # less the file, where it is no root's
            "started": known.get("started", self.started),
            "history": str(run_folder / "history.jsonl") if run_folder else None,
            "params": params_of(self.stage, self.item),
            "tags": {**where, **({"dvc.stage": os.environ["DVC_STAGE"]} if "DVC_STAGE" in os.environ else {})},
            "pipeline": parent.identity(run) if run else None,
            "store": env.store_mark(),
            "group": self.group,
            "pictures": self.settings.get("pictures"),
            "code": None,
        }
        write(before, self.facts)
        self._join({"code": None})
        return self.place

    def close(self, code: int) -> Path:
        """Note how the stage ended and keep what it said -> the entry's folder."""
        place = self.place or self.open(None)
        place.mkdir(parents=True, exist_ok=True)
        if code == 0:
            output = output_of(self.stage, self.item) or place
            for file in [output] if output.is_file() else [output / name for name in KEPT]:
                if file.exists() and output != place:
                    shutil.copy2(file, place / file.name)
            if self.settings.get("checkpoints") == "last" and (output / WEIGHTS).exists():
                _link(output / WEIGHTS, place / "checkpoints" / WEIGHTS)
        ended = time.time()
        write(place / "entry.json", {**self.facts, "code": code, "ended": ended})
        card = place / "card.json"
        metrics = json.loads(card.read_text(encoding="utf-8")).get("metrics", {}) if card.exists() else {}
        self._join({"code": code, "ended": ended, "metrics": metrics})
        return place

    def _join(self, how: dict[str, Any]) -> None:
        if self.parent:
            parent.join(self.parent, self.facts["name"], {"id": self.facts["id"], **how})


def _link(file: Path, to: Path) -> None:
    """Keep a file as it is now, whatever comes to stand at its path: a second name, else a copy."""
    to.parent.mkdir(exist_ok=True)
    to.unlink(missing_ok=True)
    try:
        to.hardlink_to(file)
    except OSError:  # another disk, or one without links
        shutil.copy2(file, to)
