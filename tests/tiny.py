"""A build folder of a tiny system: generated products, patches and alignments by the real stages, untrained weights."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image

from fashionvl import checkpoint, config, words
from fashionvl.catalogue import Catalogue
from fashionvl.models.captioner import Captioner
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store, checksum
from fashionvl.stages import align, pretrain, sample
from fashionvl.stages import patches as cut
from fashionvl.tasks.describe import Lexicon
from fashionvl.words import Words

ROOT = Path(__file__).parents[1]
FIELDS = ["title", "description"]
CHANNELS = [8, 12, 16]
PIXELS, SIDE = 16, 10  # of a patch; cells of the captioner's map along a side


def bring(folder: Path, products: int) -> Catalogue:
    """Generate products, and put them where the stage `catalogue` would."""
    sample.main(folder / "data", products=products, processes=1)
    rows = pd.read_csv(folder / "data" / "catalogue.csv", dtype="str", keep_default_na=False)
    place = folder / "build" / "catalogue"
    place.mkdir(parents=True)
    table = rows.drop_duplicates("product_id", ignore_index=True).drop(columns=["image_path", "view"])
    table.assign(split=np.resize(["train", "val", "test"], len(table))).to_parquet(place / "products.parquet")
    pictures = rows[["image_path", "view"]].rename(columns={"image_path": "path"})
    pictures["product"] = table["product_id"].searchsorted(rows["product_id"])
    pictures["sha256"] = [checksum(folder / "data" / path) for path in pictures["path"]]
    pictures["width"], pictures["height"] = Image.open(folder / "data" / pictures["path"][0]).size
    pictures.to_parquet(place / "pictures.parquet")
    return Catalogue.load(place, folder / "data")


def build(folder: Path, products: int = 6, *, aligned: bool = True, patches: dict | None = None) -> Path:
    """Make all but the fine-tuned parts -> build/runs/kaleido.

    aligned  False leaves out captioner and alignment
    patches  what differs in that row of params.yaml
    """
    AcceleratorState._reset_state(reset_partial_state=True)  # of a test before this one
    of, out = bring(folder, products), folder / "build"
    texts = of.texts(FIELDS)
    words.learn(texts, vocabulary=400, slots=32).save(out / "words")
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings["text"]["fields"], settings["alignment"]["pictures"] = FIELDS, 1
    settings["patches"]["kaleido"] |= {"pixels": PIXELS} | (patches or {})
    settings["captioner"] |= {"pixels": SIDE * 8, "width": 8, "longest": 30}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    torch.manual_seed(0)
    encoder = ConvEncoder(CHANNELS)
    encoder.calibrate(torch.randint(0, 256, (64, 3, PIXELS, PIXELS), dtype=torch.uint8))
    checkpoint.save(out / "encoder", encoder.state_dict(), {"channels": CHANNELS, "pixels": PIXELS})
    places = {"params": folder / "params.yaml", "data": folder / "data", "build": out}
    cut.main("kaleido", work=folder / ".work", **places)
    if aligned:
        _captioner(out, Words.load(out / "words").whole_words(texts), settings["captioner"])
        align.main("kaleido", **places)
    return pretrained(folder, "kaleido", "kaleido", ["mlm", "itm"])


def pretrained(folder: Path, name: str, kind: str, objectives: list[str]) -> Path:
    """Put an untrained system of a row of params.yaml on the shelf, which reads `kind` -> build/runs/<name>."""
    row, out = config.load(folder / "params.yaml").systems[name], folder / "build"
    sizes = pretrain.sizes_of(row, Words.load(out / "words"), Store.open(out / "patches" / kind), objectives)
    sizes |= {"width": 32, "layers": 2, "heads": 4, "inner": 64}
    card = {"stage": "pretrain", "item": name, "system": {"patches": kind}, "model": sizes}
    checkpoint.save(out / "runs" / name, stream(sizes, 1).state_dict(), card)
    return out / "runs" / name


def fine_tune(run: Path, task: str, seed: int, classes: list[str] | None = None, metrics: dict | None = None) -> None:
    """Put an untrained fine-tuned part beside a run, and what `examine` found of it."""
    sizes = json.loads((run / "card.json").read_text())["model"]
    sizes |= {"classes_of": {task: len(classes)}} if classes else {}
    out, name = run.parents[1], f"{run.name}-{task}"
    facts = {"stage": "finetune", "item": name, "system": run.name, "task": task, "model": sizes}
    weights = stream(sizes, seed).state_dict()
    checkpoint.save(out / "finetuned" / name, weights, facts | ({"classes": classes} if classes else {}))
    checkpoint.write_card(out / "evaluation" / name, {"stage": "examine", "item": name, "metrics": metrics or {}})


def stream(sizes: dict, seed: int) -> SingleStream:
    """A single stream whose weights are larger than at the start of a training, so that answers differ."""
    torch.manual_seed(seed)
    model = SingleStream(**sizes, dropout=0.0).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4) if weight.ndim > 1 else None
    return model


def _captioner(out: Path, spoken: list[list[str]], row: dict) -> None:
    lexicon = Lexicon.of(spoken, least=1)
    sizes = {"vocabulary": len(lexicon.words), "dim": CHANNELS[-1], "side": SIDE, "block": row["block"]}
    model = Captioner(**sizes, width=row["width"], dropout=0.0)
    card = {"stage": "captioner", "lexicon": lexicon.words, "sizes": sizes, "captioner": row}
    checkpoint.save(out / "captioner", model.state_dict(), card)
