"""Garments for the whole body: jumpsuits, dungarees, swimsuits."""

from dataclasses import replace

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.lower import front_of, leg_of, waistband
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, mirror, rounded, stroke
from fashionvl.catalogue.sample.upper import upper


def jumpsuit(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A top and trousers in one, joined at the waist."""
    top = 690
    legs = tuple(leg_of(article, colours, left, top) for left in (True, False))
    torso = replace(article, look={feature: choice for feature, choice in article.look.items() if feature != "hem"})
    return (*legs, *upper(torso, colours, back))


def dungarees(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Trousers with a bib and straps."""
    top = 690
    legs = tuple(leg_of(article, colours, left, top) for left in (True, False))
    half = 150 + article.vary("bib", 10)
    if back:
        line: Polygon = ((MIDDLE - 40, top + 20), (MIDDLE - 130, top - 300), (MIDDLE - 118, top - 330))
        strap = Part("strap", stroke(line, 46), shade=92)
        return (
            *legs,
            strap,
            mirrored(strap),
            *front_of(article, colours, back, top),
            *waistband(article, colours, 174, top, back),
        )
    strap = Part(
        "strap",
        stroke(((MIDDLE - half + 34, top - 200), (MIDDLE - 118, top - 340), (MIDDLE - 90, top - 352)), 46),
        shade=92,
    )
    buckle = Part("buckle", (box(MIDDLE - half + 4, top - 236, MIDDLE - half + 64, top - 186),), paint=colours.metal)
    pocket = Part("pocket", (rounded(MIDDLE - 74, top - 180, MIDDLE + 74, top - 50, 20),), shade=86)
    bib = Part(
        "bib",
        (((MIDDLE - half, top - 210), (MIDDLE + half, top - 210), (MIDDLE + 176, top + 20), (MIDDLE - 176, top + 20)),),
        on=(pocket,) if article.has("bib_pocket") != "none" else (),
    )
    return (
        *legs,
        strap,
        mirrored(strap),
        bib,
        buckle,
        mirrored(buckle),
        *front_of(article, colours, back, top),
        *waistband(article, colours, 174, top, back),
    )


def swimsuit(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A one-piece swimsuit."""
    top, crotch = 480, 1130
    neck = 150 if article.has("neckline") == "v" else 60
    low = 260 if back and article.has("back") == "open" else (40 if back else neck)
    line: Polygon = curve((MIDDLE - 130, top), (MIDDLE, top + 2 * low), (MIDDLE + 130, top))
    if article.has("neckline") == "v" and not back:
        line = ((MIDDLE - 130, top), (MIDDLE, top + low), (MIDDLE + 130, top))
    side = (
        *curve((MIDDLE + 150, top - 10), (MIDDLE + 150, top + 110), (MIDDLE + 186, top + 160), 4),
        *curve((MIDDLE + 182, top + 180), (MIDDLE + 130, top + 330), (MIDDLE + 190, crotch - 190), 6),
    )
    leg = curve((MIDDLE + 192, crotch - 150), (MIDDLE + 80, crotch - 110), (MIDDLE + 56, crotch + 30), 6)
    shape = (*line, *side, *leg, *mirror(leg)[::-1], *mirror(side)[::-1])
    strap = Part(
        "strap",
        stroke(
            ((MIDDLE - 138, top + 14), (MIDDLE - 120, top - 160), (MIDDLE - 96, top - 190)),
            26 if article.has("strap") == "thin" else 56,
        ),
        shade=92,
    )
    on: list[Part] = [
        Part("neckline", stroke(line, 20), paint=colours.trim if article.has("edge") == "contrast" else None, shade=80)
    ]
    if article.has("belt") != "none":
        on.append(Part("belt", (box(200, top + 300, 1000, top + 350),), paint=colours.trim, clip=True))
    if article.has("frill") != "none" and not back:
        on.append(
            Part(
                "frill",
                ((*line, *((x, y + 90) for x, y in line[::-1])),),
                shade=86,
                folds=tuple(box(x, top, x + 12, top + 330) for x in range(400, 800, 40)),
                clip=True,
            )
        )
    folds = (((MIDDLE - 170, top + 260), (MIDDLE - 40, top + 330), (MIDDLE - 160, top + 290)),)
    return (strap, mirrored(strap), Part("", (shape,), folds=folds, on=tuple(on)))
