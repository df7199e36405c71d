"""Which pictures the report of the stage `align` shows, and what is to be seen on them."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fashionvl import alignment, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.stages import captioner
from fashionvl.stages.align_desk import SOURCES, Desk
from fashionvl.stages.gallery import Box, Pointed, Row, Shown
from fashionvl.tasks import pointing
from fashionvl.training import chance_of

MOST_WORDS = 10  # of a picture that are drawn for each source


def show(
    desk: Desk, settings: config.Params, build: Path, table: pd.DataFrame, truth: pd.DataFrame | None
) -> list[Shown]:
    """One picture each of some validation products that have a pair, with what both sources say of it.

    table  the pairs of the source `caption`
    truth  as `pointing.truth_of` gives it, None where it is not known
    """
    chosen = choose(desk.catalogue, table, settings.alignment.pictures, chance_of(settings.seed)(9))
    rows: dict[int, list[Row]] = {picture: [] for picture in chosen.tolist()}
    for pictures, described in captioner.described(desk.catalogue, chosen, settings, build) if len(chosen) else ():
        for source in SOURCES:
            found = desk.found(pictures, described[source], source)
            for at, picture in enumerate(pictures.tolist()):
                mine = torch.nonzero(found.row == at).ravel().tolist()[:MOST_WORDS]
                pointed = tuple(_pointed(desk, picture, found, word, truth) for word in mine)
                rows[picture].append(Row(source, tuple(described[source].words[at]), pointed))
    return [_shown(desk, picture, tuple(of), settings.catalogue.max_megapixels) for picture, of in rows.items()]


def choose(catalogue: Catalogue, table: pd.DataFrame, count: int, chance: torch.Generator) -> NDArray[np.int64]:
    """-> (at most count,) int64   pictures of different validation products that have pairs, rising."""
    mine = np.intersect1d(table["picture"].unique(), catalogue.pictures_in("val"))
    mixed = mine[torch.randperm(len(mine), generator=chance).numpy()]
    products = catalogue.pictures["product"].to_numpy()[mixed]
    _, first = np.unique(products, return_index=True)
    return np.sort(mixed[np.sort(first)[:count]])


def _shown(desk: Desk, picture: int, rows: tuple[Row, ...], max_megapixels: float) -> Shown:
    row = desk.catalogue.pictures.iloc[picture].to_dict()
    product = desk.catalogue.products.iloc[row["product"]].to_dict()
    return Shown(
        open_rgb(desk.catalogue.root, row["path"], max_megapixels=max_megapixels),
        name=f"{product['product_id']} {row['view']}",
        title=product["title"] or product["product_id"],
        split=product["split"],
        text=tuple(desk.spoken[row["product"]]),
        rows=rows,
    )


def _pointed(desk: Desk, picture: int, found: alignment.Found, at: int, truth: pd.DataFrame | None) -> Pointed:
    """One word that was found, with its heat over the whole picture."""
    row = desk.catalogue.pictures.iloc[picture].to_dict()
    text = desk.spoken[row["product"]][int(found.word[at])]
    seen, whole = torch.tensor(desk.seen[picture]), torch.tensor([0, 0, row["width"], row["height"]])
    hot = alignment.spread(found.map[at][None], seen[None].float(), whole[None].float())[0]
    boxes: list[Box] = []
    if truth is not None:
        mine = (truth["picture"] == picture) & (truth["text"] == text)
        boxes = [(x0, y0, x1, y1) for x0, y0, x1, y1 in truth.loc[mine, pointing.CORNERS].to_numpy().tolist()]
    patches: list[tuple[int, Box]] = []
    for level, patch in zip(desk.levels, found.patch[at].tolist(), strict=True):
        if patch != alignment.NONE:
            side = desk.store.layout.levels[level].side
            left, top, right, bottom = pointing.patch_boxes(desk.grids[[picture]], side)[0, patch].tolist()
            patches.append((side, (left, top, right, bottom)))
    brightest = hot.max().clamp_min(torch.finfo(hot.dtype).tiny)
    return Pointed(text, (hot / brightest).numpy(), tuple(patches), tuple(boxes))
