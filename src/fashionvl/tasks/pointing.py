"""How well words point, where a catalogue says which part of a picture each word means (the generated sample does).

A pair is judged where the truth has a box of that very word, as the text writes it ("pockets" is not "pocket"), in that
picture, and the word's part is small: pointing at the whole garment is no art. It hits where its patch overlaps a box.
Beside it stands what uniformly random patches would hit on the same words, computed, not drawn.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionvl.catalogue import Catalogue
from fashionvl.patches.pyramid import Pyramid, cells, edges

SMALL = 0.15  # of the picture; a larger part is not asked for
TRUTH = ("product_id", "view", "word", "x0", "y0", "x1", "y1")
CORNERS = ["x0", "y0", "x1", "y1"]

Boxes = NDArray[np.int64]


def truth_of(catalogue: Catalogue, parts: pd.DataFrame) -> pd.DataFrame:
    """What is true of the pictures of a catalogue.

    parts  one row a box: product_id, view, word, and x0, y0, x1, y1 in pixels of the picture, x1 and y1 exclusive
    -> one row a box of a small part: picture (index), text (the word), x0, y0, x1, y1, share (of the picture, of all
       boxes of that word in it together)
    """
    pictures = catalogue.pictures.reset_index(names="picture")
    pictures["product_id"] = catalogue.products["product_id"].to_numpy()[pictures["product"]]
    kept = pictures[["picture", "product_id", "view", "width", "height"]]
    found = parts.merge(kept, on=["product_id", "view"]).rename(columns={"word": "text"})
    area = found["width"] * found["height"]
    together = found.groupby(["picture", "text"], sort=False).indices
    covered = np.zeros(len(found))
    corners = found[CORNERS].to_numpy()
    for rows in together.values():
        covered[rows] = union_area(corners[rows])
    found["share"] = covered / area
    return found.loc[found["share"] < SMALL, ["picture", "text", *CORNERS, "share"]].reset_index(drop=True)


def union_area(boxes: Boxes) -> int:
    """The area that boxes (k, 4) cover together, each part of it counted once."""
    if len(boxes) == 1:
        return int((boxes[0, 2] - boxes[0, 0]) * (boxes[0, 3] - boxes[0, 1]))
    across, down = np.unique(boxes[:, ::2]), np.unique(boxes[:, 1::2])
    inside = (
        (boxes[:, 0, None, None] <= across[:-1])
        & (across[:-1] < boxes[:, 2, None, None])
        & (boxes[:, 1, None, None] <= down[:-1, None])
        & (down[:-1, None] < boxes[:, 3, None, None])
    ).any(axis=0)  # (rows, columns) of the grid that all edges make
    return int((inside * np.diff(down)[:, None] * np.diff(across)).sum())


def patch_boxes(grids: Boxes, side: int) -> Boxes:
    """Every patch of one level in pixels of its picture: boxes (N, 4) -> (N, side * side, 4), row-major."""
    across = np.array([edges(left, right, side) for left, _, right, _ in grids.tolist()])  # (N, side + 1)
    down = np.array([edges(top, bottom, side) for _, top, _, bottom in grids.tolist()])
    row, column = np.array(cells(side)).T
    return np.stack([across[:, column], down[:, row], across[:, column + 1], down[:, row + 1]], axis=-1)


def judge(pairs: pd.DataFrame, truth: pd.DataFrame, grids: Boxes, pyramid: Pyramid) -> pd.DataFrame:
    """Hold pairs against the truth.

    pairs  picture, text, level, patch
    truth  as `truth_of` gives it
    grids  (pictures, 4)   the box that the patches of every picture are cut from
    -> the pairs that can be judged, with side, share, hit (bool) and chance (float: what a random patch hits)
    """
    pairs = pairs.reset_index(drop=True)
    joined = pairs.reset_index(names="pair").merge(truth, on=["picture", "text"])
    judged = []
    for level in joined["level"].unique().tolist():
        rows = joined[joined["level"] == level].sort_values("pair", kind="stable")
        side = pyramid.levels[level].side
        pictures, at = np.unique(rows["picture"], return_inverse=True)
        patches = patch_boxes(grids[pictures], side)[at]  # (rows, side * side, 4)
        box = rows[CORNERS].to_numpy()[:, None]
        low, high = np.maximum(patches[..., :2], box[..., :2]), np.minimum(patches[..., 2:], box[..., 2:])
        pair, first = np.unique(rows["pair"], return_index=True)
        meets = np.logical_or.reduceat((low < high).all(axis=-1), first)  # (pairs, side * side)
        chosen = pairs.loc[pair]
        hit = meets[np.arange(len(pair)), chosen["patch"]]
        share = rows["share"].to_numpy()[first]
        judged.append(chosen.assign(side=side, share=share, hit=hit, chance=meets.mean(axis=1)))
    empty = pairs.iloc[:0].assign(side=0, share=0.0, hit=False, chance=0.0)
    return pd.concat(judged, ignore_index=True) if judged else empty


def skills(judged: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Shares of hits by some columns.

    -> one row a group: pairs, hit, random (the expected share of hits of random patches), skill ((hit - random) /
       (1 - random); 1 is every pair, 0 is chance; no number where a random patch always hits)
    """
    table = judged.groupby(by).agg(pairs=("hit", "size"), hit=("hit", "mean"), random=("chance", "mean")).reset_index()
    room = (1 - table["random"]).where(table["random"] < 1)
    return table.assign(skill=(table["hit"] - table["random"]) / room)
