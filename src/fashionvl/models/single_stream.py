"""The encoder of Kaleido-BERT (section 3.5) and its family: words and patches in one BERT, and a head an objective.

ImageBERT, OSCAR and VL-BERT read regions in place of patches, ViLBERT in a stream of its own (two_streams.py). The
model receives what is hidden, and knows no task, no loss, no file and no epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fashionvl import puzzles
from fashionvl.batches import Batch, Pictures
from fashionvl.models import recognisers
from fashionvl.models.attention import drop
from fashionvl.models.layer import EPSILON, Layer
from fashionvl.models.likeness import Likeness, means_of
from fashionvl.models.two_streams import TwinLayer
from fashionvl.patches.pyramid import KALEIDO, Layout, Pyramid, Regions


class WordEmbedding(nn.Module):
    """LN(word + type + position), dropped; the type of a text is BERT's type 0, that of tags 1."""

    def __init__(self, vocabulary: int, width: int, positions: int, dropout: float):
        super().__init__()
        self.word = nn.Embedding(vocabulary, width, padding_idx=None)
        self.position = nn.Embedding(positions, width)
        self.kind = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.dropout = dropout

    def forward(self, words: Tensor, first: int = 0, kind: int = 0) -> Tensor:
        """words (B, T) int64, from slot `first` on -> (B, T, C)"""
        place = self.position.weight[first : first + words.shape[1]] + self.kind.weight[kind]
        return drop(self.norm(self.word(words) + place), self.dropout, self.training)


class PatchEmbedding(nn.Module):
    """LN_l(dropout(f) W_l + level_l + place W), dropped: a projection and a norm a level, one matrix for places.

    learned  True where a place is a vector of its slot (FashionBERT) and not a map of its corners
    """

    def __init__(self, layout: Layout, dim: int, width: int, dropout: float, *, learned: bool = False):
        super().__init__()
        self.spans = layout.spans
        self.project = nn.ModuleList(nn.Linear(dim, width, bias=False) for _ in self.spans)
        self.norm = nn.ModuleList(nn.LayerNorm(width, EPSILON) for _ in self.spans)
        self.level = nn.Embedding(len(self.spans), width)
        self.place = nn.Embedding(layout.patches, width) if learned else nn.Linear(5, width, bias=False)
        self.learned = learned
        self.dropout = dropout

    def forward(self, patches: Tensor, places: Tensor, levels: Tensor) -> Tensor:
        """patches (B, P, D), places (P, 5) or (B, P, 5), levels (P,) -> (B, P, C)"""
        where = self.level(levels) + (self.place.weight if self.learned else self.place(places))  # (P, C) or (B, P, C)
        patches = drop(patches, self.dropout, self.training)
        grids = []
        for number, of_level in enumerate(self.spans):
            seen = self.project[number](patches[:, of_level]) + where[..., of_level, :]
            grids.append(self.norm[number](seen))
        return drop(torch.cat(grids, dim=1), self.dropout, self.training)


class Meeting(nn.Module):
    """Tells [CLS] what words and patches have in common: the product of both means, as ViLBERT's alignment head has it.

    Not in Kaleido-BERT, which starts from a BERT that was trained on billions of words.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm_words = nn.LayerNorm(width, EPSILON)
        self.norm_patches = nn.LayerNorm(width, EPSILON)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.project = nn.Linear(width, width)

    def forward(self, words: Tensor, patches: Tensor, shown: Tensor) -> Tensor:
        """words (B, T, C), patches (B, P, C), shown (B, T + P) bool -> (B, T, C)   words with [CLS] changed"""
        real, seen = shown[:, 1 : words.shape[1], None], shown[:, words.shape[1] :, None]  # [CLS] is no word
        said = (words[:, 1:] * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        looked = (patches * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        common = self.project(self.norm(self.norm_words(said) * self.norm_patches(looked)))
        return torch.cat([words[:, :1] + common[:, None], words[:, 1:]], dim=1)


class Glance(nn.Module):
    """Tells every word what the whole picture looks like: its patch in slot 0, mapped and added.

    From what is generally known of VL-BERT (Su et al. 2020), whose visual feature of a word is the whole picture's.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, EPSILON)
        self.project = nn.Linear(width, width)

    def forward(self, patches: Tensor, shown: Tensor) -> Tensor:
        """patches (B, P, C), shown (B, P) bool -> (B, 1, C)   what is added to every word; 0 without a picture"""
        return self.project(self.norm(patches[:, :1])) * shown[:, :1, None]


class SingleStream(nn.Module):
    """Words and patches in one encoder, with a head for every objective it was built for.

    vocabulary  word pieces                  dim      length of a patch vector
    objectives  names of the heads: mlm, itm, rotation, jigsaw, camouflage, grey, blank, moc, mrc, mrfr; a ValueError
                for one that the grids do not play, or that takes regions
    grids       the sides of the pyramid of patches that it reads
    regions     in place of grids, {"most": slots, "names": of the classes}
    tags        slots of the words that name what a detector saw, behind the patches (OSCAR)
    places      box, or learned: see `PatchEmbedding`
    streams     1, or 2: words and patches in encoders of their own that look at each other (two_streams.py)
    glance      True where every word is told what the whole picture looks like (VL-BERT)
    classes_of  a recognition task -> how many classes it has; a head each
    readout     what these heads see (recognisers.py)
    likeness    True where words and patches have a say of their own when pairs are ranked (likeness.py)
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        dim: int,
        width: int,
        layers: int,
        heads: int,
        inner: int,
        dropout: float,
        objectives: list[str],
        grids: Sequence[int] = KALEIDO.sides,
        regions: Mapping[str, Any] | None = None,
        tags: int = 0,
        places: str = "box",
        streams: int = 1,
        glance: bool = False,
        positions: int = 512,
        checkpointing: bool = False,
        meeting: bool = False,
        classes_of: Mapping[str, int] | None = None,
        readout: str = "cls",
        likeness: bool = False,
    ):
        super().__init__()
        self.layout = layout_of({"grids": grids, "regions": regions})
        self.classes = puzzles.classes(self.layout)
        self.tags = tags
        self.words = WordEmbedding(vocabulary, width, positions, dropout)
        self.patches = PatchEmbedding(self.layout, dim, width, dropout, learned=places == "learned")
        sizes, seen, numbers = (width, heads, inner, dropout), self.layout.patches + tags, range(layers)
        self.layers = nn.ModuleList(
            Layer(*sizes) if streams == 1 else TwinLayer(*sizes, seen=seen, last=number == numbers[-1])
            for number in numbers
        )
        self.pooler = nn.Linear(width, width)
        self.heads = nn.ModuleDict({name: _head(name, self.layout, width, dim, vocabulary) for name in objectives})
        self.meeting = Meeting(width) if meeting else None
        self.glance = Glance(width) if glance else None
        self.checkpointing = checkpointing
        self.apply(_initialise)
        if self.meeting is not None:
            nn.init.eye_(self.meeting.project.weight)
        self.readout = readout
        self.recognisers = recognisers.heads(dict(classes_of or {}), width=width, readout=readout, dropout=dropout)
        levels = len(self.layout.spans)
        self.likeness = Likeness(torch.zeros(vocabulary), levels=levels, dim=dim, width=width) if likeness else None

    def forward(self, batch: Batch, wanted: Tensor | None = None) -> Tensor:
        """Read a batch.

        wanted (B, K) int64   positions asked for, text slots first, patch p at T + p; None for all
        -> (B, T + P, C) or (B, K, C)   states
        """
        words, patches = self.words(batch.words), self.look(batch.pictures)
        return self.read(words, patches, torch.cat([batch.real, batch.shown], dim=1), wanted)

    def look(self, pictures: Pictures) -> Tensor:
        """Embed what is seen -> (B, P, C)   P counts the slots of tags, which stand last."""
        kind = stream_dtype(self.words.word.weight)
        patches = self.patches(pictures.patches.to(kind), pictures.places, pictures.levels).to(kind)
        if not self.tags:
            return patches
        assert pictures.tags is not None, "the pictures of a system that reads tags have some"
        return torch.cat([patches, self.words(pictures.tags, kind=1).to(kind)], dim=1)

    def read(self, words: Tensor, patches: Tensor, shown: Tensor, wanted: Tensor | None = None) -> Tensor:
        """The encoder alone, for who has the embeddings already.

        words (B, T, C), patches (B, P, C)
        shown (B, T + P) or (B, T + P, T + P) bool   True where a token may be looked at, by all or by each
        -> (B, T + P, C) or (B, K, C)
        """
        words = self.meet(words, patches, shown if shown.ndim == 2 else shown[:, 0])  # what [CLS] may look at
        x = torch.cat([words.to(stream_dtype(words)), patches.to(stream_dtype(words))], dim=1)
        for layer in self.layers[:-1]:
            x = checkpoint(layer, x, shown, use_reentrant=False) if self.checkpointing else layer(x, shown)
        return self.layers[-1](x, shown, wanted)

    def meet(self, words: Tensor, patches: Tensor, shown: Tensor) -> Tensor:
        """What words are told of the picture before they are read: words (B, T, C), shown (B, T + P) -> (B, T, C)."""
        if self.glance is not None:
            words = words + self.glance(patches, shown[:, words.shape[1] :])
        return words if self.meeting is None else self.meeting(words, patches, shown)

    def pooled(self, states: Tensor) -> Tensor:
        """states (B, S, C), [CLS] first -> (B, C)"""
        return torch.tanh(self.pooler(states[:, 0]))

    def match(self, pooled: Tensor) -> Tensor:
        """pooled (B, C) -> (B, 2)   scores of mismatch and match (ITM)"""
        return self.heads["itm"](pooled)

    def log_odds(self, states: Tensor) -> Tensor:
        """states (B, S, C), [CLS] first -> (B,) float32   of "these belong together", by the matching head alone"""
        with torch.autocast(states.device.type, enabled=False):  # bf16 would make ties of what differs by a hundredth
            said = self.match(self.pooled(states.float()))
        return said[:, 1] - said[:, 0]

    def level_means(self, pictures: Pictures) -> Tensor:
        """-> (B, L, D) float   what `likeness` looks at"""
        return means_of(pictures, self.patches.spans)

    def read_out(self, batch: Batch) -> Tensor:
        """Read a batch for its recognisers -> (B, F) float32   the pooled [CLS] and what else `readout` joins to it."""
        first = torch.zeros(len(batch.words), 1, dtype=torch.int64, device=batch.words.device)
        states = self(batch, first if self.readout == "cls" else None)
        with torch.autocast(states.device.type, enabled=False):
            states = states.float()
            pooled = self.pooled(states)
            return recognisers.seen_by_heads(self.readout, pooled, states, batch, self.words.word.weight)

    def recognise(self, name: str, pooled: Tensor) -> Tensor:
        """pooled (B, F), as `read_out` gives it -> (B, classes)   scores of the classes of one recognition task"""
        return self.recognisers[name](pooled)

    def name_words(self, states: Tensor) -> Tensor:
        """states (..., C) -> (..., V)   scores of every word piece (MLM); the decoder is the word table"""
        head = self.heads["mlm"]
        assert isinstance(head, WordHead)
        return F.linear(head.transform(states), self.words.word.weight, head.bias)

    def solve(self, puzzle: str, states: Tensor) -> Tensor:
        """The answer to one puzzle.

        states (B, n, C)   the patches of its level (rotation, jigsaw, camouflage) or those changed (grey, blank), or
                           the hidden regions (moc, mrc, mrfr)
        -> (B, classes) scores, (B, n, K) scores of what regions are (moc, mrc), or (B, n, D) vectors
        """
        head = self.heads[puzzle]
        return head(states.flatten(1)) if puzzle in self.classes else head(states)


def layout_of(sizes: Mapping[str, Any]) -> Layout:
    """What the patches are of a model that is built from `sizes`."""
    regions = sizes.get("regions")
    return Regions(regions["most"], tuple(regions["names"])) if regions else Pyramid(tuple(sizes["grids"]))


def stream_dtype(x: Tensor) -> torch.dtype:
    """What the encoder computes in: the dtype of autocast where it is on, else that of the weights."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class WordHead(nn.Module):
    """BERT's MLM head without its decoder, which is tied to the word table."""

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def transform(self, states: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(states)))


def _head(name: str, layout: Layout, width: int, dim: int, vocabulary: int) -> nn.Module:
    if name == "mlm":
        return WordHead(width, vocabulary)
    if name == "itm":
        return nn.Linear(width, 2)
    if isinstance(layout, Regions):
        if name not in puzzles.OF_REGIONS:
            raise ValueError(f"regions do not play {name!r}; they play {list(puzzles.OF_REGIONS)}")
        return nn.Linear(width, dim if name == "mrfr" else len(layout.names))
    level, classes = layout.level(name), puzzles.classes(layout)
    if name in classes:
        return nn.Linear(level.patches * width, classes[name])
    return nn.Linear(width, dim, bias=False)


def _initialise(module: nn.Module) -> None:
    """Truncated normal of 0.02, zero biases, as BERT (section 6.1 of its table)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
