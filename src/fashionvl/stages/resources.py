"""How much time, memory and disk the whole run takes, from a small table of costs, and whether this machine has it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fashionvl.catalogue.inspection import Inspected, inspect_one
from fashionvl.catalogue.intake import Texts
from fashionvl.catalogue.problems import Problem
from fashionvl.config import Params, SingleStream, Training
from fashionvl.patches.pyramid import Pyramid

# Core-seconds, measured on an Intel Xeon with AMX (2 cores, bf16); without it training is about ten times slower.
MACHINE = "an Intel Xeon with AMX"
READ_ROW = 0.00007  # its texts, on one core whatever there is
DECODE_PICTURE, DECODE_MEGAPIXEL = 0.0005, 0.012  # open, repair and hash
ENCODE_PATCH = 0.0003  # the scratch encoder, 64 pixels, per million weights
ENCODER_PRODUCT_EPOCH = 0.005
CONTRAST_PRODUCT_EPOCH = 0.004
CAPTIONER_PRODUCT_EPOCH = 0.012
ALIGN_PICTURE = 0.07
PROPOSE_PICTURE = 0.02  # its segments
TRAINING_FLOPS = 300e9  # a core, sustained
RESNET50 = 25.6e6  # weights
WORDS = 40  # slots of a text that are filled, on average

GIB = 2**30
BASE_MEMORY = 1.5 * GIB  # a stage with torch, before any data
BYTES_A_ROW = 1_500  # of memory: the texts of a row in pandas
DISK_COPIES = 2  # build/ and DVC's cache
MODEL_COPIES = 7  # weights, optimiser twice, unfinished and finished, cache, registry
SAMPLE = 32  # pictures opened to learn their size
SPARE = 1.1  # a disk is not filled to the brim


@dataclass(frozen=True)
class Estimate:
    """What the whole run takes: seconds by stage on `cores` cores, bytes of memory at most, bytes of new files."""

    seconds: dict[str, float]
    memory: float
    disk: float
    cores: int

    def sentence(self) -> str:
        parts = ", ".join(f"{stage} {_duration(seconds)}" for stage, seconds in self.seconds.items())
        return (
            f"The whole run takes about {_duration(sum(self.seconds.values()))} on {self.cores} cores like those of "
            f"{MACHINE} ({parts}), {self.memory / GIB:.1f} GiB of memory and {self.disk / GIB:.2f} GiB of disk."
        )


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def estimate(texts: Texts, root: Path, settings: Params) -> Estimate:
    """What the run of `settings` takes on a catalogue whose texts are read; opens a few pictures for their size."""
    rows = texts.rows
    pictures, products = len(rows), rows["product_id"].nunique()
    training = products * settings.catalogue.split.get("train", 1.0)
    paths = list(rows["image_path"].iloc[:: max(1, pictures // SAMPLE)])[:SAMPLE]
    looked = [inspect_one(root, path, max_megapixels=settings.catalogue.max_megapixels) for path in paths]
    sizes = [one.width * one.height / 1e6 for one in looked if isinstance(one, Inspected)] or [1.0]
    megapixels = sum(sizes) / len(sizes)
    core_seconds = {
        "catalogue": texts.count * READ_ROW * cores() + pictures * (DECODE_PICTURE + DECODE_MEGAPIXEL * megapixels),
        "encoder": _shown(settings.encoder.training, training) * ENCODER_PRODUCT_EPOCH,
        "captioner": _shown(settings.captioner.training, training) * CAPTIONER_PRODUCT_EPOCH,
    }
    core_seconds |= dict(_patch_seconds(settings, pictures, megapixels))
    core_seconds |= dict(_model_seconds(settings, products, pictures, training))
    disk = 4 * GIB / 10 + pictures * 300 * DISK_COPIES
    for name in {settings.systems[system].patches for system in settings.run}:
        width = settings.encoder.channels[-1] if settings.patches[name].encoder == "scratch" else 2048
        disk += pictures * _vectors(settings, name) * width * 2 * DISK_COPIES
    weights = [_weights(settings.systems[system].model, settings.words.vocabulary) for system in settings.run]
    disk += sum(weights) * 4 * MODEL_COPIES
    memory = BASE_MEMORY + texts.count * BYTES_A_ROW + cores() * max(sizes) * 1e6 * 16 + max(weights, default=0) * 16
    return Estimate({stage: value / cores() for stage, value in core_seconds.items()}, memory, disk, cores())


def _patch_seconds(settings: Params, pictures: int, megapixels: float) -> Iterator[tuple[str, float]]:
    for name in sorted({settings.systems[system].patches for system in settings.run}):
        scratch = settings.patches[name].encoder == "scratch"
        channels = [3, *settings.encoder.channels]
        weights = sum(9 * a * b for a, b in pairwise(channels)) if scratch else RESNET50
        encode = _vectors(settings, name) * ENCODE_PATCH * weights / 1e6 * (settings.patches[name].pixels / 64) ** 2
        regions = settings.patches[name].regions
        cut = encode + (PROPOSE_PICTURE if regions else 0)
        yield f"patches {name}", pictures * (DECODE_PICTURE + DECODE_MEGAPIXEL * megapixels + cut)
        if regions is None:
            yield f"align {name}", pictures * ALIGN_PICTURE


def _model_seconds(settings: Params, products: int, pictures: int, training: float) -> Iterator[tuple[str, float]]:
    asked = settings.evaluate
    test = settings.catalogue.split.get(asked.ranking_on, 0.0)
    for name in settings.run:
        system = settings.systems[name]
        patches = settings.patches[system.patches]
        tokens = WORDS + (patches.regions.most if patches.regions else Pyramid(tuple(patches.grids)).patches)
        forward = 2 * tokens * 12 * system.model.layers * system.model.width**2  # of one pair
        yield f"pretrain {name}", 3 * forward * _shown(system.training, training) / TRAINING_FLOPS
        ranked = 2 * min(asked.queries, test * pictures) * min(asked.candidates + 1, test * products) * asked.draws
        gallery = test * products * test * pictures
        scored = gallery if gallery <= asked.full_gallery_pairs else ranked  # lists are looked up in a scored gallery
        yield f"evaluate {name}", forward * scored / TRAINING_FLOPS
        pairs = {"retrieval": settings.finetune.retrieval.block, "captioning": 2}  # of a product; 1 of other tasks
        taught = {task: _shown(getattr(settings.finetune, task).training, training) for task in settings.run_tasks}
        shown = sum(products * pairs.get(task, 1) for task, products in taught.items())
        yield f"finetune {name}", 3 * forward * shown / TRAINING_FLOPS
        if "retrieval" in settings.run_tasks:
            yield f"examine {name}", forward * scored / TRAINING_FLOPS
    for name in settings.run_contrast:
        yield f"contrast {name}", _shown(settings.contrast[name].training, training) * CONTRAST_PRODUCT_EPOCH


def _vectors(settings: Params, kind: str) -> int:
    """How many vectors of a picture are kept."""
    row = settings.patches[kind]
    return row.regions.most if row.regions else Pyramid(tuple(row.grids)).vectors


def _shown(recipe: Training, training: float) -> float:
    """How many products a training looks at in all."""
    return recipe.steps(round(training)) * recipe.batch


def _weights(model: SingleStream, vocabulary: int) -> float:
    return 12 * model.layers * model.width**2 + 2 * vocabulary * model.width


def shortage(found: Estimate, build: Path) -> str:
    """A sentence that says what this machine has too little of, or nothing."""
    place = next(folder for folder in (build.resolve(), *build.resolve().parents) if folder.exists())
    free, memory = shutil.disk_usage(place).free, available_memory()
    if found.disk * SPARE > free:
        return f"{found.disk / GIB:.2f} GiB of disk are needed, {place} has {free / GIB:.2f} GiB free"
    if memory is not None and found.memory > memory:
        return f"{found.memory / GIB:.1f} GiB of memory are needed, {memory / GIB:.1f} GiB are available"
    return ""


def available_memory() -> float | None:
    """Bytes of memory that can still be had, within the limit of the container; None where nothing says it."""
    found: list[float] = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=None)


def refuse_if_too_large(texts: Texts, root: Path, settings: Params, build: Path) -> None:
    """Raises Problem if the run of `settings` needs more disk or memory than there is."""
    found = estimate(texts, root, settings)
    missing = shortage(found, build)
    if missing:
        raise Problem(f"this machine cannot hold the whole run: {missing}. {found.sentence()}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
