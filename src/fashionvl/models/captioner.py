"""Show, Attend and Tell (Xu et al., ICML 2015): a captioner that looks somewhere in the picture for every word.

Kaleido-BERT takes its alignments from where it looks (AAG, section 3.3). Soft attention (section 4.2 of that paper)
feeds the decoder. Beside it stands a word detector (Fang et al., CVPR 2015, section 3): which words each cell shows,
learned from whole texts by multiple instances. A heat map is the attention, which cells speak for a word in the
decoder, or which cells show it to the detector.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RARE = -3.0  # log-odds that a text holds some word, at the start
WORD_SPREAD = 0.1  # standard deviation of the word vectors at the start
EVEN = 1e-5  # of log probability, so that a word no cell speaks for has an even map


@dataclass(frozen=True)
class Scene:
    """What of some pictures stays the same while a caption is said.

    cells (B, L, D) float   the feature map, normalised
    keys  (B, L, C) float   what attention compares with
    """

    cells: Tensor
    keys: Tensor

    def of(self, rows: Tensor) -> "Scene":
        """The scenes of some rows, repeats allowed."""
        return Scene(self.cells[rows], self.keys[rows])


@dataclass(frozen=True)
class Memory:
    """Where the decoder stands: state and cell of its LSTM, (B, C) each."""

    state: Tensor
    cell: Tensor

    def of(self, rows: Tensor) -> "Memory":
        return Memory(self.state[rows], self.cell[rows])


@dataclass(frozen=True)
class Glance:
    """What the decoder does before it says a word.

    heat (B, L) float   where it looks: the attention, sum 1
    gate (B, D) float   how much of what it sees counts, number by number
    seen (B, D) float   what it sees there, gated
    said (B, C) float   the word before
    """

    heat: Tensor
    gate: Tensor
    seen: Tensor
    said: Tensor


class Captioner(nn.Module):
    """Soft attention over a feature map, an LSTM, and deep output over whole words.

    vocabulary  whole words, the special ones counted
    dim         length of a vector of the feature map
    side        cells of a map along a side
    block       side of the square of cells that the decoder sees as one, the detector one by one; divides `side`
    """

    def __init__(self, *, vocabulary: int, dim: int, side: int, block: int, width: int, dropout: float):
        super().__init__()
        self.side, self.block = side, block
        cells = (side // block) ** 2
        self.word = nn.Embedding(vocabulary, width)
        self.norm = nn.LayerNorm(dim)
        self.key = nn.Linear(dim, width)
        self.place = nn.Parameter(torch.zeros(cells, width))
        self.query = nn.Linear(width, width)
        self.energy = nn.Linear(width, 1)
        self.gate = nn.Linear(width, dim)
        self.first_state = nn.Linear(dim, width)
        self.first_cell = nn.Linear(dim, width)
        self.lstm = nn.LSTMCell(width + dim, width)
        self.from_state = nn.Linear(width, width)
        self.from_seen = nn.Linear(dim, width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dropout = nn.Dropout(dropout)
        self.detector = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.shown = nn.Linear(width, vocabulary)
        nn.init.normal_(self.word.weight, std=WORD_SPREAD)
        nn.init.normal_(self.place, std=WORD_SPREAD)
        nn.init.constant_(self.shown.bias, RARE)

    def look(self, maps: Tensor) -> tuple[Scene, Memory]:
        """maps (B, L, D) float -> what stays the same, and the memory before the first word."""
        cells = self.norm(self._coarse(maps))
        mean = cells.mean(dim=1)
        first = Memory(torch.tanh(self.first_state(mean)), torch.tanh(self.first_cell(mean)))
        return Scene(cells, self.key(cells) + self.place), first

    def _coarse(self, maps: Tensor) -> Tensor:
        """(B, L, D) -> (B, L / block^2, D)   the means of blocks of cells"""
        few = self.side // self.block
        return maps.view(len(maps), few, self.block, few, self.block, -1).mean(dim=(2, 4)).flatten(1, 2)

    def step(self, scene: Scene, memory: Memory, before: Tensor) -> tuple[Glance, Memory]:
        """Look, and get ready to say the next word.

        before (B,) int64   the word said before
        """
        energy = self.energy(torch.tanh(scene.keys + self.query(memory.state)[:, None]))[..., 0]
        heat = energy.float().softmax(dim=1)
        gate = torch.sigmoid(self.gate(memory.state))
        seen = gate * (heat[:, None].to(scene.cells.dtype) @ scene.cells)[:, 0]
        said = self.word(before)
        state, cell = self.lstm(torch.cat([self.dropout(said), seen], dim=1), (memory.state, memory.cell))
        return Glance(heat, gate, seen, said), Memory(state, cell)

    def scores(self, said: Tensor, state: Tensor, seen: Tensor) -> Tensor:
        """Deep output (Eq. 7): scores of every word (..., V) from the word before, the state and what is seen.

        said (..., C), state (..., C), seen (..., D), all but the last dimension broadcast
        """
        mixed = torch.tanh(said + self.from_state(state) + self.from_seen(seen))
        return F.linear(self.dropout(mixed), self.word.weight, self.bias)

    def forward(self, maps: Tensor, words: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Teacher forcing: every word after the ones before it.

        maps  (B, L, D) float
        words (B, T) int64   the caption
        start                the word that stands before the first
        -> scores (B, T, V), heat (B, T, L) float, L blocks
        """
        scene, memory = self.look(maps)
        glances, states = [], []
        for before in _before(words, start).unbind(dim=1):
            glance, memory = self.step(scene, memory, before)
            glances.append(glance)
            states.append(memory.state)
        said, seen, heat = (
            torch.stack([getattr(g, name) for g in glances], dim=1) for name in ("said", "seen", "heat")
        )
        return self.scores(said, torch.stack(states, dim=1), seen), heat

    def shows(self, maps: Tensor) -> Tensor:
        """maps (B, L, D) float -> (B, L, V) float   the log-odds, by each cell alone, that the text holds each word"""
        return self.shown(self.detector(maps))

    def origins(self, maps: Tensor, words: Tensor, start: int) -> Tensor:
        """Which cells speak for each word of a caption: where seeing it alone makes the word likelier than seeing
        the average cell alone does, in proportion to by how much (log ratio); what comes before the word is known.

        Soft attention answers another question, where the decoder looked before it knew the word, and may answer it
        with "everywhere". Arguments as in `forward` -> (B, T, L) float, sum 1 over the L blocks; even
        where none stands out
        """
        scene, memory = self.look(maps)
        heats = []
        for before, word in zip(_before(words, start).unbind(dim=1), words.unbind(dim=1), strict=True):
            glance, memory = self.step(scene, memory, before)
            alone = glance.gate[:, None] * scene.cells  # (B, L, D)
            scores = self.scores(glance.said[:, None], memory.state[:, None], alone).float()
            likely = scores.log_softmax(dim=2).gather(2, word[:, None, None].expand(-1, scores.shape[1], 1))[..., 0]
            heats.append(F.normalize((likely - likely.mean(dim=1, keepdim=True)).clamp(min=0) + EVEN, p=1, dim=1))
        return torch.stack(heats, dim=1)


def _before(words: Tensor, start: int) -> Tensor:
    """(B, T) -> (B, T)   the word that stands before each."""
    return torch.cat([torch.full_like(words[:, :1], start), words[:, :-1]], dim=1)
