"""What is sewn on a torso: hems, fastenings, pockets, prints, collars, lapels, belts."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.measures import TOP, Cut, neck_line
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, mirror, oval, rounded, stroke


def edge_paint(article: Article, colours: Colours, feature: str) -> tuple[int, int, int] | None:
    """Contrast edges are of the trim's colour, ribbed and plain ones of the cloth's own."""
    return {"contrast": colours.trim, "ribbed": colours.main}.get(article.has(feature))


def on_body(article: Article, colours: Colours, cut: Cut, back: bool) -> tuple[Part, ...]:
    """What is sewn on the torso, from below to above."""
    parts: list[Part] = []
    if article.has("hem") != "none":
        parts += _hem(article, colours, cut)
    if article.has("seam") == "yoke":
        parts.append(Part("yoke", (box(200, TOP - 40, 1000, TOP + 150),), shade=86, clip=True))
    if article.has("strap") == "none":
        parts.append(
            Part(
                "neckline",
                stroke(neck_line(article, cut), 26),
                paint=edge_paint(article, colours, "neck_edge"),
                shade=84,
            )
        )
    if not back:
        parts += _closure(article, colours, cut)
        parts += _pockets(article, colours, cut)
        if article.has("print") != "none":
            parts.append(_print(article, colours, cut))
        parts += _collar(article, colours, cut)
    elif article.has("collar") in ("shirt", "polo", "stand", "peter pan"):
        line = curve((MIDDLE - cut.neck - 8, TOP - 6), (MIDDLE, TOP + 30), (MIDDLE + cut.neck + 8, TOP - 6))
        parts.append(Part("collar", stroke(line, 56), paint=edge_paint(article, colours, "collar_edge"), shade=90))
    if article.has("belt") != "none":
        parts += _belt(article, colours, cut, back)
    return tuple(parts)


def _hem(article: Article, colours: Colours, cut: Cut) -> list[Part]:
    height = {"ribbed": 84, "frill": 110, "contrast": 44}.get(article.has("hem"), 34)
    line = curve((MIDDLE - cut.hem - 60, cut.bottom), (MIDDLE, cut.bottom + 26), (MIDDLE + cut.hem + 60, cut.bottom), 6)
    raised = tuple((x, y - height) for x, y in line)
    folds: tuple[Polygon, ...] = ()
    if article.has("hem") in ("ribbed", "frill"):
        step = 30 if article.has("hem") == "ribbed" else 54
        folds = tuple(box(x, cut.bottom - 170, x + step // 3, cut.bottom + 60) for x in range(60, 1150, step))
    return [
        Part(
            "hem",
            ((*line, *raised[::-1]),),
            paint=edge_paint(article, colours, "hem"),
            shade=86,
            folds=folds,
            clip=True,
        )
    ]


def _closure(article: Article, colours: Colours, cut: Cut) -> list[Part]:
    closure = article.has("closure")
    start, end = TOP + cut.depth + 8, cut.bottom - 16
    if article.has("length") in ("knee", "calf", "ankle") and article.has("shape") == "flared":
        end = cut.bottom - 60
    if closure == "buttons":
        count = max((end - start) // 105, 3)
        discs = tuple(oval(MIDDLE, start + 30 + i * (end - start - 60) // (count - 1), 14, 14) for i in range(count))
        placket = Part("placket", (box(MIDDLE - 30, start - 6, MIDDLE + 30, cut.bottom + 60),), shade=90, clip=True)
        return [placket, Part("buttons", discs, paint=colours.trim)]
    if closure == "short buttons":
        discs = tuple(oval(MIDDLE, start + 20 + 62 * i, 12, 12) for i in range(3))
        return [
            Part("placket", (box(MIDDLE - 30, start - 6, MIDDLE + 30, start + 186),), shade=86),
            Part("buttons", discs, paint=colours.trim),
        ]
    if closure == "lapel buttons":
        count = 2 + (article.number % 2)
        discs = tuple(oval(MIDDLE, start + 24 + 92 * i, 15, 15) for i in range(count))
        edge = Part(
            "",
            stroke(((MIDDLE, start - 10), (MIDDLE - 4, cut.bottom + 40)), 6),
            paint=(40, 40, 44),
            clip=True,
            rim=False,
        )
        return [edge, Part("buttons", discs, paint=colours.trim)]
    if closure in ("zip", "half zip"):
        stop = cut.bottom + 40 if closure == "zip" else start + 230
        teeth = tuple(box(MIDDLE - 9, y, MIDDLE + 9, y + 9) for y in range(start, stop, 20))
        pull = Part("", (rounded(MIDDLE - 11, start + 30, MIDDLE + 11, start + 84, 8),), paint=colours.metal)
        tape = Part("", (box(MIDDLE - 22, start - 10, MIDDLE + 22, stop),), shade=72, clip=True)
        return [tape, Part("zip", teeth, paint=colours.metal, on=(pull,), clip=True, rim=False)]
    return []


def _pockets(article: Article, colours: Colours, cut: Cut) -> list[Part]:
    style, chest_x, chest_y = article.has("pocket"), MIDDLE + 104, TOP + 240
    low_y = cut.bottom - 300 if article.has("length") in ("cropped", "regular", "long", "none") else TOP + 560
    if style == "chest":
        return [_patch_pocket(chest_x, chest_y, 52, 112)]
    if style == "two chest":
        return [_flap_pocket(x, chest_y, 52, 112) for x in (2 * MIDDLE - chest_x, chest_x)]
    if style == "kangaroo":
        y, half = cut.bottom - 290, cut.chest - 70
        shape = (
            (MIDDLE - half + 70, y),
            (MIDDLE + half - 70, y),
            (MIDDLE + half, y + 120),
            (MIDDLE + half, y + 190),
            (MIDDLE - half, y + 190),
            (MIDDLE - half, y + 120),
        )
        return [Part("pocket", (shape,), shade=88)]
    if style == "patch":
        return [_patch_pocket(x, low_y, 72, 160) for x in (MIDDLE - cut.chest // 2 - 14, MIDDLE + cut.chest // 2 + 14)]
    if style == "flap":
        return [_flap_pocket(x, low_y, 70, 130) for x in (MIDDLE - cut.chest // 2 - 16, MIDDLE + cut.chest // 2 + 16)]
    if style == "side":
        lines = (((MIDDLE - cut.chest + 78, low_y), (MIDDLE - cut.chest + 38, low_y + 150)),)
        left = Part("pocket", stroke(lines[0], 22), shade=64)
        return [left, mirrored(left)]
    return []


def _patch_pocket(x: int, y: int, half: int, height: int) -> Part:
    shape = ((x - half, y), (x + half, y), (x + half, y + height - 26), (x, y + height), (x - half, y + height - 26))
    top = Part("", (box(x - half, y, x + half, y + 26),), shade=78, clip=True)
    return Part("pocket", (shape,), shade=90, on=(top,))


def _flap_pocket(x: int, y: int, half: int, height: int) -> Part:
    flap = ((x - half - 6, y - 6), (x + half + 6, y - 6), (x + half + 6, y + 34), (x, y + 52), (x - half - 6, y + 34))
    return Part("pocket", (box(x - half, y, x + half, y + height),), shade=92, on=(Part("flap", (flap,), shade=78),))


def _print(article: Article, colours: Colours, cut: Cut) -> Part:
    y, size = TOP + 300, 96 + article.vary("print size", 14)
    shapes: dict[str, tuple[Polygon, ...]] = {
        "star": (star(MIDDLE, y, size),),
        "circle": (oval(MIDDLE, y, size * 8 // 10, size * 8 // 10),),
        "heart": (
            oval(MIDDLE - size * 38 // 100, y - size * 30 // 100, size * 42 // 100, size * 42 // 100),
            oval(MIDDLE + size * 38 // 100, y - size * 30 // 100, size * 42 // 100, size * 42 // 100),
            (
                (MIDDLE - size * 76 // 100, y - size * 12 // 100),
                (MIDDLE, y - size * 40 // 100),
                (MIDDLE + size * 76 // 100, y - size * 12 // 100),
                (MIDDLE, y + size * 84 // 100),
            ),
        ),
        "lightning": (
            (
                (MIDDLE + 20, y - size),
                (MIDDLE - 50, y + 14),
                (MIDDLE - 4, y + 14),
                (MIDDLE - 24, y + size),
                (MIDDLE + 56, y - 20),
                (MIDDLE + 10, y - 20),
            ),
        ),
    }
    return Part(article.has("print"), shapes[article.has("print")], paint=colours.mark, rim=False)


def _collar(article: Article, colours: Colours, cut: Cut) -> list[Part]:
    """Collars in two wings, collars in one piece, lapels."""
    kind, paint = article.has("collar"), edge_paint(article, colours, "collar_edge")
    if kind in ("stand", "roll"):
        height, spread = (74, 10) if kind == "stand" else (96, 2)
        fold = box(MIDDLE - 4, TOP - 90, MIDDLE + 4, TOP + 90) if kind == "stand" else box(400, TOP - 38, 800, TOP - 30)
        half = (
            (MIDDLE - cut.neck - spread, TOP + 10),
            (MIDDLE - cut.neck + 14 - spread, TOP - height),
        )
        return [Part("collar", ((*half, *mirror(half)[::-1], (MIDDLE, TOP + cut.depth + 18)),), paint, 88, (fold,))]
    if kind in ("shirt", "polo", "peter pan"):
        left = Part("collar", (_round_wing(cut) if kind == "peter pan" else _pointed_wing(cut),), paint, 90)
        return [left, mirrored(left)]
    if article.has("lapel") != "none":
        left = Part("lapel", (_lapel(cut),), paint, 86)
        return [left, mirrored(left)]
    return []


def _pointed_wing(cut: Cut) -> Polygon:
    x, dip = MIDDLE - cut.neck, TOP + cut.depth
    return ((x - 4, TOP - 34), (x - 34, TOP + 20), (MIDDLE - 62, dip + 74), (MIDDLE, dip + 4), (x + 30, TOP - 4))


def _round_wing(cut: Cut) -> Polygon:
    x, dip = MIDDLE - cut.neck, TOP + cut.depth
    inner = curve((x, TOP), (MIDDLE - 30, dip), (MIDDLE, dip), 6)
    return (*inner, *curve((MIDDLE - 6, dip + 76), (MIDDLE - 150, dip + 70), (x - 46, TOP + 22), 6))


def _lapel(cut: Cut) -> Polygon:
    x = MIDDLE - cut.neck
    notch = ((x - 62, TOP + 120), (x - 20, TOP + 138), (x - 52, TOP + 168))
    return ((x, TOP - 10), *notch, (MIDDLE - 4, TOP + cut.depth + 6))


def _belt(article: Article, colours: Colours, cut: Cut, back: bool) -> list[Part]:
    y = cut.waist_y - 24
    on: tuple[Part, ...] = ()
    if not back and article.has("belt") == "buckle":
        on = (
            Part(
                "buckle",
                (box(MIDDLE - 40, y - 10, MIDDLE + 40, y + 62),),
                paint=colours.metal,
                on=(Part("", (box(MIDDLE - 22, y + 8, MIDDLE + 22, y + 44),), paint=colours.trim),),
            ),
        )
    if not back and article.has("belt") == "tie":
        ends = (
            ((MIDDLE - 6, y + 30), (MIDDLE - 60, y + 210), (MIDDLE - 14, y + 216), (MIDDLE + 12, y + 40)),
            ((MIDDLE, y + 30), (MIDDLE + 30, y + 190), (MIDDLE + 72, y + 176), (MIDDLE + 26, y + 36)),
        )
        on = (
            Part("", ends, shade=78),
            Part(
                "bow",
                (oval(MIDDLE - 48, y + 22, 46, 24), oval(MIDDLE + 48, y + 22, 46, 24), oval(MIDDLE, y + 24, 20, 22)),
                shade=82,
            ),
        )
    paint = colours.trim if article.has("belt") == "buckle" else None
    return [
        Part("belt", (box(100, y, 1100, y + 52),), paint=paint, shade=80 if paint is None else 100, on=on, clip=True)
    ]
