"""How fast the stage `patches` is, file to cache, beside the plain way to write it.

    python benchmarks/patches.py [--catalogue FOLDER] [--threads N]

The plain way opens a picture with Pillow, crops and resizes patch after patch, runs a float32 forward of the picture's
74 patches and appends the result; same boxes, same encoder weights, same threads. Rounds of both are interleaved on the
same pictures. Pictures come from a folder with catalogue.csv: the one given, else the first in FASHIONVL_CATALOGUES,
else a generated sample. The last line is one JSON object:

ratio, resnet50_ratio            vectors/s of the stage over those of the plain way; over 1 is faster
difference, resnet50_difference  largest difference of a feature, over the largest feature
bf16_difference, ...             the same of the plain way under bf16 autocast: what the rounding alone does
memory_mib                       peak of a process that encodes so many pictures
load                             of the machine before and after: numbers mean little where others compute too
"""

import argparse
import copy
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn
from transformers import ResNetConfig, ResNetModel

from fashionvl import config
from fashionvl.models.named_encoders import load_resnet
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.patches import foreground
from fashionvl.patches.cutting import patch_boxes
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.stages import patches as stage
from fashionvl.stages import sample
from fashionvl.stages.workshop import Workshop, workshop

ROOT = Path(__file__).parents[1]
MEMORY_SHARD = 128  # small, so that both catalogue sizes are many shards


def plain_tiles(path: Path, row: config.Patches) -> torch.Tensor:
    """The 74 patches of one picture, written as one would at first -> (74, 3, S, S) uint8."""
    picture = Image.open(path).convert("RGB")
    box = foreground.from_border(picture, margin=row.margin).box
    side = (row.pixels, row.pixels)
    clean = [
        picture.crop(place).resize(side, Image.Resampling.BILINEAR)
        for level in KALEIDO.levels
        for place in patch_boxes(box, level)
    ]
    turned = [clean[0].rotate(-angle) for angle in (90, 180, 270)]
    grey = [patch.convert("L").convert("RGB") for patch in clean[KALEIDO.span("grey")]]
    return torch.stack([torch.from_numpy(np.array(patch)).permute(2, 0, 1) for patch in (*clean, *turned, *grey)])


def plain_way(paths: list[Path], row: config.Patches, encoder: nn.Module, out: Path) -> None:
    """Encode pictures one after the other in float32 and save what came out."""
    with torch.inference_mode():
        features = [encoder(plain_tiles(path, row)) for path in paths]
    np.save(out, torch.stack(features).half().numpy())


def race(root: Path, paths: list[str], shop: Workshop, encoder: Any, rounds: int) -> dict[str, float]:
    """Ours and the plain way in turn, `rounds` times on as many different pictures -> vectors/s, ratio, differences."""
    each = len(paths) // (rounds + 1)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    gaps, rounding = [], []
    for turn in range(rounds + 1):  # the first warms up
        mine = paths[turn * each : (turn + 1) * each]
        files = [root / path for path in mine]
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            ours = timed(lambda m=mine, h=here: stage.encode("ours", m, shop, h, dim=encoder.dim))
            plain = timed(lambda f=files, h=here: plain_way(f, shop.row, encoder, h / "plain.npy"))
            if turn:
                seconds["ours"].append(ours)
                seconds["plain"].append(plain)
            shards = sorted((here / "store").glob("*.npy"))
            got, wanted = np.concatenate([np.load(s) for s in shards]), np.load(here / "plain.npy")
        gaps.append(gap(got, wanted))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            rough = encoder(plain_tiles(files[0], shop.row)).half().numpy()
        rounding.append(gap(rough, wanted[0]))
        print(f"  round {turn}: {each} pictures, ours {ours:.2f} s, plain {plain:.2f} s", flush=True)
    speed = {name: KALEIDO.vectors * each * rounds / sum(spent) for name, spent in seconds.items()}
    return {
        "ratio": round(speed["ours"] / speed["plain"], 2),
        "ours": round(speed["ours"]),
        "plain": round(speed["plain"]),
        "difference": round(max(gaps), 5),
        "bf16_difference": round(max(rounding), 5),
    }


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def gap(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value."""
    got, wanted = got.astype(np.float32), wanted.astype(np.float32)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def scratch(params: config.Params) -> ConvEncoder:
    """The `scratch` encoder of params.yaml at seeded random weights: its speed does not depend on them."""
    torch.manual_seed(0)
    return ConvEncoder(params.encoder.channels).eval()


def resnet50(folder: Path) -> Any:
    """ResNet-50 at random weights, saved and loaded as one that a user brings."""
    torch.manual_seed(0)
    ResNetModel(ResNetConfig()).save_pretrained(folder)
    return load_resnet(str(folder))


def peak_memory(root: Path, pictures: int, threads: int) -> float:
    """The peak in MiB of a fresh process that encodes so many pictures."""
    command = [sys.executable, __file__, "--catalogue", str(root), "--threads", str(threads), "--child", str(pictures)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(done.stdout.splitlines()[-1])


def child(root: Path, paths: list[str], shop: Workshop, dim: int, pictures: int) -> None:
    """What `peak_memory` measures: the catalogue's pictures, again from the first when there are not enough."""
    many = [paths[i % len(paths)] for i in range(pictures)]
    with tempfile.TemporaryDirectory() as folder:
        stage.encode("child", many, shop, Path(folder), dim=dim)
    # Not ru_maxrss: a spawned process starts with its parent's.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) / 1024)


def find_catalogue(given: Path | None, scrap: Path) -> Path:
    """The folder of catalogue.csv: given, or the first of FASHIONVL_CATALOGUES, or a sample made in `scrap`."""
    if given is not None:
        return given
    shelf = os.environ.get("FASHIONVL_CATALOGUES")
    if shelf:
        return min(path.parent for path in Path(shelf).glob("*/catalogue.csv"))
    sample.main(scrap / "sample", products=300)
    return scrap / "sample"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, help="a folder with catalogue.csv")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=128, help="a round")
    parser.add_argument("--resnet-pictures", type=int, default=2, help="a round")
    parser.add_argument("--memory-pictures", type=int, nargs=2, default=[512, 2048])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    params = config.load(ROOT / "params.yaml")
    row = dataclasses.replace(params.patches["kaleido"], foreground="border", encoder="scratch")
    with tempfile.TemporaryDirectory() as folder:
        scrap = Path(folder)
        root = find_catalogue(chosen.catalogue, scrap)
        paths = pd.read_csv(root / "catalogue.csv", dtype=str)["image_path"].tolist()
        encoder = scratch(params)
        if chosen.child:
            small = dataclasses.replace(row, shard=MEMORY_SHARD)
            child(root, paths, workshop(root, small, 50, encoder, None), encoder.dim, chosen.child)
            return
        before = os.getloadavg()[0]
        result: dict[str, Any] = {"catalogue": root.name, "threads": chosen.threads}
        print(f"scratch, {row.pixels} pixels")
        shop = workshop(root, row, 50, copy.deepcopy(encoder), None)
        result |= race(root, paths[: chosen.pictures * (chosen.rounds + 1)], shop, encoder, chosen.rounds)
        print("ResNet-50 at random weights, 224 pixels")
        named = resnet50(scrap / "resnet")
        shop = workshop(root, dataclasses.replace(row, pixels=224), 50, copy.deepcopy(named), None)
        raced = race(root, paths[: chosen.resnet_pictures * 3], shop, named, 2)
        result |= {f"resnet50_{name}": value for name, value in raced.items()}
        print("peak memory at two catalogue sizes", flush=True)
        result["memory_mib"] = {n: round(peak_memory(root, n, chosen.threads)) for n in chosen.memory_pictures}
        result["load"] = [round(before, 1), round(os.getloadavg()[0], 1)]
        print(json.dumps(result))


if __name__ == "__main__":
    main()
