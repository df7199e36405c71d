"""What a training stage picks for the machine it runs on: device, precision, memory; and how it shelves a result."""

import ctypes
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from fashionvl import checkpoint

CURVE_POINTS = 500
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def accelerator() -> Accelerator:
    """The devices of this process and its precision: bf16 where the processor multiplies it, float32 elsewhere."""
    return Accelerator(
        mixed_precision="bf16" if has_bf16() else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def has_bf16() -> bool:
    """True where bf16 products are done in hardware."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: a step frees and takes the same large blocks again, and fresh pages are slow."""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        return  # another C library: slower, the same results
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 2**26)


def shelve(run: Path, work: Path, model: nn.Module, card: Mapping[str, Any]) -> None:
    """Make a run folder from a finished training: history, curves, weights, and the card last; then forget the work."""
    checkpoint.save(run, model.state_dict(), record(run, work, card))
    checkpoint.clear(work)


def record(run: Path, work: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Put the history of a finished training and its curves into its run folder -> the card with what they say.

    The card gets the number of `steps` and, as `metrics`, the mean losses of the last hundredth of them.
    """
    run.mkdir(parents=True, exist_ok=True)
    history = pd.DataFrame([json.loads(line) for line in (work / "history.jsonl").read_text().splitlines()])
    shutil.copyfile(work / "history.jsonl", run / "history.jsonl")
    curves(history).to_csv(run / "curves.csv", index=False, lineterminator="\n")
    last = history.tail(max(1, len(history) // 100)).mean()
    losses = {name: round(float(value), 6) for name, value in last.items() if name not in ("step", "seconds", "lr")}
    return {**card, "steps": len(history), "metrics": {**card.get("metrics", {}), **losses}}


def curves(history: pd.DataFrame) -> pd.DataFrame:
    """A history of any length as at most CURVE_POINTS rows, each the mean of as many steps."""
    width = max(1, -(-len(history) // CURVE_POINTS))
    thinned = history.groupby((history["step"] - 1) // width).mean()
    thinned["step"] = thinned["step"].round().astype(int)
    return thinned.drop(columns=["seconds", "lr"]).round(5)
