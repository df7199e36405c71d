"""Which patches of a picture the words of a text point at: the source `teacher` of the stage `align`, for any pair."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import nn

from fashionvl import alignment, config
from fashionvl.models.captioner import Captioner
from fashionvl.patches.cutting import Box, patch_boxes
from fashionvl.pretrained.parts import Facts
from fashionvl.pretrained.sight import Sight
from fashionvl.tasks import describe
from fashionvl.tasks.describe import Lexicon


class Pointed(NamedTuple):
    """A word and the patch that it points at.

    word   lower-cased, as the tokenizer cuts whole words
    side   of the grid of the patch
    patch  its number in that grid, row-major
    box    left, top, right, bottom in pixels of the upright picture, right and bottom exclusive
    score  share of the word's region that lies in that patch
    """

    word: str
    side: int
    patch: int
    box: Box
    score: float


def align(
    pictures: list[Image.Image],
    spoken: Sequence[Sequence[str]],
    *,
    sight: Sight,
    captioner: nn.Module,
    encoder: nn.Module,
    facts: Facts,
    settings: config.Alignment,
) -> list[list[Pointed]]:
    """Tell the captioner the text of each picture, and see where it finds the words (`alignment.heat`).

    spoken   the whole words of the text of each picture
    encoder  what the captioner looks through; facts, what it is built from
    -> by picture, in the order of its words, coarse grids first; stop words and words that the captioner never learned
       point at nothing
    """
    row, lexicon = config.build(config.Captioner, facts["captioner"], "captioner"), Lexicon(facts["lexicon"])
    assert isinstance(captioner, Captioner)
    maps, seen = sight.maps(pictures, encoder, row)
    device, dtype = sight.shop.device, sight.shop.dtype
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        told = describe.tell(captioner, lexicon, maps, spoken, longest=row.longest, heat=settings.heat)
    grids = sight.boxes(pictures)
    levels = [level for level in sight.pyramid.levels if level.side >= settings.least_side]
    found = alignment.align(
        told.words,
        told.heat,
        spoken,
        seen=torch.tensor(seen, dtype=torch.float32),
        grid=torch.tensor(grids, dtype=torch.float32),
        sides=[level.side for level in levels],
        tau=settings.tau,
        each=True,
    )
    cells = [[patch_boxes(box, level) for level in levels] for box in grids]
    pointed: list[list[Pointed]] = [[] for _ in pictures]
    places = zip(found.row.tolist(), found.word.tolist(), found.patch.tolist(), found.score.tolist(), strict=True)
    for picture, word, patches, scores in sorted(places, key=lambda place: place[:2]):
        for at, (level, patch, score) in enumerate(zip(levels, patches, scores, strict=True)):
            if patch != alignment.NONE:
                box = cells[picture][at][patch]
                pointed[picture].append(Pointed(spoken[picture][word], level.side, patch, box, score))
    return pointed
