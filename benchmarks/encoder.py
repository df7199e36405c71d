"""What the learned patch encoder is worth: a probe on its frozen vectors, beside one that was never trained.

    python benchmarks/encoder.py [--data FOLDER] [--build FOLDER] [--seeds N]

Reads what the stages catalogue, words and encoder made in the build folder. The clean patches of the training and the
validation pictures are encoded; the mean vector of each level goes, standardised and frozen, into two probes: a linear
map against a bag of words under InfoNCE, ranked by the sampled-101 protocol, and a ridge regression on sub-categories.
Everything is measured on the validation split. An untrained encoder of the same architecture has the very same probes;
every seed draws another one, and other probes of both. The last line is one JSON object:

trained, untrained   mean over seeds of itr.R@1, tir.R@1 (per cent) and subcategory (accuracy, per cent)
spread               standard deviation over seeds of the same, of both
gain                 trained less untrained
towers               R@1 in the whole validation gallery of the towers that the encoder was learned in, from its card
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fashionvl import checkpoint, config, losses, metrics, training
from fashionvl.catalogue import Catalogue
from fashionvl.models.patch_encoder import ConvEncoder
from fashionvl.models.two_towers import BagOfWords
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.stages import encoder as stage
from fashionvl.stages import machine
from fashionvl.stages.album import album
from fashionvl.tasks import contrast, retrieval
from fashionvl.words import Words, rarity_of

EPOCHS, BATCH, RATE, DECAY, DROPOUT = 25, 256, 0.002, 0.05, 0.2  # of the probe
RIDGE = 100.0


@torch.inference_mode()
def summaries(encoder: ConvEncoder, pixels: contrast.Album, side: int) -> Tensor:
    """The mean vector of the clean patches of each level -> (n, levels * D) float, in the order of the album."""
    of_level, found, said = KALEIDO.levels_of(), [], time.monotonic()
    accelerator = machine.accelerator()
    encoder.eval()
    for pictures in pixels.pictures.split(16):
        with accelerator.autocast():
            patches = contrast.clean_patches(pixels, pictures, pixels=side)
            vectors = encoder(patches.flatten(0, 1)).float().unflatten(0, patches.shape[:2])
        found.append(torch.cat([vectors[:, of_level == k].mean(dim=1) for k in range(len(KALEIDO.levels))], dim=1))
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(f"encoding  picture {16 * len(found)}/{len(pixels.pictures)}", flush=True)
    return torch.cat(found)


class Probe(nn.Module):
    """A linear map of frozen vectors beside a bag of words."""

    def __init__(self, dim: int, rarity: Tensor):
        super().__init__()
        self.pictures = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(dim, 256))
        self.texts = BagOfWords(rarity, width=256)
        self.log_scale = nn.Parameter(torch.tensor(14.0).log())

    def forward(self, vectors: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.pictures(vectors), dim=1), F.normalize(self.texts(words), dim=1)


def learn_probe(
    probe: Probe, vectors: Tensor, ids: Tensor, pad: int, group: Tensor, generator: torch.Generator
) -> None:
    """Train a probe on (n, D) vectors and (n, T) words of the training products, side by side."""
    adam = torch.optim.AdamW(probe.parameters(), lr=RATE, weight_decay=DECAY)
    batch = min(BATCH, len(vectors))
    steps = EPOCHS * (len(vectors) // batch)
    decay = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps + 1, pct_start=0.1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(vectors), generator=generator).split(batch):
            if len(rows) < batch:
                continue
            kept = torch.rand(ids[rows].shape, generator=generator) > DROPOUT
            said = probe(vectors[rows], ids[rows].masked_fill(~kept, pad))
            loss = losses.info_nce(*said, group=group[rows], scale=probe.log_scale.exp()) / batch
            adam.zero_grad()
            loss.backward()
            adam.step()
            decay.step()


def judge(fit: Tensor, asked: Tensor, catalogue: Catalogue, words: Words, ids: Tensor, seed: int) -> dict[str, float]:
    """Both probes.

    fit   (n, D) float   vectors of the first view of every training product
    asked (m, D) float   vectors of every validation picture
    """
    train, val, shown = catalogue.in_split("train"), catalogue.in_split("val"), catalogue.pictures_in("val")
    torch.manual_seed(seed)
    mean, spread = fit.mean(dim=0), fit.std(dim=0).clamp(min=1e-6)
    fit, asked = (fit - mean) / spread, (asked - mean) / spread
    group = torch.from_numpy(catalogue.groups())[train]
    probe = Probe(fit.shape[1], rarity_of(ids[train], vocabulary=words.vocabulary, never=words.special()))
    learn_probe(probe, fit, ids[train], words.pad, group, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        pictures, texts = probe.eval()(asked, ids[val])
    score = contrast.scorer(pictures, shown, texts, val)
    found = retrieval.candidate_lists(
        catalogue, "val", queries=1000, candidates=100, draws=5, generator=np.random.default_rng(seed)
    )
    ranks, direction = retrieval.sampled_ranks(found, score), found.direction
    recalls = {f"{way}.R@1": 100 * metrics.recall(ranks[direction == way], 1) for way in retrieval.DIRECTIONS}
    kinds = torch.from_numpy(catalogue.kinds())
    of_shown = catalogue.pictures["product"].to_numpy()[shown]
    return {**recalls, "subcategory": 100 * accuracy(fit, kinds[train], asked, kinds[of_shown])}


def accuracy(fit: Tensor, known: Tensor, asked: Tensor, true: Tensor) -> float:
    """Of a ridge regression from vectors to classes: fit (n, D), known (n,) -> asked (m, D), true (m,)."""
    fit, asked = (torch.cat([rows, torch.ones(len(rows), 1)], dim=1) for rows in (fit, asked))
    answers = F.one_hot(known, int(max(known.max(), true.max())) + 1).float()
    solved = torch.linalg.solve(fit.T @ fit + RIDGE * torch.eye(fit.shape[1]), fit.T @ answers)
    return float(((asked @ solved).argmax(dim=1) == true).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    settings = config.load(asked.params)
    catalogue, words = Catalogue.load(asked.build / "catalogue", asked.data), Words.load(asked.build / "words")
    ids = words.encode(catalogue.texts(settings.text.fields)).ids
    weights, card = checkpoint.load(asked.build / "encoder")
    trained = ConvEncoder(card["channels"])
    trained.load_state_dict(weights)
    lock, side = config.build(config.Encoder, card["encoder"], "encoder").lock, stage.STORED * card["pixels"]
    shown = catalogue.first_pictures()[catalogue.in_split("train")], catalogue.pictures_in("val")
    found: dict[str, list[dict[str, float]]] = {"trained": [], "untrained": []}
    with tempfile.TemporaryDirectory() as folder:
        albums = [
            album(
                catalogue,
                pictures,
                lock,
                size=(side, side),
                max_megapixels=settings.catalogue.max_megapixels,
                file=Path(folder) / f"{number}.npy",
            )
            for number, pictures in enumerate(shown)
        ]
        learned = [summaries(trained, pixels, card["pixels"]) for pixels in albums]
        for seed in range(asked.seeds):
            torch.manual_seed(training.seed_of(seed, 0))
            untrained = ConvEncoder(card["channels"])
            naked = [summaries(untrained, pixels, card["pixels"]) for pixels in albums]
            for name, (fit, seen) in (("trained", learned), ("untrained", naked)):
                found[name].append(judge(fit, seen, catalogue, words, ids, seed))
                print(f"{name}  seed {seed}  {found[name][-1]}", flush=True)
    print(json.dumps(report(found) | {"towers": {k: v for k, v in card["metrics"].items() if k.startswith("val.")}}))


def report(found: dict[str, list[dict[str, float]]]) -> dict[str, dict]:
    """Means and spreads over seeds."""
    means = {who: {k: float(np.mean([row[k] for row in rows])) for k in rows[0]} for who, rows in found.items()}
    spread = {who: {k: float(np.std([row[k] for row in rows])) for k in rows[0]} for who, rows in found.items()}
    gain = {k: means["trained"][k] - means["untrained"][k] for k in means["trained"]}
    rounded = {who: {k: round(v, 1) for k, v in row.items()} for who, row in {**means, "gain": gain}.items()}
    return {**rounded, "spread": {who: {k: round(v, 1) for k, v in row.items()} for who, row in spread.items()}}


if __name__ == "__main__":
    main()
