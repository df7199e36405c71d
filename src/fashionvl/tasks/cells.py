"""What the cells of a detector's maps are told: each object to the few cells that fit it best (TOOD, ICCV 2021).

A cell fits an object by how likely it finds the object's class and by how much its box overlaps the object's. The
better it fits, the surer it is to become; all other cells are to see nothing (varifocal loss).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 4  # how much more overlap counts than class
NOTHING = 0.75  # weight of a cell that is to see nothing, before it is weighted by how wrong it is
SIDES, OVERLAP = 5.0, 2.0  # weights of the two losses of a box, as RT-DETR has them


@dataclass(frozen=True)
class Truth:
    """The objects of B pictures, each with as many slots as the fullest.

    boxes (B, M, 4) float  x1, y1, x2, y2 in [0, 1]
    kinds (B, M) int64     0 where no object stands
    real  (B, M) bool      True where one stands
    """

    boxes: Tensor
    kinds: Tensor
    real: Tensor

    @classmethod
    def of(cls, boxes: Tensor, kinds: Tensor, owner: Tensor, *, pictures: int) -> "Truth":
        """boxes (k, 4), kinds (k,), owner (k,) int64 in [0, pictures), rising"""
        counts = torch.bincount(owner, minlength=pictures)
        slot = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
        shape = (pictures, max(1, int(counts.max())))
        padded = boxes.new_zeros((*shape, 4)).index_put((owner, slot), boxes)
        numbers = kinds.new_zeros(shape).index_put((owner, slot), kinds)
        real = torch.zeros(shape, dtype=torch.bool, device=owner.device)
        return cls(padded, numbers, real.index_put((owner, slot), torch.ones_like(owner, dtype=torch.bool)))


def cells_of(height: int, width: int, strides: Sequence[int]) -> Tensor:
    """The cells of the maps of a picture -> (L, 4) float   x1, y1, x2, y2 in [0, 1]; the finest map first, row-major"""
    maps = []
    for stride in strides:
        down, across = torch.arange(height // stride), torch.arange(width // stride)
        y, x = torch.meshgrid(down / len(down), across / len(across), indexing="ij")
        maps.append(torch.stack([x, y, x + 1 / len(across), y + 1 / len(down)], dim=-1).flatten(0, 1))
    return torch.cat(maps)


def losses_of(logits: Tensor, boxes: Tensor, truth: Truth, cells: Tensor, *, most: int) -> tuple[Tensor, Tensor]:
    """The losses of what cells say, summed over the objects.

    logits (B, L, K) float  of the classes
    boxes  (B, L, 4) float  x1, y1, x2, y2 in [0, 1]
    cells  (L, 4) float     where the cells are
    most   cells that are told of each object
    -> the loss of the classes, the loss of the boxes
    """
    owner, worth = told(logits, boxes, truth, cells, most=most)
    kinds = truth.kinds.gather(1, owner)
    target = torch.zeros_like(logits).scatter(2, kinds[..., None], worth[..., None])
    weight = torch.where(target > 0, 1.0, NOTHING * logits.detach().sigmoid().square())
    classes = F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="sum")
    seen = worth > 0
    right = truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4))[seen]
    sides = (boxes[seen] - right).abs().sum()
    overlap = (1 - generalised_overlap(boxes[seen], right)).sum()
    return classes / most, (SIDES * sides + OVERLAP * overlap) / most


@torch.no_grad()
def told(logits: Tensor, boxes: Tensor, truth: Truth, cells: Tensor, *, most: int) -> tuple[Tensor, Tensor]:
    """Which object each cell is told of.

    logits, boxes, cells  as in `losses_of`
    ->
    owner (B, L) int64  the slot of the object
    worth (B, L) float  how sure the cell is to become of it; 0 where it is to see nothing
    """
    kinds = truth.kinds[:, None].expand(-1, logits.shape[1], -1)
    likely = logits.sigmoid().gather(2, kinds).transpose(1, 2)  # (B, M, L)
    share = overlaps(truth.boxes, boxes)
    near = touching(truth.boxes, cells) & truth.real[..., None]
    fit = likely.sqrt() * share.pow(SHARPNESS) * near
    best, where = fit.topk(min(most, fit.shape[2]), dim=2)
    chosen = torch.zeros_like(fit).scatter(2, where, best)
    reached = (share * (chosen > 0)).amax(dim=2, keepdim=True)  # by the best box of all cells of an object
    worth = chosen / chosen.amax(dim=2, keepdim=True).clamp(min=torch.finfo(fit.dtype).tiny) * reached
    most_worth, owner = worth.max(dim=1)
    return owner, most_worth


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """boxes (B, M, 4), others (B, L, 4), both x1, y1, x2, y2 -> (B, M, L) float   the shared area over the joint one"""
    low = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    return shared / (area(boxes)[:, :, None] + area(others)[:, None] - shared).clamp(min=1e-9)


def touching(boxes: Tensor, cells: Tensor) -> Tensor:
    """boxes (B, M, 4), cells (L, 4) -> (B, M, L) bool   True where they share some area"""
    low = torch.maximum(boxes[:, :, None, :2], cells[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], cells[:, 2:])
    return (high > low).all(dim=-1)


def generalised_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Pair by pair, boxes (k, 4), others (k, 4) -> (k,) float in [-1, 1]   1 where equal, below 0 where apart (GIoU)"""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    joint = (area(boxes) + area(others) - shared).clamp(min=1e-9)
    around = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    hull = around.prod(dim=-1).clamp(min=1e-9)
    return shared / joint - (hull - joint) / hull


def area(boxes: Tensor) -> Tensor:
    """(..., 4) x1, y1, x2, y2 -> (...)"""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
