"""Learn to find objects: pictures, their true boxes, and what a detector is told about what it found.

The decoder's queries learn as RT-DETR's do (each true box belongs to one query; beside them noised boxes are put
right). But what the papers learn in days has to be learned in minutes here: of the cells that queries are picked from
not one, but the few that fit best are told of each true box (tasks/cells.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
import torch
from torch import Generator, Tensor
from transformers import RTDetrV2ForObjectDetection

from fashionvl.batches import moved
from fashionvl.models.detector import corners
from fashionvl.models.scratch_detector import STRIDES
from fashionvl.patches.glimpses import look, places_in
from fashionvl.tasks import cells
from fashionvl.tasks.contrast import Album
from fashionvl.tasks.pairs import Chance

CORNERS = ["x0", "y0", "x1", "y1"]
LEFT = 0.4  # of an object must show in a window, or it is not asked for
DECODER = {"classes": "vfl", "sides": "bbox", "overlap": "giou"}  # its losses, and how `transformers` names them
LOSSES = (*DECODER, "cells", "cell_boxes")  # all of the weight 1: they come weighted as RT-DETR weights them


@dataclass(frozen=True)
class Objects:
    """The true objects of n pictures, picture by picture.

    boxes (N, 4) float    x1, y1, x2, y2 in [0, 1]
    kinds (N,) int64      their classes
    start (n + 1,) int64  those of picture i are start[i] to start[i + 1]
    """

    boxes: Tensor
    kinds: Tensor
    start: Tensor

    def of(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """pictures (B,) int64 -> rows (k,) int64 of their objects; owner (k,) int64, in [0, B), rising"""
        counts = self.start[pictures + 1] - self.start[pictures]
        owner = torch.arange(len(pictures)).repeat_interleave(counts)
        before = counts.cumsum(0) - counts
        return (self.start[pictures] - before)[owner] + torch.arange(len(owner)), owner


@dataclass(frozen=True)
class Desk:
    """All that questions are made from.

    album    the pixels of the pictures that are learned from; numbers of `objects`' pictures
    height, width  of a picture as it is seen
    jitter   how far a window may move and stretch, as a share of the picture
    mirror   True where pictures may be mirrored
    """

    album: Album
    objects: Objects
    height: int
    width: int
    jitter: float
    mirror: bool


@dataclass(frozen=True)
class Question:
    """Pictures, and what is in them.

    pictures (B, 3, H, W) uint8
    boxes    (k, 4) float  x1, y1, x2, y2 in [0, 1], of all pictures together
    kinds    (k,) int64
    owner    (k,) int64    whose objects they are: in [0, B), rising
    counts   how many objects there are, for each loss
    """

    pictures: Tensor
    boxes: Tensor
    kinds: Tensor
    owner: Tensor
    counts: dict[str, float]

    def to(self, device: torch.device) -> "Question":
        return moved(self, device)


def named(parts: pd.DataFrame, patterns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One class a box: several words may point at it.

    parts     one row a word of a box: picture, noun (what its product is), word, x0, y0, x1, y1
    patterns  the words that point at a pattern, by the one that is that pattern's alone; a pattern is no object
    -> one row an object, by picture: picture, name, x0, y0, x1, y1. The name is the noun where that is one of the
       box's words, and else the first of them.
    """
    words: dict[tuple[int, ...], list[str]] = {}
    nouns: dict[tuple[int, ...], str] = {}
    for picture, noun, word, *box in parts[["picture", "noun", "word", *CORNERS]].itertuples(index=False):
        words.setdefault((picture, *box), []).append(word)
        nouns[picture, *box] = noun
    rows = []
    for place, said in words.items():
        never = {word for pattern in patterns.keys() & set(said) for word in patterns[pattern]}
        left = [word for word in said if word not in never]
        if left:
            rows.append((place[0], nouns[place] if nouns[place] in left else left[0], *place[1:]))
    table = pd.DataFrame(rows, columns=["picture", "name", *CORNERS])
    return table.sort_values("picture", kind="stable", ignore_index=True)


def classes_of(names: pd.Series, *, least: int) -> list[str]:
    """The names that at least so many objects of the training split bear, in order of the alphabet."""
    counts = names.value_counts()
    return sorted(counts[counts >= least].index)


def objects_of(table: pd.DataFrame, classes: Sequence[str], sizes: Tensor) -> Objects:
    """The objects of these classes as tensors.

    table  as `named` gives it
    sizes  (n, 2) int64   width and height of all pictures
    """
    kept = table[table["name"].isin(classes)]
    numbers = {name: number for number, name in enumerate(classes)}
    pictures = torch.tensor(kept["picture"].to_numpy())
    boxes = torch.tensor(kept[CORNERS].to_numpy()).float() / sizes[pictures].repeat(1, 2)
    kinds = torch.tensor([numbers[name] for name in kept["name"]], dtype=torch.int64)
    start = torch.searchsorted(pictures, torch.arange(len(sizes) + 1))
    return Objects(boxes, kinds, start)


def drawing(desk: Desk, *, batch: int, chance: Chance) -> Callable[[int, int, int], Question]:
    """-> draw(step, part, parts): the question of one part of the global batch of a step; a pure function.

    An epoch shows every picture of the album once at most.
    """
    pictures = desk.album.pictures
    batch = min(batch, len(pictures))
    in_epoch = len(pictures) // batch

    @lru_cache(maxsize=2)
    def epoch(number: int) -> Tensor:
        return pictures[torch.randperm(len(pictures), generator=chance(0, number))]

    def draw(step: int, part: int, parts: int) -> Question:
        at = step % in_epoch * batch
        mine = slice(at + part * batch // parts, at + (part + 1) * batch // parts)
        return ask(desk, epoch(step // in_epoch)[mine], generator=chance(1, step, part))

    return draw


def ask(desk: Desk, pictures: Tensor, *, generator: Generator) -> Question:
    """Look at some pictures (B,) int64, each through a window that is moved at random, maybe mirrored."""
    rows, owner = desk.objects.of(pictures)
    whole = torch.ones((len(pictures), 1), dtype=torch.int64)
    windows = places_in(whole, jitter=desk.jitter, mirror=desk.mirror, generator=generator)  # (B, 1, 4)
    seen = look(desk.album.of(pictures), windows, height=desk.height, width=desk.width)[:, 0]
    boxes, shown = through(windows[owner, 0], desk.objects.boxes[rows])
    counts = dict.fromkeys(LOSSES, float(shown.sum()))
    return Question(seen, boxes[shown], desk.objects.kinds[rows][shown], owner[shown], counts)


def through(windows: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Where boxes are in the windows that they are seen through.

    windows (k, 4) float   left, top, right, bottom; left > right is mirrored
    boxes   (k, 4) float   x1, y1, x2, y2
    ->
    seen    (k, 4) float   x1, y1, x2, y2 in [0, 1] of the window
    shown   (k,) bool      True where enough of the object shows
    """
    origin, size = windows[:, None, :2], (windows[:, 2:] - windows[:, :2])[:, None]
    moved_ends = ((boxes.view(-1, 2, 2) - origin) / size).sort(dim=1).values  # (k, 2 ends, 2)
    seen = moved_ends.clamp(0, 1)
    before, after = (ends.diff(dim=1).prod(dim=-1)[:, 0] for ends in (moved_ends, seen))
    return seen.flatten(1), after > LEFT * before


def losses_of(network: RTDetrV2ForObjectDetection, question: Question, *, most: int) -> dict[str, Tensor]:
    """The losses of one question, summed over its objects.

    network  of scratch_detector.py, in training
    most     cells that are told of each object
    """
    height, width = question.pictures.shape[2:]
    pixels = question.pictures.contiguous(memory_format=torch.channels_last) / 255  # a twentieth faster
    found = network(pixel_values=pixels, labels=labels_of(question))
    never = f"_aux_{network.config.decoder_layers - 1}"  # one cell an object: what `cells` stands in the place of
    said = {name: loss for name, loss in found.loss_dict.items() if not name.endswith(never)}
    sums = {
        name: sum(loss for key, loss in said.items() if key.startswith(f"loss_{part}")) * max(1, len(question.owner))
        for name, part in DECODER.items()
    }
    truth = cells.Truth.of(question.boxes, question.kinds, question.owner, pictures=len(question.pictures))
    maps = cells.cells_of(height, width, STRIDES).to(question.boxes.device)
    boxes = corners(found.enc_outputs_coord_logits.sigmoid())
    classes, sides = cells.losses_of(found.enc_outputs_class, boxes, truth, maps, most=most)
    return {**sums, "cells": classes, "cell_boxes": sides}


def labels_of(question: Question) -> list[dict[str, Tensor]]:
    """The objects of each picture as `transformers` wants them: centre x, centre y, width, height."""
    ends = question.boxes
    boxes = torch.cat([(ends[:, :2] + ends[:, 2:]) / 2, ends[:, 2:] - ends[:, :2]], dim=1)
    counts = torch.bincount(question.owner, minlength=len(question.pictures)).tolist()
    rows = zip(boxes.split(counts), question.kinds.split(counts), strict=True)
    return [{"boxes": some, "class_labels": kinds} for some, kinds in rows]
