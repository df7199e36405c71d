"""AAG, the attention-based alignment generator (Kaleido-BERT section 3.3): which patch a word points at.

A captioner looks somewhere for every word it says. A word that it says and the text holds is aligned, at every fine
level, with the patch that covers most of what was looked at. What the paper leaves open is decided here: the region is
where the heat is at least `tau` of its maximum, ties go to the hotter patch, then to the first.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

NONE = -1  # where there is no pair
RASTER = 60  # cells a side that a heat map is spread over; grids of 3, 4 and 5 share its lines
AT_ONCE = 2048  # maps that are spread at a time
TIE = 1e-5  # shares closer than this are equal

# Words that name nothing one could point at.
_STOP_WORDS = """
    a about above after again all also an and any are as at be because been before below between both but by can come
    comes do does down each even every everyone featuring few finished for from give gives go goes has have having her
    here hers him his how i if in into is it its itself just like look looks made make makes more most much my no nor
    not of off on once one only or other our out over own same set she since so some such than that the their them
    then there these they this those through to too two under until up us very was we well were what when where which
    while who will with within without you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Found:
    """The words of some pictures that are aligned.

    row    (W,) int64        which of the pictures
    word   (W,) int64        number of the whole word in its text
    map    (W, g, g) float   the mean of the heat maps of the steps that said it
    patch  (W, L) int64      the patch at each of L levels, row-major; NONE where the map misses the grid
    score  (W, L) float      share of the region that lies in that patch
    """

    row: Tensor
    word: Tensor
    map: Tensor
    patch: Tensor
    score: Tensor


@dataclass(frozen=True)
class Aligned:
    """The pairs of every picture of a catalogue, end to end.

    starts (P + 1,) int64   where the pairs of each picture begin
    pairs  (R, 3) int16     number of the word in the text, index of the level in the pyramid, patch inside the level
    """

    starts: Tensor
    pairs: Tensor

    @classmethod
    def of_rows(cls, picture: Tensor, pairs: Tensor, *, pictures: int) -> "Aligned":
        """From the rows of a table in any order.

        picture (R,) int64, pairs (R, 3) int64 -> the pairs of each of so many pictures, in the order of the rows
        """
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(picture, minlength=pictures).cumsum(0)])
        assert len(starts) == pictures + 1, "the pairs are of other pictures"
        return cls(starts, pairs[picture.argsort(stable=True)].to(torch.int16).reshape(-1, 3))

    @classmethod
    def of_table(cls, table: pd.DataFrame, *, pictures: int) -> "Aligned":
        """From a table of the stage `align`: picture, word, level, patch."""
        rows = torch.tensor(table[["picture", "word", "level", "patch"]].to_numpy(dtype=np.int64))
        return cls.of_rows(rows[:, 0], rows[:, 1:], pictures=pictures)

    @classmethod
    def none(cls, pictures: int) -> "Aligned":
        """No pair anywhere: the source `none`."""
        return cls.of_rows(torch.empty(0, dtype=torch.int64), torch.empty(0, 3, dtype=torch.int64), pictures=pictures)

    @property
    def most(self) -> int:
        """How many pairs the richest picture has."""
        return int(self.starts.diff().max()) if len(self.starts) > 1 else 0

    def of(self, pictures: Tensor) -> Tensor:
        """The pairs of some pictures: (B,) int64 -> (B, M, 3) int64, M the most that one of them has, NONE behind."""
        counts = self.starts[pictures + 1] - self.starts[pictures]  # (B,)
        place = torch.arange(int(counts.max()) if len(counts) else 0)
        there = place < counts[:, None]  # (B, M)
        padded = torch.full((*there.shape, 3), NONE, dtype=torch.int64)
        padded[there] = self.pairs[(self.starts[pictures][:, None] + place)[there]].long()
        return padded


def shared_words(said: Sequence[str], text: Sequence[str], *, each: bool) -> dict[int, list[int]]:
    """The words of a text that were said, stop words and punctuation left out (co-occurrence).

    said  the words in the order of their heat maps, in any case
    text  the whole words of the text, lower-cased
    each  True: every occurrence in the text has the map of its own saying (the text was told);
          False: the first occurrence has those of all its sayings (the captioner spoke freely)
    -> number of the word in the text -> the steps that said it
    """
    places: dict[str, list[int]] = defaultdict(list)
    for number, word in enumerate(text):
        if word not in STOP_WORDS and any(letter.isalnum() for letter in word):
            places[word].append(number)
    steps: dict[int, list[int]] = defaultdict(list)
    times: dict[str, int] = defaultdict(int)
    for step, name in enumerate(said):
        word = name.lower()
        if word in places:
            time = times[word] if each else 0
            if time < len(places[word]):
                steps[places[word][time]].append(step)
            times[word] += 1
    return dict(steps)


def align(
    said: Sequence[Sequence[str]],
    heat: Sequence[Tensor],
    texts: Sequence[Sequence[str]],
    *,
    seen: Tensor,
    grid: Tensor,
    sides: Sequence[int],
    tau: float,
    each: bool,
) -> Found:
    """Align the words of B pictures with patches.

    said   the words said of each picture
    heat   (S, g, g) float of each picture: where the captioner looked for each of them
    texts  the whole words of each picture's text
    seen   (B, 4) float   the box the captioner looked at: left, top, right, bottom in pixels of the picture
    grid   (B, 4) float   the box that the patches are cut from, likewise
    sides  of the L levels that are aligned
    tau    share of a map's maximum from which on a place belongs to the region
    each   as in `shared_words`
    """
    rows: list[int] = []
    words: list[int] = []
    owners: list[int] = []
    steps: list[int] = []
    start = 0
    for number, (names, maps, text) in enumerate(zip(said, heat, texts, strict=True)):
        assert len(names) == len(maps), "every word has its map"
        for word, at in shared_words(names, text, each=each).items():
            owners += [len(words)] * len(at)
            steps += [start + step for step in at]
            rows.append(number)
            words.append(word)
        start += len(maps)
    row = torch.tensor(rows, dtype=torch.int64)
    maps = _means(torch.cat(list(heat))[steps], torch.tensor(owners, dtype=torch.int64), len(words))
    parts = [
        best_patches(spread(maps[some], seen[row[some]], grid[row[some]]), sides, tau=tau)
        for some in torch.arange(len(words)).split(AT_ONCE)
    ]
    patch, score = (torch.cat(part) for part in zip(*parts, strict=True))
    return Found(row, torch.tensor(words, dtype=torch.int64), maps, patch, score)


def spread(maps: Tensor, seen: Tensor, grid: Tensor) -> Tensor:
    """Lay heat maps over other boxes, bilinearly.

    maps (W, g, g) float   row-major from the upper left of the box `seen`
    seen (W, 4) float      left, top, right, bottom in pixels
    grid (W, 4) float      the box that is covered, likewise
    -> (W, RASTER, RASTER) float   sum 1; 0 outside of what was seen, and everywhere where the two do not meet
    """
    size = maps.shape[-1]
    across, down = (_interpolation(seen[:, axis::2], grid[:, axis::2], size) for axis in (0, 1))
    hot = down @ maps @ across.mT
    return hot / hot.sum(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(hot.dtype).tiny)


def best_patches(hot: Tensor, sides: Sequence[int], *, tau: float) -> tuple[Tensor, Tensor]:
    """The patch of each grid that holds most of the region of a map.

    hot (W, R, R) float   as `spread` gives it
    -> patch (W, L) int64 row-major, score (W, L) float   NONE and 0 where the map is 0 everywhere
    """
    region = ((hot >= tau * hot.amax(dim=(1, 2), keepdim=True)) & (hot > 0)).to(hot.dtype)
    region /= region.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    patches, scores = [], []
    for side in sides:
        lines = _lines(side, hot.shape[-1]).to(hot.dtype)
        score = (lines @ region @ lines.T).flatten(1)  # (W, side * side)
        mass = (lines @ hot @ lines.T).flatten(1)
        most = score.amax(dim=1, keepdim=True)
        mass = mass.where(score >= most - TIE, -1.0)
        first = (mass >= mass.amax(dim=1, keepdim=True) - TIE).byte().argmax(dim=1, keepdim=True)
        patches.append(first.where(most > 0, NONE))
        scores.append(most)
    return torch.cat(patches, dim=1), torch.cat(scores, dim=1)


def slots_of(whole: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pieces of some words stand.

    whole (W, T) int64   the numbers of the whole words of the text of each, as in `Texts.whole`
    word  (W,) int64     which of them
    -> first (W,), end (W,) int64   slots, the end exclusive
    """
    mine = (whole == word[:, None]).to(torch.int8)
    first = mine.argmax(dim=1)
    return first, first + mine.sum(dim=1)


def _means(maps: Tensor, owner: Tensor, count: int) -> Tensor:
    """The mean map of each owner: maps (S, g, g), owner (S,) int64 -> (count, g, g)."""
    sums = torch.zeros(count, *maps.shape[1:], dtype=maps.dtype).index_add_(0, owner, maps)
    return sums / torch.bincount(owner, minlength=count).clamp_min(1)[:, None, None]


def _interpolation(seen: Tensor, grid: Tensor, size: int) -> Tensor:
    """Weights of the cells of a map at the middles of the raster, along one axis.

    seen, grid (W, 2) float   from, to -> (W, RASTER, size) float
    """
    middles = (torch.arange(RASTER) + 0.5) / RASTER
    point = grid[:, :1] + middles * (grid[:, 1:] - grid[:, :1])  # (W, R)
    at = (point - seen[:, :1]) / (seen[:, 1:] - seen[:, :1]) * size
    inside = (at >= 0) & (at <= size)
    near = (at - 0.5).clamp(0, size - 1)  # beyond the middle of the outermost cell its own value goes on
    weights = (1 - (near[..., None] - torch.arange(size)).abs()).clamp_min(0)
    return weights * inside[..., None]


def _lines(side: int, cells: int) -> Tensor:
    """How much of each cell of a raster lies in each row of a grid -> (side, cells) float64."""
    edges = torch.arange(side + 1, dtype=torch.float64) * cells / side
    cell = torch.arange(cells, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], cell + 1) - torch.maximum(edges[:-1, None], cell)
    return overlap.clamp_min(0)
