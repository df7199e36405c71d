"""Pre-training of Kaleido-BERT (section 3.6) and its family: spoil (spoil.py), read, answer."""

import torch
from torch import Tensor

from fashionvl import losses, puzzles
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.pyramid import Pyramid
from fashionvl.tasks.pairs import Chance, Pairs
from fashionvl.tasks.spoil import OF_VECTORS, PUZZLES, Desk, Question, ask


def answers_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """Everything the model says to a question, by objective: scores of classes, or vectors for grey, blank and mrfr."""
    states = model(question.batch, question.wanted)
    said = {}
    if "itm" in question.counts:
        said["itm"] = model.match(model.pooled(states))
    at = 1
    if question.mlm is not None:
        said["mlm"] = model.name_words(states[:, at : at + question.mlm.shape[1]])
        at += question.mlm.shape[1]
    for name in PUZZLES:
        answer = getattr(question, name)
        if answer is not None:
            assert isinstance(model.layout, Pyramid), "puzzles are played on grids"
            count = model.layout.level(name).patches if name in model.classes else answer.shape[1]
            said[name] = model.solve(name, states[:, at : at + count])
            at += count
    asked = [name for name in puzzles.OF_REGIONS if getattr(question, name) is not None]
    return said | {name: model.solve(name, states[:, at:]) for name in asked}


def losses_of(model: SingleStream, question: Question) -> dict[str, Tensor]:
    """Every loss of one question, summed, by name (Eq. 8 without its sum)."""
    return _judge(answers_of(model, question), question)


def _judge(said: dict[str, Tensor], question: Question) -> dict[str, Tensor]:
    sums = {}
    for name, scores in said.items():
        answer = getattr(question, name)
        if name in ("grey", "blank"):
            sums[name] = losses.drawn(scores, answer, question.drawn[("grey", "blank").index(name)])
        elif name in ("mrc", "mrfr"):
            assert question.compared is not None
            compare = losses.likely if name == "mrc" else losses.regressed
            sums[name] = compare(scores, answer, question.compared[("mrc", "mrfr").index(name)])
        else:
            sums[name] = losses.named(scores, answer)
    return sums


@torch.inference_mode()
def examine(model: SingleStream, desk: Desk, pairs: Pairs, *, batch: int, chance: Chance) -> dict[str, float]:
    """Mean losses, and accuracies of what has classes, over all pairs, e.g. {"itm": 0.4, "itm_accuracy": 0.81}."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    device = next(model.parameters()).device
    for number, start in enumerate(range(0, len(pairs), batch)):
        question = ask(desk, pairs[slice(start, start + batch)], generator=chance(2, number)).to(device)
        said = answers_of(model, question)
        for name, value in _judge(said, question).items():
            sums[name] = sums.get(name, 0.0) + value.item()
            counts[name] = counts.get(name, 0.0) + question.counts[name]
            if name not in OF_VECTORS:
                right = (said[name].argmax(dim=-1) == getattr(question, name)).sum().item()
                sums[f"{name}_accuracy"] = sums.get(f"{name}_accuracy", 0.0) + right
                counts[f"{name}_accuracy"] = counts[name]
    return {name: sums[name] / max(1.0, counts[name]) for name in sums}
