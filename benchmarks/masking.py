"""What alignment-guided masking costs, beside random masking and beside a training step.

    python benchmarks/masking.py [--catalogue FOLDER] [--rounds 7]

Masking (draw, hide and spell, everything that decides what is hidden) is timed on batches of 256 texts of a real
catalogue; in every row 8 words point at a patch of each of levels 3, 4 and 5 (in training half of the rows, the
mismatched pairs, have none). The step is forward, backward and optimiser of the row `kaleido` of params.yaml with all
its losses, in bf16 autocast, without making its questions. Rounds are interleaved; the last line is one JSON object:

samples_per_s, random_per_s   rows a second that are masked with pairs, and without
step_samples_per_s            rows a second that are trained on
share_of_step                 median over rounds of the time of masking a row / the time of training on it
share_at_batch                likewise, masking as many rows at once as the row `kaleido` trains on
hide_share, random_share      likewise, 256 rows at once: of `hide` alone; of masking without pairs
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pretrain_step
import torch
from torch import Tensor

from fashionvl import config, masking, words
from fashionvl.catalogue import Catalogue
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import KALEIDO
from fashionvl.puzzles import quota
from fashionvl.stages import machine
from fashionvl.tasks import pretrain

ROWS, ALIGNED, SLOTS = 256, 8, 64
PARAMS = Path(__file__).parents[1] / "params.yaml"


def aligned(whole: Tensor, quotas: list[masking.Quota], generator: torch.Generator) -> Tensor:
    """Random words of each text, each looked for at one place -> pairs (B, ALIGNED * levels, 3)."""
    count = whole.amax(dim=1, keepdim=True) + 1  # (B, 1) words
    ranked = torch.rand(whole.shape, generator=generator).masked_fill(torch.arange(whole.shape[1]) >= count, 2.0)
    word = ranked.argsort(dim=1)[:, :ALIGNED]
    across, down = torch.rand(2, *word.shape, generator=generator)
    pairs = []
    for of in quotas:
        side = KALEIDO.levels[of.level].side
        patch = (down * side).long() * side + (across * side).long()
        pairs.append(torch.stack([word, torch.full_like(word, of.level), patch], dim=2))
    return torch.cat(pairs, dim=1).masked_fill((word >= count).repeat(1, len(quotas))[:, :, None], -1)


def maskings(of: Catalogue, batch: int) -> dict[str, tuple[Callable[[], None], int]]:
    """What is timed, and on how many texts: masking with and without pairs, and `hide` alone."""
    texts = of.texts(["title", "description", "attributes.colour", "attributes.pattern"])
    vocabulary = words.learn(texts, vocabulary=pretrain_step.VOCABULARY, slots=SLOTS)
    encoded = vocabulary.encode(texts)
    generator = torch.Generator().manual_seed(7)
    rows = torch.randint(len(texts), (ROWS,), generator=generator)
    ids, whole = encoded.ids[rows], encoded.whole[rows]
    index = {level.puzzle: number for number, level in enumerate(KALEIDO.levels)}
    quotas = [masking.Quota(index[name], KALEIDO.level(name).patches, count) for name, count in quota(KALEIDO).items()]
    pairs, special = aligned(whole, quotas, generator), torch.tensor(vocabulary.special())
    room = masking.room_for(whole != words.NO_WORD, share=0.15)

    pieces = {"vocabulary": vocabulary.vocabulary, "special": special, "generator": generator}

    def mask(pairs: Tensor) -> None:
        rows, count = pairs.shape[:2]
        luck = masking.draw(rows, SLOTS, quotas, pairs=count, **pieces)
        hidden = masking.hide(whole[:rows], pairs, luck, room=room[:rows], quotas=quotas)
        masking.spell(ids[:rows], hidden.words, luck, mask_id=vocabulary.mask)

    luck = masking.draw(ROWS, SLOTS, quotas, pairs=pairs.shape[1], **pieces)
    return {
        "pairs": (lambda: mask(pairs), ROWS),
        "at_batch": (lambda: mask(pairs[:batch]), batch),
        "random": (lambda: mask(pairs[:, :0]), ROWS),
        "hide": (lambda: masking.hide(whole, pairs, luck, room=room, quotas=quotas), ROWS),
    }


def training_steps(
    settings: config.Params, row: config.System, of: Catalogue, folder: Path, count: int
) -> tuple[Callable[[], None], int]:
    """-> some steps of a system on batches that are made beforehand; how many rows they read."""
    model, objectives = row.model, list(row.objectives)
    sizes = {"width": model.width, "layers": model.layers, "heads": model.heads, "inner": model.inner}
    sizes["dim"] = settings.encoder.channels[-1]
    batches = pretrain_step.questions(of, folder, {**sizes, "batch": row.training.batch}, objectives, count)
    stream = SingleStream(
        vocabulary=pretrain_step.VOCABULARY,
        dropout=model.dropout,
        meeting=model.meeting,
        objectives=objectives,
        **sizes,
    ).train()
    adam = torch.optim.AdamW(stream.parameters(), lr=1e-4, fused=True)

    def steps() -> None:
        for question in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                sums = pretrain.losses_of(stream, question)
            sum(value / max(1.0, question.counts[name]) for name, value in sums.items()).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)

    return steps, sum(len(question.itm) for question in batches)


def seconds(run: Callable[[], None], times: int) -> float:
    """Of one run, in the mean of several in a row."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def measure(of: Catalogue, folder: Path, rounds: int) -> dict[str, float]:
    """Interleaved rounds -> medians over them."""
    settings = config.load(PARAMS)
    row = config.row(settings.systems, "kaleido", "systems")
    runs = {"step": training_steps(settings, row, of, folder, count=4), **maskings(of, row.training.batch)}
    for run, _ in runs.values():
        run()
    of_row: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, (run, rows) in runs.items():
            of_row[name].append(seconds(run, 1 if name == "step" else 10) / rows)
        shown = "  ".join(f"{name} {1e6 * found[-1]:.1f} us" for name, found in of_row.items())
        print(f"round {number + 1}/{rounds}  a row: {shown}", flush=True)

    def share(name: str) -> float:
        pairs = zip(of_row[name], of_row["step"], strict=True)
        return round(statistics.median(part / step for part, step in pairs), 4)

    return {
        "share_of_step": share("pairs"),
        "share_at_batch": share("at_batch"),
        "hide_share": share("hide"),
        "random_share": share("random"),
        "samples_per_s": round(1 / statistics.median(of_row["pairs"])),
        "random_per_s": round(1 / statistics.median(of_row["random"])),
        "step_samples_per_s": round(1 / statistics.median(of_row["step"]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, default=pretrain_step.default_catalogue())
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if not (arguments.catalogue / "catalogue.csv").exists():
        sys.exit(f"{arguments.catalogue} holds no catalogue.csv; give --catalogue, or `make run` once for the sample")
    machine.keep_freed_memory()
    of = pretrain_step.read_catalogue(arguments.catalogue, 600)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(of, Path(folder), arguments.rounds)
    print(json.dumps({**found, "rows": ROWS, "aligned_words": ALIGNED, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
