"""What a training step of each row of CLIP's family costs, beside CLIP's own and beside `transformers`' CLIPModel.

    python benchmarks/cluster_masking.py [--size small|vit_b] [--batch 64] [--steps 4] [--rounds 5]

Every row does forward, backward and optimiser step on the same generated pictures, textured so that patches form
clusters, and on texts of 8 to 40 pieces padded to the longest of a batch. All is in bf16 autocast with
scaled_dot_product_attention and starts from uint8 pictures; masking is part of a step. The rows share one model;
CLIPModel has the same sizes, activation and optimiser. Rounds are interleaved; the last line is one JSON object of
medians over rounds:

clip, flip_b50, ...   time of a step over that of the row `clip` in the same round
masking_share         share of the step of cluster_rgb_b50 that goes into deciding what is hidden
vs_transformers       samples a second of the row `clip` over those of CLIPModel, nothing hidden in either
cluster_ratio         share of the patches that cluster_rgb_b30 hides, cut-off included; it is searched to be 0.5
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from transformers import CLIPConfig, CLIPModel

from fashionvl import clusters
from fashionvl.models.clip import Clip
from fashionvl.models.pre_norm import Sizes
from fashionvl.stages import machine
from fashionvl.tasks import clip
from fashionvl.tasks.hiding import Hiding, find_threshold, kept

SLOTS, PATCH = 77, 16
SIZES = {
    "vit_b": {
        "picture": (768, 12, 12),
        "text": (512, 12, 8),
        "dim": 512,
        "side": 224,
        "vocabulary": 49408,
        "batch": 16,
    },
    "small": {"picture": (256, 4, 4), "text": (256, 4, 4), "dim": 256, "side": 128, "vocabulary": 8000, "batch": 64},
}
ROWS = {
    "clip": Hiding(by="nothing"),
    "flip_b50": Hiding(by="random", least=0.5),
    "cluster_rgb_b50": Hiding(by="pixels", least=0.5),
    "cluster_rgb_b30": Hiding(by="pixels", least=0.3),
    "cluster_embed_b30": Hiding(by="vectors", least=0.3, anchors=0.05),
    "flip_attn": Hiding(by="attention", least=0.5),
}
KINDS = 5  # textures in a picture


def sizes_of(width: int, layers: int, heads: int) -> Sizes:
    return Sizes(width, layers, heads, 4 * width)


def textured(rows: int, side: int, generator: Generator) -> Tensor:
    """Pictures of a few textures, each in regions of its own, under noise -> (B, 3, side, side) uint8"""
    cells = side // PATCH
    tiles = torch.rand(rows, KINDS, 3, PATCH, PATCH, generator=generator)
    rough = torch.rand(rows, KINDS, 4, 4, generator=generator)
    kind = F.interpolate(rough, (cells, cells), mode="bicubic").argmax(dim=1).flatten(1)  # (B, cells * cells)
    laid = tiles[torch.arange(rows)[:, None], kind].view(rows, cells, cells, 3, PATCH, PATCH)
    laid = laid.permute(0, 3, 1, 4, 2, 5).reshape(rows, 3, side, side)
    strength = F.interpolate(torch.rand(rows, 1, 4, 4, generator=generator), (side, side), mode="bilinear")
    noise = torch.rand(laid.shape, generator=generator) - 0.5
    return ((laid + strength * noise).clamp(0, 1) * 255).to(torch.uint8)


def questions(size: dict, batch: int, count: int, generator: Generator) -> list[clip.Question]:
    made = []
    for _ in range(count):
        pictures, end = textured(batch, size["side"], generator), size["vocabulary"] - 1
        length = torch.randint(8, 41, (batch, 1), generator=generator)
        place = torch.arange(int(length.max()))
        ids = torch.randint(1, end, (batch, len(place)), generator=generator)
        ids = ids.masked_fill(place == length - 1, end).masked_fill(place >= length, 0)
        luck = clusters.draw(batch, (size["side"] // PATCH) ** 2, generator=generator)
        made.append(clip.Question(pictures, ids, torch.arange(batch), luck, 0.5, {"nce": batch}))
    return made


def ours(size: dict) -> Clip:
    return Clip(
        picture=sizes_of(*size["picture"]),
        text=sizes_of(*size["text"]),
        dim=size["dim"],
        pixels=(size["side"], size["side"]),
        patch=PATCH,
        vocabulary=size["vocabulary"],
        slots=SLOTS,
        end=size["vocabulary"] - 1,
    ).train()


def step_of(model: Clip) -> Callable[[clip.Question, Hiding], None]:
    """One step of this project, by any row."""
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(question: clip.Question, hiding: Hiding) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = clip.losses_of(model, question, hiding=hiding)["nce"]
        (loss / len(question.words)).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def theirs(size: dict, mean: Tensor, std: Tensor) -> Callable[[clip.Question], None]:
    """One step of CLIPModel as its documentation shows it."""
    towers = {}
    for name in ("picture", "text"):
        width, layers, heads = size[name]
        towers[name] = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
        towers[name] |= {"intermediate_size": 4 * width, "hidden_act": "gelu"}
    text = {"vocab_size": size["vocabulary"], "max_position_embeddings": SLOTS, "eos_token_id": size["vocabulary"] - 1}
    text |= {"bos_token_id": None}
    config = CLIPConfig(
        text_config=towers["text"] | text,
        vision_config=towers["picture"] | {"image_size": size["side"], "patch_size": PATCH},
        projection_dim=size["dim"],
        attn_implementation="sdpa",
    )
    model = CLIPModel(config).train()
    adam = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(question: clip.Question) -> None:
        pixels = (question.pictures / 255 - mean[:, None, None]) / std[:, None, None]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=question.words, pixel_values=pixels, return_loss=True).loss
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def seconds(does: Callable[[clip.Question], object], batches: list[clip.Question]) -> float:
    began = time.perf_counter()
    for question in batches:
        does(question)
    return time.perf_counter() - began


def rows_of(model: Clip, batches: list[clip.Question]) -> tuple[dict[str, Hiding], float]:
    """The rows with their thresholds, and what that of cluster_rgb_b30 hides."""
    rows, seen = dict(ROWS), [(question.pictures, question.luck) for question in batches]
    for name in ("cluster_rgb_b50", "cluster_rgb_b30"):
        found = find_threshold(model, seen, rows[name])
        print(f"{name}  threshold {found.threshold:.3f} hides {found.ratio:.3f}", flush=True)
        rows[name] = Hiding(by="pixels", least=rows[name].least, threshold=found.threshold)
    return rows, found.ratio


def measure(size: dict, batch: int, steps: int, rounds: int) -> dict[str, float]:
    """Interleaved rounds over the same batches -> medians."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    batches, model = questions(size, batch, steps, generator), ours(size)
    rows, ratio = rows_of(model, batches)
    step, patches = step_of(model), [model.patches_of(question.pictures) for question in batches]
    runs: dict[str, Callable[[clip.Question], object]] = {
        name: (lambda question, row=row: step(question, row)) for name, row in rows.items()
    }
    runs["transformers"] = theirs(size, model.mean, model.std)
    cut = dict(zip(map(id, batches), patches, strict=True))
    runs["masking"] = lambda q: kept(model, cut[id(q)], q.luck, rows["cluster_rgb_b50"], progress=0.5)
    for does in runs.values():
        seconds(does, batches[:1])
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, does in runs.items():
            times[name].append(seconds(does, batches))
        said = "  ".join(f"{name} {t[-1] / steps:.3f}" for name, t in times.items())
        print(f"round {number + 1}/{rounds}  seconds a step:  {said}", flush=True)

    def over(name: str, other: str) -> float:
        pairs = zip(times[name], times[other], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 4)

    found = {name: over(name, "clip") for name in rows}
    found |= {"masking_share": over("masking", "cluster_rgb_b50"), "vs_transformers": over("transformers", "clip")}
    return found | {"cluster_ratio": round(ratio, 4), "clip_samples_per_s": round(batch * steps / times["clip"][-1], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument(
        "--batch",
        type=int,
        help="pictures a step; 64, or 32 at vit_b: with fewer, the optimiser weighs more than the towers",
    )
    parser.add_argument("--steps", type=int, default=4, help="of a row in a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    machine.keep_freed_memory()
    size = SIZES[arguments.size]
    batch = arguments.batch or size["batch"]
    facts = {"size": arguments.size, "batch": batch, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps(facts | measure(size, batch, arguments.steps, arguments.rounds)))


if __name__ == "__main__":
    main()
