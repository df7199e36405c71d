"""Gloves, mittens and socks."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, oval, rounded, stroke


def gloves(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A pair of gloves, fingers up."""
    return _pair_of_hands(article, colours, back, fingers=True)


def mittens(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A pair of mittens."""
    return _pair_of_hands(article, colours, back, fingers=False)


def _pair_of_hands(article: Article, colours: Colours, back: bool, *, fingers: bool) -> tuple[Part, ...]:
    x, low = 316, {"short": 1080, "long": 1250}[article.look.get("length", "short")] + article.vary("low", 16)
    parts: list[Part] = []
    if fingers:
        tips = (560, 500, 520, 590)
        reach = tuple(rounded(x - 150 + 78 * i, tips[i], x - 78 + 78 * i, 860, 34) for i in range(4))
        parts.append(Part("fingers", reach, shade=96))
    palm: Polygon = ((x - 150, 820), (x + 160, 820), (x + 150, 980), (x + 120, low), (x - 120, low), (x - 146, 980))
    if not fingers:
        palm = (
            *curve((x - 150, 820), (x - 160, 500), (x, 490), 8),
            *curve((x, 490), (x + 160, 500), (x + 160, 820), 8),
            *palm[2:],
        )
    thumb = Part(
        "thumb",
        (*stroke(curve((x + 110, 950), (x + 240, 900), (x + 236, 740), 6), 92), oval(x + 236, 744, 46, 46)),
        shade=92,
    )
    cuff_top = low - 150
    ribs = tuple(box(i, cuff_top, i + 10, low + 20) for i in range(x - 150, x + 150, 30))
    paint = colours.trim if article.has("cuff") == "contrast" else None
    on: list[Part] = [
        Part("cuff", (box(x - 220, cuff_top, x + 220, low + 20),), paint=paint, shade=84, folds=ribs, clip=True)
    ]
    if article.has("strap") != "none" and not back:
        on.append(
            Part(
                "strap",
                (box(x - 220, cuff_top - 60, x + 220, cuff_top - 18),),
                paint=colours.trim,
                clip=True,
                on=(Part("button", (oval(x + 60, cuff_top - 39, 22, 22),), paint=colours.metal),),
            )
        )
    if article.has("motif") != "none" and not back:
        on.append(Part("star", (star(x, 800, 76),), paint=colours.mark, rim=False))
    parts += [thumb, Part("", (palm,), on=tuple(on))]
    return (*(mirrored(part) for part in parts), *parts)


def socks(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A pair of socks, one a little behind the other."""
    top = {"ankle": 720, "calf": 520, "knee": 250}[article.look.get("length", "calf")] + article.vary("top", 16)
    parts: list[Part] = []
    for dx, shade in ((150, 90), (-60, 100)):
        x = MIDDLE + dx
        shape = (
            (x - 66, top), (x + 76, top), (x + 84, 900),
            *curve((x + 88, 980), (x + 92, 1096), (x - 20, 1100), 5),
            *curve((x - 200, 1110), (x - 320, 1120), (x - 310, 1030), 5),
            *curve((x - 290, 980), (x - 70, 960), (x - 72, 860), 6),
        )  # fmt: skip
        on: list[Part] = [
            Part(
                "cuff",
                (box(x - 120, top - 20, x + 140, top + 76),),
                paint=colours.trim if article.has("cuff") == "contrast" else None,
                shade=84,
                folds=tuple(box(x - 110 + 24 * i, top - 20, x - 103 + 24 * i, top + 76) for i in range(10)),
                clip=True,
            )
        ]
        if article.has("heel") == "contrast":
            on.append(Part("heel", (oval(x + 78, 1070, 96, 120),), paint=colours.trim, clip=True))
        if article.has("toe") == "contrast":
            on.append(Part("toe", (oval(x - 320, 1060, 110, 110),), paint=colours.trim, clip=True))
        parts.append(Part("", (shape,), shade=shade, on=tuple(on)))
    return tuple(mirrored(part) for part in parts) if back else tuple(parts)
