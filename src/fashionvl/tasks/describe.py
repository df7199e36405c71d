"""Describing: a captioner learns to say a product's text from one view of it, then says it, or is told it.

The first half of AAG (Kaleido-BERT section 3.3); the other half, from heat maps to patches, is `alignment`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from fashionvl import losses
from fashionvl.batches import moved
from fashionvl.masking import IGNORE
from fashionvl.models.captioner import Captioner, Memory, Scene
from fashionvl.tasks.pairs import Chance, Shop

SPECIAL = ("[PAD]", "[START]", "[END]", "[UNKNOWN]")
PAD, START, END, UNKNOWN = range(len(SPECIAL))

# What a heat map is, (B, T, L) of a caption: where the decoder looked before each word (the paper's), which cells speak
# for the word in the decoder, or which cells show it to the detector.
HEATS: dict[str, Callable[[Captioner, Tensor, Tensor], Tensor]] = {
    "attention": lambda model, maps, words: model(maps, words, START)[1],
    "origin": lambda model, maps, words: model.origins(maps, words, START),
    "detector": lambda model, maps, words: _shown(model.shows(maps).float(), words),
}


@dataclass(frozen=True)
class Lexicon:
    """The whole words that a captioner can say, the special ones first."""

    words: list[str]

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], *, least: int) -> "Lexicon":
        """The words that stand in at least so many texts, in alphabetical order."""
        counts = Counter(word for text in texts for word in set(text))
        return cls([*SPECIAL, *sorted(word for word, count in counts.items() if count >= least)])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def encode(self, texts: Sequence[Sequence[str]], *, longest: int) -> Tensor:
        """texts   of whole words -> (n, longest + 1) int64   each cut to `longest` words, END behind it, then PAD"""
        ids = torch.full((len(texts), longest + 1), PAD)
        for row, text in zip(ids, texts, strict=True):
            said = [self._numbers.get(word, UNKNOWN) for word in text[:longest]] + [END]
            row[: len(said)] = torch.tensor(said)
        return ids

    def decode(self, ids: Tensor) -> list[str]:
        """ids (T,) int64 -> the words before END or PAD"""
        said = []
        for number in ids.tolist():
            if number in (END, PAD):
                break
            said.append(self.words[number])
        return said


@dataclass(frozen=True)
class Described:
    """Some pictures and the words that were said of them.

    words  of each picture
    heat   of each picture (S, g, g) float: where the captioner looked for each word, sum 1 a word
    """

    words: list[list[str]]
    heat: list[Tensor]


@dataclass(frozen=True)
class Maps:
    """Feature maps of some pictures of a catalogue.

    cells    (n, L, D) float16   may be memory-mapped
    pictures (n,) int64, rising  which pictures of the catalogue they are
    """

    cells: Tensor
    pictures: Tensor

    def of(self, pictures: Tensor) -> Tensor:
        """pictures (B,) int64 -> (B, L, D) float"""
        return self.cells[torch.searchsorted(self.pictures, pictures)].float()


@dataclass(frozen=True)
class Question:
    """Some pictures and what is to be said of them.

    maps   (B, L, D) float
    words  (B, T) int64   PAD behind END
    counts how many items each loss is summed over
    """

    maps: Tensor
    words: Tensor
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def drawing(
    maps: Maps, captions: Tensor, shop: Shop, *, batch: int, chance: Chance
) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    captions (N, T) int64   of every product of the catalogue; an epoch shows one of the shop once at most, by one view
    """
    batch = min(batch, len(shop.products))
    in_epoch = len(shop.products) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> tuple[Tensor, Tensor]:
        generator = chance(0, number)
        products = shop.products[torch.randperm(len(shop.products), generator=generator)]
        return products, shop.view(products, generator=generator)

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        mine = slice(at + part * batch // parts, at + (part + 1) * batch // parts)
        products, pictures = (column[mine] for column in epoch(step // in_epoch))
        return ask(maps, captions, pictures, products)

    return draw


def ask(maps: Maps, captions: Tensor, pictures: Tensor, products: Tensor) -> Question:
    """pictures (B,), products (B,) int64 -> what these pictures are to be called"""
    words = captions[products]
    words = words[:, : max(1, int((words != PAD).sum(dim=1).max()))]
    rows = float(len(words))
    return Question(maps.of(pictures), words, {"words": float((words != PAD).sum()), "spread": rows, "shown": rows})


def losses_of(model: Captioner, question: Question) -> dict[str, Tensor]:
    """Cross-entropy of the words, how unevenly the cells were looked at (doubly stochastic attention, Eq. 14), and
    cross-entropy of the words that the text holds, by the cells that show them most."""
    scores, heat = model(question.maps, question.words, START)
    real = question.words != PAD
    looked = (heat * real[:, :, None]).sum(dim=1)  # (B, L)
    odds = model.shows(question.maps).float()
    pooled = odds.logsumexp(dim=1) - math.log(odds.shape[1])  # (B, V)
    holds = torch.zeros_like(pooled).scatter_(1, question.words, 1.0)
    some = slice(len(SPECIAL), None)
    return {
        "words": losses.named(scores, question.words.masked_fill(~real, IGNORE)),
        "spread": (1 - looked).square().mean(dim=1).sum(),
        "shown": F.binary_cross_entropy_with_logits(pooled[:, some], holds[:, some], reduction="sum"),
    }


@torch.inference_mode()
def examine(model: Captioner, questions: Iterable[Question]) -> dict[str, float]:
    """The mean of each loss over some questions."""
    device = model.bias.device
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for question in questions:
        for name, value in losses_of(model, question.to(device)).items():
            sums[name] = sums.get(name, 0.0) + value.item()
            counts[name] = counts.get(name, 0.0) + question.counts[name]
    return {name: sums[name] / counts[name] for name in sums}


@torch.inference_mode()
def tell(
    model: Captioner, lexicon: Lexicon, maps: Tensor, texts: Sequence[Sequence[str]], *, longest: int, heat: str
) -> Described:
    """Tell the captioner what it should have said (teacher forcing): every word of every text has a map.

    maps (B, L, D) float; texts, whole words of each picture, cut to `longest`; heat, one of HEATS.
    A word that the lexicon lacks comes back as "".
    """
    words = lexicon.encode(texts, longest=longest).to(maps.device)
    told = [[word if word in lexicon else "" for word in text[:longest]] for text in texts]
    return _with_heat(model, maps, words, told, heat)


@torch.inference_mode()
def describe(model: Captioner, lexicon: Lexicon, maps: Tensor, *, longest: int, beam: int, heat: str) -> Described:
    """Let the captioner speak: beam search, by the mean log-probability of a word; a beam of 1 is greedy.

    maps (B, L, D) float; heat, one of HEATS
    """
    words = search(model, maps, longest=longest, beam=beam)
    return _with_heat(model, maps, words, [lexicon.decode(row) for row in words.cpu()], heat)


def _shown(odds: Tensor, words: Tensor) -> Tensor:
    """odds (B, L, V), words (B, T) -> (B, T, L)   the cells by how much they show each word, sum 1"""
    return odds.transpose(1, 2).gather(1, words[:, :, None].expand(-1, -1, odds.shape[1])).softmax(dim=2)


def _with_heat(model: Captioner, maps: Tensor, words: Tensor, said: list[list[str]], heat: str) -> Described:
    looked = (HEATS[heat](model, maps, words)).float().cpu()
    return Described(said, [_square(looked[row, : len(text)]) for row, text in enumerate(said)])


def search(model: Captioner, maps: Tensor, *, longest: int, beam: int) -> Tensor:
    """The best caption of each picture that beam search finds.

    maps (B, L, D) float -> (B, longest) int64   END behind the last word
    """
    rows, device = len(maps), maps.device
    scene, memory = model.look(maps)
    at = torch.arange(rows, device=device).repeat_interleave(beam)
    scene, memory = scene.of(at), memory.of(at)
    words = torch.full((rows * beam, longest), END, device=device)
    total = torch.full((rows, beam), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beams begin alike
    length = torch.zeros(rows, beam, device=device)
    before, over = (
        torch.full((rows * beam,), START, device=device),
        torch.zeros(rows * beam, dtype=torch.bool, device=device),
    )
    for step in range(longest):
        likely, memory = _next(model, scene, memory, before, over)
        words_now = length[..., None] + ~over.view(rows, beam, 1)
        sums = total[..., None] + likely.view(rows, beam, -1)
        best = (sums / words_now.clamp(min=1)).flatten(1).topk(beam, dim=1).indices  # (B, beam)
        source, word = best // likely.shape[1], best % likely.shape[1]
        total, length = sums.flatten(1).gather(1, best), words_now[..., 0].gather(1, source)
        at = (torch.arange(rows, device=device)[:, None] * beam + source).flatten()
        words, memory, over, before = words[at], memory.of(at), over[at], word.flatten()
        words[:, step] = before
        over = over | (before == END)
        if bool(over.all()):
            break
    finest = (total / length.clamp(min=1)).argmax(dim=1)
    return words[torch.arange(rows, device=device) * beam + finest]


def _next(model: Captioner, scene: Scene, memory: Memory, before: Tensor, over: Tensor) -> tuple[Tensor, Memory]:
    """Log-probabilities of the next word (B * beam, V); a caption that is over can only go on with END, for nothing."""
    glance, memory = model.step(scene, memory, before)
    likely = model.scores(glance.said, memory.state, glance.seen).float().log_softmax(dim=1)
    likely[:, [PAD, START, UNKNOWN]] = -torch.inf
    likely[over] = -torch.inf
    likely[over, END] = 0.0
    return likely, memory


def _square(heat: Tensor) -> Tensor:
    """(S, L) -> (S, g, g)"""
    side = round(heat.shape[1] ** 0.5)
    return heat.unflatten(1, (side, side))
