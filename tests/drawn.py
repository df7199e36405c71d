"""A small catalogue of drawn pictures with an untrained patch encoder: what the stage `patches` is run on."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image, ImageDraw

from fashionvl import checkpoint
from fashionvl.models.patch_encoder import ConvEncoder

ROOT = Path(__file__).parents[1]
CHANNELS = [8, 12, 16]
PLACES = {"params": "params.yaml", "data": "data", "build": "build", "work": ".work"}
BACKGROUND = (250, 250, 248)


def make(folder: Path, pictures: int, *, kind: str = "kaleido", splits: tuple[str, ...] = ("train",), **row) -> dict:
    """A catalogue of drawn pictures, an untrained scratch encoder, and params -> the arguments of the stage.

    splits  of the products, over and over
    row     what differs in that row of params.yaml
    """
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "build" / "catalogue").mkdir(parents=True)
    for i in range(pictures):
        picture = Image.new("RGB", (60, 80), BACKGROUND)
        ImageDraw.Draw(picture).rectangle((10 + i % 7, 15, 45, 60 + i % 9), fill=(20 * (i % 12), 90, 30))
        picture.save(folder / "data" / "images" / f"{i}.png")
    paths = [f"images/{i}.png" for i in range(pictures)]
    shown = pd.DataFrame({"product": range(pictures), "path": paths, "view": "main", "width": 60, "height": 80})
    shown.to_parquet(folder / "build" / "catalogue" / "pictures.parquet")
    products = pd.DataFrame({"product_id": [str(i) for i in range(pictures)], "split": np.resize(splits, pictures)})
    products = products.assign(title="a drawn thing", description="", attributes="{}")
    products.to_parquet(folder / "build" / "catalogue" / "products.parquet")
    torch.manual_seed(0)
    encoder = ConvEncoder(CHANNELS)
    checkpoint.save(folder / "build" / "encoder", encoder.state_dict(), {"channels": CHANNELS, "pixels": 16})
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["patches"][kind] |= {"encoder": "scratch", "pixels": 16, "shard": 4, **row}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    return {name: folder / place for name, place in PLACES.items()}


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a store but the card, which holds times."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "card.json"}
