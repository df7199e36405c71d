"""What a row of CLIP's family does not see, drawn over real products: clusters and their anchors, and what is left."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fashionvl import checkpoint, clusters, config, training
from fashionvl.catalogue import Catalogue
from fashionvl.stages import clip
from fashionvl.stages.album import read
from fashionvl.stages.gallery import COLOURS, PAPER, laid, outline
from fashionvl.tasks.hiding import NOBODY, Hiding, companions, kept

PRODUCTS, IN_ROW = 6, 2
TALL = 260  # pixels of a drawn picture
GAP, WIDER = 10, 34
AWAY = "#c5ccd6"
TINT, FADED = 0.55, 0.88  # how far a patch takes the colour of its anchor, and how far a hidden one fades


def draw(folder: Path, catalogue: Catalogue, settings: config.Params) -> Image.Image:
    """A sheet of some products of the split that is ranked, as a trained run folder hides of them."""
    model, row = clip.load(folder)
    hiding = config.build(Hiding, checkpoint.read_card(folder)["hiding"], "hiding")
    first = catalogue.first_pictures()[catalogue.in_split(settings.evaluate.ranking_on)]
    some = first[:: max(1, len(first) // PRODUCTS)][:PRODUCTS]
    paths = catalogue.pictures["path"].to_numpy()[some].tolist()
    most = settings.catalogue.max_megapixels
    pixels = read(catalogue.root, paths, row.lock, size=model.pixels, max_megapixels=most)
    patches = model.patches_of(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    chance = training.chance_of(settings.seed)(10)
    luck = clusters.draw(len(some), model.pictures.patches, generator=chance)
    keep, valid = kept(model, patches, luck, hiding, progress=1.0)
    seen = torch.ones(patches.shape[:2], dtype=torch.bool)
    if keep is not None:
        shown = torch.ones_like(keep, dtype=torch.bool) if valid is None else valid
        seen = torch.zeros_like(seen).scatter(1, keep, shown)
    of = None
    if hiding.by in ("pixels", "vectors"):
        of = companions(model, patches, luck, hiding, progress=1.0).numpy()
    blocks = [
        _block(Image.fromarray(picture), None if of is None else of[at], seen[at].numpy(), model.patch)
        for at, picture in enumerate(pixels)
    ]
    return laid(blocks, in_row=IN_ROW, gap=WIDER)


def _block(picture: Image.Image, of: NDArray[np.int64] | None, seen: NDArray[np.bool_], side: int) -> Image.Image:
    """One product: the picture, its clusters if it has any, what is seen of it."""
    scale = max(1, round(TALL / picture.height))
    large = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)
    panels = [large, *([] if of is None else [_clusters(large, of, side * scale)])]
    panels.append(_tinted(large, [None if one else AWAY for one in seen], side * scale, FADED))
    paper = Image.new("RGB", (len(panels) * (large.width + GAP) - GAP, large.height), PAPER)
    for at, panel in enumerate(panels):
        paper.paste(panel, (at * (large.width + GAP), 0))
    return paper


def _clusters(picture: Image.Image, of: NDArray[np.int64], side: int) -> Image.Image:
    anchors = [at for at, one in enumerate(of) if one == at]
    colour = {anchor: COLOURS[number % len(COLOURS)] for number, anchor in enumerate(anchors)}
    drawn = _tinted(picture, [None if one == NOBODY else colour[int(one)] for one in of], side, TINT)
    pen = ImageDraw.Draw(drawn)
    for anchor in anchors:
        outline(pen, _box(anchor, picture.width // side, side), colour[anchor], width=3)
    return drawn


def _tinted(picture: Image.Image, colours: list[str | None], side: int, share: float) -> Image.Image:
    """The picture with some of its patches tinted, rows from the top."""
    drawn = picture.copy()
    for at, colour in enumerate(colours):
        if colour is not None:
            box = _box(at, picture.width // side, side)
            drawn.paste(Image.blend(picture.crop(box), Image.new("RGB", (side, side), colour), share), box)
    return drawn


def _box(patch: int, across: int, side: int) -> tuple[int, int, int, int]:
    left, top = patch % across * side, patch // across * side
    return left, top, left + side, top + side
