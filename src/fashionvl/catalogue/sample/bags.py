"""Bags."""

from itertools import pairwise

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, between, box, curve, oval, rounded, stroke


def tote_bag(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A large open bag with two handles."""
    top, bottom, half = 640, 1290 + article.vary("bottom", 40), 300 + article.vary("half", 30)
    lean = {"wide": 60, "boxy": 0}[article.look.get("shape", "boxy")]
    rise = {"long": 430, "short": 250}[article.look.get("handle", "long")]
    paint = colours.trim if article.has("handle_colour") == "contrast" else None
    line = curve((MIDDLE - 150, top + 70), (MIDDLE - 120, top - 2 * rise), (MIDDLE + 150, top + 70), 12)
    line = tuple((x, max(y, top - rise)) for x, y in line)
    rear = Part("handle", stroke(tuple((x + 22, y - 26) for x, y in line), 34), paint=paint, shade=74)
    near = Part("handle", stroke(line, 38), paint=paint, shade=88)
    on: list[Part] = [Part("", (box(200, top - 10, 1000, top + 40),), shade=84, clip=True)]
    if article.has("base") == "contrast":
        on.append(Part("base", (box(100, bottom - 130, 1100, bottom + 40),), paint=colours.trim, clip=True))
    if article.has("pocket") == "front" and not back:
        on.append(Part("pocket", (rounded(MIDDLE - 130, top + 210, MIDDLE + 130, top + 430, 30),), shade=86))
    if article.has("print") == "star" and not back:
        on.append(Part("star", (star(MIDDLE, top + 320, 130),), paint=colours.mark, rim=False))
    if article.has("print") == "circle" and not back:
        on.append(Part("circle", (oval(MIDDLE, top + 320, 110, 110),), paint=colours.mark, rim=False))
    if article.has("print") == "letter" and not back:
        strokes = stroke(((520, top + 430), (600, top + 210), (680, top + 430)), 40) + stroke(
            ((550, top + 360), (650, top + 360)), 34
        )
        on.append(Part("letter", strokes, paint=colours.mark, rim=False))
    body: Polygon = (
        (MIDDLE - half - lean, top),
        (MIDDLE + half + lean, top),
        (MIDDLE + half, bottom),
        (MIDDLE - half, bottom),
    )
    folds = (((MIDDLE - 180, bottom), (MIDDLE - 140, top + 200), (MIDDLE - 150, bottom)),)
    return (rear, Part("", (body,), folds=folds, on=tuple(on)), near)


def backpack(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A backpack: top handle, main zip, front pocket; shoulder straps at the back."""
    top, bottom, half = 430, 1250 + article.vary("bottom", 30), 290 + article.vary("half", 24)
    round_top = {"round": 210, "square": 70}[article.look.get("shape", "round")]
    body = rounded(MIDDLE - half, top, MIDDLE + half, bottom, 64)
    dome = rounded(MIDDLE - half, top - 40, MIDDLE + half, top + 500, round_top)
    grip = curve((MIDDLE - 90, top - 20), (MIDDLE, top - 190), (MIDDLE + 90, top - 20), 8)
    handle = Part("handle", stroke(grip, 36), colours.trim)
    on: list[Part] = []
    if article.has("base") == "contrast":
        on.append(Part("base", (box(100, bottom - 110, 1100, bottom + 40),), colours.trim, clip=True))
    if back:
        line = curve((MIDDLE - 90, top + 40), (MIDDLE - 230, top + 300), (MIDDLE - 190, bottom - 90), 8)
        strap = Part("strap", stroke(line, 84), colours.trim, folds=stroke((line[0], line[-1]), 6))
        return (handle, Part("", (dome, body), on=(*on, strap, mirrored(strap))))
    x = MIDDLE - half
    line = curve((x + 40, top + 120), (x - 130, top + 400), (x + 10, bottom - 120), 8)
    strap = Part("strap", stroke(line, 50), colours.trim, 90)
    on += _pack_front(article, colours, top, bottom, half)
    return (handle, strap, mirrored(strap), Part("", (dome, body), on=tuple(on)))


def _pack_front(article: Article, colours: Colours, top: int, bottom: int, half: int) -> list[Part]:
    """The fastening and the pocket of a backpack."""
    left, right = MIDDLE - half, MIDDLE + half
    if article.has("closure") == "flap":
        edge = curve((right - 10, top + 260), (MIDDLE, top + 420), (left + 10, top + 260), 8)
        buckle = Part("buckle", (box(MIDDLE - 36, top + 280, MIDDLE + 36, top + 372),), colours.metal)
        shape = (*edge, (left + 20, top - 40), (right - 20, top - 40))
        parts = [Part("flap", (shape,), shade=86, clip=True, on=(buckle,))]
    else:
        line = curve((left + 34, top + 330), (MIDDLE, top - 220), (right - 34, top + 330), 10)
        parts = [Part("zip", stroke(line, 18), colours.metal)]
    if article.has("pocket") == "front":
        y = bottom - 380
        paint = colours.mark if article.has("pocket_colour") == "contrast" else None
        seam = Part("", stroke(((left + 90, y + 66), (right - 90, y + 66)), 14), colours.metal)
        parts.append(Part("pocket", (rounded(left + 60, y, right - 60, bottom - 50, 54),), paint, 88, on=(seam,)))
    return parts


def shoulder_bag(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A small bag on a long strap, with a flap or a zip."""
    top, bottom, half = 830, 1250 + article.vary("bottom", 30), 300 + article.vary("half", 30)
    ends = (MIDDLE - half + 16, top + 40), (MIDDLE + half - 16, top + 40)
    line = curve(ends[0], (MIDDLE + article.vary("swing", 60), top - 1150), ends[1], 14)
    if article.has("strap") == "chain":
        links = (point for a, b in pairwise(line) for point in (a, between(a, b, 1, 2)))
        strap = Part("chain", tuple(oval(x, y, 15, 15) for x, y in links), colours.metal)
    else:
        paint = colours.trim if article.has("strap") == "contrast" else None
        strap = Part("strap", stroke(line, 34), paint, 88)
    radius = {"round": 170, "boxy": 46}[article.look.get("shape", "boxy")]
    on = () if back else _bag_front(article, colours, top, half)
    return (strap, Part("", (rounded(MIDDLE - half, top, MIDDLE + half, bottom, radius),), on=on))


def _bag_front(article: Article, colours: Colours, top: int, half: int) -> tuple[Part, ...]:
    """The fastening and the tassel of a shoulder bag."""
    left, right = MIDDLE - half, MIDDLE + half
    if article.has("closure") == "flap":
        edge = curve((right, top + 150), (MIDDLE, top + 400), (left, top + 150), 8)
        clasp = Part("clasp", (rounded(MIDDLE - 34, top + 226, MIDDLE + 34, top + 300, 14),), colours.metal)
        shape = (*edge, (left, top - 20), (right, top - 20))
        parts = [Part("flap", (shape,), shade=84, clip=True, on=(clasp,))]
    else:
        parts = [Part("zip", stroke(((left + 50, top + 64), (right - 50, top + 64)), 20), colours.metal)]
    if article.has("tassel") != "none":
        x = right - 90
        skirt = ((x - 18, top + 140), (x + 18, top + 140), (x + 34, top + 330), (x - 34, top + 330))
        threads = tuple(box(x + d, top + 180, x + d + 5, top + 340) for d in (-18, -3, 12))
        parts.append(Part("tassel", (box(x - 5, top + 70, x + 5, top + 150), skirt), colours.mark, folds=threads))
    return tuple(parts)
