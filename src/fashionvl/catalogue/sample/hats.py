"""Hats."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.place import flower, mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, oval, rounded, stroke


def cap(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A baseball cap with its peak to the left."""
    base = 920
    dome: Polygon = (
        *curve((330, base), (300, 500 + article.vary("dome", 24)), (640, 510), 8),
        *curve((640, 510), (960, 520), (950, base), 8),
        *curve((950, base), (640, base + 60), (330, base), 6),
    )
    seams = stroke(curve((640, 512), (560, 700), (560, base + 30), 5), 6) + stroke(
        curve((640, 512), (780, 700), (790, base + 20), 5), 6
    )
    on: list[Part] = [Part("", seams, shade=64, rim=False)]
    if article.has("print") != "none" and not back:
        logo = {
            "star": (star(450, 760, 76),),
            "circle": (oval(450, 760, 60, 60),),
            "letter": stroke(((400, 820), (450, 700), (500, 820)), 22) + stroke(((420, 780), (480, 780)), 18),
        }
        on.append(Part(article.has("print"), logo[article.has("print")], paint=colours.mark, rim=False))
    if back and article.has("strap") != "none":
        on.append(Part("strap", stroke(((520, base - 40), (800, base - 50)), 40), paint=colours.trim))
    parts: list[Part] = [Part("button", (oval(640, 506, 34, 20),), paint=colours.trim), Part("", (dome,), on=tuple(on))]
    peak: Polygon = (
        *curve((330, base - 20), (90, base - 40), (110, base + 90), 8),
        *curve((110, base + 90), (300, base + 20), (600, base + 46), 8),
    )
    paint = colours.trim if article.has("peak") == "contrast" else None
    stitches = stroke(curve((180, base + 30), (290, base - 16), (420, base + 12), 6), 6)
    parts.append(Part("peak", (peak,), paint=paint, shade=86, folds=stitches))
    return tuple(mirrored(part) for part in parts) if back else tuple(parts)


def beanie(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A knitted hat."""
    base, half = 1060, 290 + article.vary("half", 16)
    top = {"slouchy": 380, "close": 520}[article.look.get("fit", "close")]
    dome: Polygon = (
        *curve((MIDDLE - half, base), (MIDDLE - half - 10, top), (MIDDLE, top), 8),
        *curve((MIDDLE, top), (MIDDLE + half + 10, top), (MIDDLE + half, base), 8),
    )
    folds = tuple(
        ((x, top + 40), (MIDDLE + (x - MIDDLE) * 3 + 8, base), (MIDDLE + (x - MIDDLE) * 3 - 8, base))
        for x in range(MIDDLE - 90, MIDDLE + 91, 30)
    )
    on: list[Part] = []
    if article.has("cuff") != "none":
        paint = colours.trim if article.has("cuff") == "contrast" else None
        ribs = tuple(box(x, base - 150, x + 12, base + 20) for x in range(250, 960, 36))
        on.append(Part("cuff", (box(100, base - 150, 1100, base + 10),), paint=paint, shade=84, folds=ribs, clip=True))
    if article.has("patch") != "none" and not back:
        on.append(Part("patch", (rounded(MIDDLE - 60, base - 116, MIDDLE + 60, base - 40, 10),), paint=colours.mark))
    parts: list[Part] = []
    if article.has("pompom") != "none":
        paint = colours.trim if article.has("pompom") == "contrast" else colours.main
        fluff = tuple(
            oval(MIDDLE + dx, top - 60 + dy, 62, 62)
            for dx, dy in ((0, -44), (44, -14), (28, 36), (-28, 36), (-44, -14))
        )
        parts.append(Part("pompom", fluff, paint=paint))
    parts.append(Part("", (dome,), folds=folds, on=tuple(on)))
    return tuple(parts)


def sun_hat(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A hat with a wide brim."""
    wide = {"wide": 500, "narrow": 390}[article.look.get("brim", "wide")] + article.vary("wide", 20)
    brim = Part("brim", (oval(MIDDLE, 930, wide, 150),), shade=90)
    crown: Polygon = (
        *curve((MIDDLE - 250, 920), (MIDDLE - 250, 560), (MIDDLE - 90, 560), 8),
        *curve((MIDDLE - 90, 560), (MIDDLE, 590), (MIDDLE + 90, 560), 4),
        *curve((MIDDLE + 90, 560), (MIDDLE + 250, 560), (MIDDLE + 250, 920), 8),
        *curve((MIDDLE + 250, 920), (MIDDLE, 1000), (MIDDLE - 250, 920), 8),
    )
    on: list[Part] = []
    if article.has("ribbon") != "none":
        band = curve((MIDDLE - 300, 880), (MIDDLE, 964), (MIDDLE + 300, 880), 8)
        on.append(Part("ribbon", ((*band, *((x, y - 84) for x, y in band[::-1])),), paint=colours.trim, clip=True))
    parts = [brim, Part("crown", (crown,), on=tuple(on))]
    if article.has("ribbon") == "bow" and not back:
        bow = (((760, 880), (850, 820), (856, 930)), ((760, 880), (670, 824), (668, 930)), oval(760, 880, 22, 26))
        parts.append(Part("bow", bow, paint=colours.trim))
    if article.has("ribbon") == "flower" and not back:
        parts.append(flower(740, 870, 34, colours.mark))
    return tuple(parts)
