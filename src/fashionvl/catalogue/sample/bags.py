"""Bags."""

from itertools import pairwise

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, oval, rounded, stroke
from fashionvl.catalogue.sample.upper import mirrored


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
    handle = Part(
        "handle",
        stroke(curve((MIDDLE - 90, top - 20), (MIDDLE, top - 190), (MIDDLE + 90, top - 20), 8), 36),
        paint=colours.trim,
    )
    on: list[Part] = []
    parts: list[Part] = [handle]
    if back:
        left = Part(
            "strap",
            stroke(curve((MIDDLE - 90, top + 40), (MIDDLE - 230, top + 300), (MIDDLE - 190, bottom - 90), 8), 84),
            paint=colours.trim,
            folds=stroke(((MIDDLE - 90, top + 40), (MIDDLE - 190, bottom - 90)), 6),
        )
        on += [left, mirrored(left)]
    else:
        left = Part(
            "strap",
            stroke(
                curve(
                    (MIDDLE - half + 40, top + 120),
                    (MIDDLE - half - 130, top + 400),
                    (MIDDLE - half + 10, bottom - 120),
                    8,
                ),
                50,
            ),
            paint=colours.trim,
            shade=90,
        )
        parts += [left, mirrored(left)]
        if article.has("closure") == "flap":
            flap = (
                *curve((MIDDLE + half - 10, top + 260), (MIDDLE, top + 420), (MIDDLE - half + 10, top + 260), 8),
                (MIDDLE - half + 20, top - 40),
                (MIDDLE + half - 20, top - 40),
            )
            on.append(
                Part(
                    "flap",
                    (flap,),
                    shade=86,
                    clip=True,
                    on=(Part("buckle", (box(MIDDLE - 36, top + 280, MIDDLE + 36, top + 372),), paint=colours.metal),),
                )
            )
        else:
            line = curve((MIDDLE - half + 34, top + 330), (MIDDLE, top - 220), (MIDDLE + half - 34, top + 330), 10)
            on.append(Part("zip", stroke(line, 18), paint=colours.metal))
        if article.has("pocket") == "front":
            y = bottom - 380
            paint = colours.mark if article.has("pocket_colour") == "contrast" else None
            seam = Part(
                "", stroke(((MIDDLE - half + 90, y + 66), (MIDDLE + half - 90, y + 66)), 14), paint=colours.metal
            )
            on.append(
                Part(
                    "pocket",
                    (rounded(MIDDLE - half + 60, y, MIDDLE + half - 60, bottom - 50, 54),),
                    paint=paint,
                    shade=88,
                    on=(seam,),
                )
            )
    if article.has("base") == "contrast":
        on.insert(0, Part("base", (box(100, bottom - 110, 1100, bottom + 40),), paint=colours.trim, clip=True))
    parts.append(Part("", (dome, body), on=tuple(on)))
    return tuple(parts)


def shoulder_bag(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A small bag on a long strap, with a flap or a zip."""
    top, bottom, half = 830, 1250 + article.vary("bottom", 30), 300 + article.vary("half", 30)
    line = curve(
        (MIDDLE - half + 16, top + 40),
        (MIDDLE + article.vary("swing", 60), top - 1150),
        (MIDDLE + half - 16, top + 40),
        14,
    )
    if article.has("strap") == "chain":
        beads = tuple(
            oval(x, y, 15, 15) for a, b in pairwise(line) for x, y in (a, ((a[0] + b[0]) // 2, (a[1] + b[1]) // 2))
        )
        strap = Part("chain", beads, paint=colours.metal)
    else:
        strap = Part(
            "strap", stroke(line, 34), paint=colours.trim if article.has("strap") == "contrast" else None, shade=88
        )
    on: list[Part] = []
    if not back and article.has("closure") == "flap":
        flap = (
            *curve((MIDDLE + half, top + 150), (MIDDLE, top + 400), (MIDDLE - half, top + 150), 8),
            (MIDDLE - half, top - 20),
            (MIDDLE + half, top - 20),
        )
        on.append(
            Part(
                "flap",
                (flap,),
                shade=84,
                clip=True,
                on=(
                    Part("clasp", (rounded(MIDDLE - 34, top + 226, MIDDLE + 34, top + 300, 14),), paint=colours.metal),
                ),
            )
        )
    if not back and article.has("closure") == "zip":
        on.append(
            Part(
                "zip", stroke(((MIDDLE - half + 50, top + 64), (MIDDLE + half - 50, top + 64)), 20), paint=colours.metal
            )
        )
    if not back and article.has("tassel") != "none":
        x = MIDDLE + half - 90
        on.append(
            Part(
                "tassel",
                (
                    box(x - 5, top + 70, x + 5, top + 150),
                    ((x - 18, top + 140), (x + 18, top + 140), (x + 34, top + 330), (x - 34, top + 330)),
                ),
                paint=colours.mark,
                folds=tuple(box(x + d, top + 180, x + d + 5, top + 340) for d in (-18, -3, 12)),
            )
        )
    radius = {"round": 170, "boxy": 46}[article.look.get("shape", "boxy")]
    return (strap, Part("", (rounded(MIDDLE - half, top, MIDDLE + half, bottom, radius),), on=tuple(on)))
