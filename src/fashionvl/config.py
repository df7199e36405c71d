"""The one reader of params.yaml. An unknown or missing key is an error that names it."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FINEST_GRID = 16  # its 256 patches are four times as many tokens as the longest text


class ConfigError(ValueError):
    """A parameter is missing, unknown or of the wrong kind; the message names it."""


@dataclass(frozen=True)
class Catalogue:
    columns: dict[str, str]
    split: dict[str, float]
    set_aside_limit: float
    max_megapixels: float
    near_duplicate_bits: int


@dataclass(frozen=True)
class Text:
    fields: list[str]


@dataclass(frozen=True)
class Words:
    source: str
    vocabulary: int
    slots: int


@dataclass(frozen=True)
class Patches:
    encoder: str
    pixels: int
    grids: list[int]  # sides, the coarsest first
    foreground: str
    saliency: str | None
    margin: float
    shard: int


@dataclass(frozen=True)
class Training:
    """How long and how fast; one epoch shows every training product once."""

    epochs: float
    batch: int
    lr: float
    warmup: float  # share of the steps
    weight_decay: float  # not on biases and layer norms
    clip: float  # global norm of the gradient
    accumulate: int  # micro-batches a step
    checkpointing: bool  # recompute activations backward, to save memory
    least_steps: int = 1  # for a catalogue so small that its epochs are few steps

    def steps(self, items: int) -> int:
        """How many optimiser steps these epochs are for so many training items; `least_steps` at least."""
        return max(self.least_steps, math.ceil(self.epochs * items / self.batch))


@dataclass(frozen=True)
class SingleStream:
    """Sizes of the single-stream encoder.

    start    a BERT checkpoint folder or hub name; `contrast`, which lets words and patches get acquainted first
             (tasks/acquaint.py); or null
    meeting  True where [CLS] is told what words and patches have in common (not in the paper)
    """

    width: int
    layers: int
    heads: int
    inner: int
    dropout: float
    start: str | None = None
    meeting: bool = False


@dataclass(frozen=True)
class System:
    """One row of the table of papers: a single-stream system."""

    patches: str
    model: SingleStream
    objectives: dict[str, float]
    matched_only: list[str]
    negatives: dict[str, float]
    training: Training


@dataclass(frozen=True)
class Lock:
    """What of a picture is looked at while learning from pixels."""

    foreground: str  # none | border
    margin: float


@dataclass(frozen=True)
class Augment:
    """How a picture and its text are changed at random each time."""

    crop: float  # how far a window moves and stretches, as a share of itself
    flip: bool
    word_dropout: float


@dataclass(frozen=True)
class Encoder:
    """The scratch patch encoder, and how it is learned."""

    channels: list[int]
    pixels: int
    width: int  # of the space where pictures and texts meet
    lock: Lock
    augment: Augment
    training: Training


@dataclass(frozen=True)
class Contrast:
    """A dual encoder trained by InfoNCE on whole pictures."""

    channels: list[int]
    pixels: list[int]  # height, width
    width: int
    lock: Lock
    augment: Augment
    training: Training


@dataclass(frozen=True)
class Evaluate:
    losses_on: str
    ranking_on: str
    candidates: int
    queries: int
    draws: int
    full_gallery_pairs: int


@dataclass(frozen=True)
class Params:
    """All of params.yaml."""

    seed: int
    run_patches: list[str]
    run: dict[str, str]  # system: patches
    run_contrast: list[str]
    catalogue: Catalogue
    text: Text
    words: Words
    encoder: Encoder
    patches: dict[str, Patches]
    systems: dict[str, System]
    contrast: dict[str, Contrast]
    evaluate: Evaluate


def load(path: Path) -> Params:
    """Read and check params.yaml; raises ConfigError with a sentence that names the key."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist; the command is run where params.yaml is, or takes --params"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    params: Params = build(Params, raw, "")
    _check_runs(params)
    for kind, patches in params.patches.items():
        _check_grids(patches.grids, f"patches.{kind}.grids")
    return params


def _check_grids(grids: list[int], where: str) -> None:
    rising = grids == sorted(set(grids))
    _expect(
        bool(grids) and rising and grids[0] >= 1 and grids[-1] <= FINEST_GRID,
        grids,
        f"sides of grids from 1 to {FINEST_GRID}, each once and rising",
        where,
    )


def _check_runs(params: Params) -> None:
    """The lists of what DVC runs name rows that exist, and patches that agree with the rows."""
    for kind in params.run_patches:
        row(params.patches, kind, "patches")
    for system in params.run_contrast:
        row(params.contrast, system, "contrast")
    for system, kind in params.run.items():
        said = row(params.systems, system, "systems").patches
        if kind != said:
            raise ConfigError(f"params.yaml: run.{system} says the patches {kind!r}, its row {said!r}; make them agree")
        if kind not in params.run_patches:
            raise ConfigError(f"params.yaml: {system} reads the patches {kind!r}, which run_patches does not list")


def row(table: Mapping[str, Any], name: str, where: str) -> Any:
    """One row of a table of params.yaml, or a sentence that lists the rows there are."""
    if name not in table:
        raise ConfigError(f"params.yaml has no row {name!r} under {where}; there are {sorted(table)}")
    return table[name]


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn plain YAML into `kind`, checking every key and every type on the way."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_row(kind, value, where)
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return build(arguments[0], value, where)
    if origin is list:
        _expect(isinstance(value, list), value, "a list", where)
        return [build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict), value, "a table", where)
        return {key: build(arguments[1], item, _join(where, key)) for key, item in value.items()}
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(number, value, "a number (write 0.0005 rather than 5e-4)", where)
        return float(value)
    _expect(type(value) is kind, value, f"of type {kind.__name__}", where)
    return value


def _build_row(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, "a table", where)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise ConfigError(f"params.yaml: unknown key {_join(where, unknown[0])!r}; here are allowed {sorted(fields)}")
    optional = {
        name
        for name, f in fields.items()
        if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
    }
    missing = sorted(set(fields) - set(value) - optional)
    if missing:
        raise ConfigError(f"params.yaml: the key {_join(where, missing[0])!r} is missing")
    return kind(**{name: build(hints[name], item, _join(where, name)) for name, item in value.items()})


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _expect(holds: bool, value: Any, what: str, where: str) -> None:
    if not holds:
        raise ConfigError(f"params.yaml: {where} must be {what}, not {value!r}")
