"""Why a product was found: which places of its picture the words of the query point at."""

from PIL import Image

from fashionvl.pretrained.aligning import Pointed
from fashionvl.pretrained.answers import Why
from fashionvl.pretrained.face import FashionVL


def can_explain(model: FashionVL) -> bool:
    """True where words can be aligned with patches: there is a captioner, and what it aligns by."""
    return "captioner" in model.facts["parts"] and model.facts["alignment"] is not None


def explained(model: FashionVL, pictures: list[Image.Image], text: str) -> list[tuple[Why, ...]]:
    """Of each picture, the words of the text in their order, each with the patch that holds most of what it means."""
    found = model.align(pictures, [text] * len(pictures))
    return [_best(pointed, picture.size) for pointed, picture in zip(found, pictures, strict=True)]


def _best(pointed: list[Pointed], size: tuple[int, int]) -> tuple[Why, ...]:
    best: dict[str, Pointed] = {}
    for each in pointed:  # coarse grids first: of equal patches the finer one
        if each.word not in best or each.score >= best[each.word].score:
            best[each.word] = each
    sides = (*size, *size)
    return tuple(
        Why(word, tuple(edge / side for edge, side in zip(each.box, sides, strict=True)), each.score)  # type: ignore[arg-type]
        for word, each in best.items()
    )
