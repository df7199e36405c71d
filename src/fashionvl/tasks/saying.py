"""Saying a text: beam search over word pieces with the single-stream encoder, in the mode `causal` of captioning.

B pictures, K hypotheses of each, V word pieces. All hypotheses of a picture share one memory of what was read; which of
it a hypothesis may look at is a row of `seen`. So nothing is copied when one hypothesis goes on as two.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fashionvl.batches import Pictures
from fashionvl.models.reading import Reading
from fashionvl.models.single_stream import SingleStream
from fashionvl.words import SPECIAL, Words


@dataclass(frozen=True)
class Hypotheses:
    """What may be said of each picture.

    said   (B, K, R) int64   the pieces, [SEP] behind the last
    total  (B, K) float      their log-probability
    length (B, K) float      how many they are, [SEP] counted
    over   (B, K) bool       True where [SEP] was said
    seen   (B, K, S) bool    True where a token of the picture's memory is one that the hypothesis follows
    """

    said: Tensor
    total: Tensor
    length: Tensor
    over: Tensor
    seen: Tensor

    @classmethod
    def none(cls, prefix: Tensor, beam: int, *, most: int, sep: int) -> "Hypotheses":
        """One empty text a picture; the others are impossible, so that all come from it.

        prefix  (B, S) bool   True where a token is one that all look at
        most    pieces of a text
        """
        rows, device = len(prefix), prefix.device
        total = torch.full((rows, beam), -torch.inf, device=device)
        total[:, 0] = 0.0
        seen = torch.zeros(rows, beam, prefix.shape[1] + beam * most, dtype=torch.bool, device=device)
        seen[:, :, : prefix.shape[1]] = prefix[:, None]
        said = torch.full((rows, beam, most + 1), sep, device=device)
        return cls(said, total, torch.zeros_like(total), torch.zeros_like(total, dtype=torch.bool), seen)

    def of(self, source: Tensor) -> "Hypotheses":
        """source (B, K) int64   which hypothesis each one goes on from"""
        rows = torch.arange(len(source), device=source.device)[:, None]
        return Hypotheses(*(getattr(self, field.name)[rows, source] for field in fields(self)))

    @property
    def score(self) -> Tensor:
        """(B, K) float   the mean log-probability of a piece"""
        return self.total / self.length.clamp(min=1)


def silent(words: Words) -> Tensor:
    """(V,) bool   True where a piece is never said: all special ones but [SEP]"""
    never = torch.zeros(words.vocabulary, dtype=torch.bool)
    never[[words.id_of(piece) for piece in SPECIAL if piece != "[SEP]"]] = True
    return never


@torch.inference_mode()
def search(model: SingleStream, words: Words, pictures: Pictures, *, beam: int, longest: int) -> tuple[Tensor, Tensor]:
    """The best text of each of B pictures that beam search finds, by the mean log-probability of its pieces and [SEP].

    beam    hypotheses that are followed; 1 is greedy
    longest pieces of a text; one that gets so far ends there, at the price of [SEP]
    -> (B, longest + 1) int64, [SEP] behind the last piece; (B,) float, the scores
    """
    rows, device, sep = len(pictures), pictures.patches.device, words.id_of("[SEP]")
    cls = torch.full((rows, 1), words.id_of("[CLS]"), device=device)
    reading = Reading(model, cls, model.look(pictures), pictures.shown, words=beam * longest)
    prefix = torch.cat([torch.ones_like(pictures.shown[:, :1]), pictures.shown], dim=1)
    found = Hypotheses.none(prefix, beam, most=longest, sep=sep)
    never = silent(words).to(device)
    states = reading.cls[:, None].expand(-1, beam, -1)
    for step in range(longest + 1):
        if step == longest:
            never = torch.ones_like(never).index_fill_(0, torch.tensor(sep, device=device), False)
        found = _longer(found, model.name_words(states).float(), step, never=never, sep=sep)
        if bool(found.over.all()):
            break
        states = _heard(reading, found, step)
    finest = found.score.argmax(dim=1)
    at = torch.arange(rows, device=device)
    return found.said[at, finest], found.score[at, finest]


def _longer(found: Hypotheses, scores: Tensor, step: int, *, never: Tensor, sep: int) -> Hypotheses:
    """Let every hypothesis go on with its likeliest pieces, and keep the best K of all.

    scores (B, K, V) float   of the next piece; never (V,) bool   True where a piece may not be said
    """
    beam = scores.shape[1]
    sums = scores.logsumexp(dim=2, keepdim=True)
    best, piece = scores.masked_fill(never, -torch.inf).topk(min(beam, scores.shape[2]), dim=2)
    ended = torch.full_like(best[0, 0], -torch.inf)
    ended[0] = 0.0  # a text that is over goes on with [SEP] alone, for nothing
    likely = torch.where(found.over[..., None], ended, best - sums)
    piece = torch.where(found.over[..., None], sep, piece)
    length = found.length + ~found.over
    total = found.total[..., None] + likely  # (B, K, K)
    chosen = (total / length[..., None]).flatten(1).topk(beam, dim=1).indices
    source = chosen // total.shape[2]
    kept = found.of(source)
    kept.said[:, :, step] = piece.flatten(1).gather(1, chosen)
    over = kept.over | (kept.said[:, :, step] == sep)
    return Hypotheses(kept.said, total.flatten(1).gather(1, chosen), length.gather(1, source), over, kept.seen)


def _heard(reading: Reading, found: Hypotheses, step: int) -> Tensor:
    """Read the piece that every hypothesis said last, in slot step + 1 -> (B, K, C)   their states"""
    beam, start = found.said.shape[1], reading.length
    each = torch.arange(beam, device=found.said.device)
    found.seen[:, each, start + each] = True
    return reading.on(found.said[:, :, step], step + 1, found.seen[:, :, : start + beam])
