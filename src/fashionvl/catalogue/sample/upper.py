"""Garments for the upper body and the whole body: T-shirts, shirts, jackets, coats, dresses, swimsuits."""

from dataclasses import dataclass

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.cloth import star
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, between, box, curve, mirror, oval, rounded, stroke

TOP = 330  # where the shoulders meet the neck
NECK_DEPTH = {"round": 62, "v": 165, "square": 110, "boat": 34, "scoop": 130}
BOTTOM = {
    "waist": 760,
    "cropped": 790,
    "regular": 980,
    "long": 1130,
    "thigh": 1150,
    "knee": 1330,
    "calf": 1480,
    "ankle": 1650,
}
CHEST = {"slim": 196, "regular": 218, "oversized": 258}
SLEEVE = {"short": (200, 70, 128), "elbow": (330, 112, 118), "long": (640, 150, 92)}  # down, out, width of the end


@dataclass(frozen=True)
class Cut:
    """The measures of a torso: half widths and heights in design units."""

    neck: int
    depth: int
    shoulder: int
    chest: int
    waist: int
    hem: int
    bottom: int

    @property
    def waist_y(self) -> int:
        return TOP + 400


def cut_of(article: Article, back: bool) -> Cut:
    """The measures that follow from the look, with a little of each article's own."""
    chest = CHEST[article.look.get("fit", "regular")] + article.vary("chest", 10)
    neckline = article.has("neckline")
    neck = {"boat": 150, "square": 118, "scoop": 128}.get(neckline, 92) + article.vary("neck", 6)
    depth = 18 if back else NECK_DEPTH.get(neckline, 46) + article.vary("depth", 6)
    if article.has("lapel") != "none" and not back:
        depth = 330
    bottom = BOTTOM[article.look.get("length", "regular")] + article.vary("bottom", 24)
    flare = {"flared": 150, "straight": 12, "fitted": -12}.get(article.has("shape"), 0)
    waist = chest - {"flared": 40, "fitted": 34}.get(article.has("shape"), 8)
    hem = max(chest + flare * (bottom - TOP) // 800, 150)
    return Cut(neck, depth, chest + 14, chest, waist, hem, bottom)


def upper(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Everything that has a neck and perhaps sleeves."""
    cut = cut_of(article, back)
    behind: list[Part] = []
    if article.has("hood") != "none" and not back:
        behind.append(_hood(article, cut))
    behind += _inner_back(article, cut, back)
    sleeves = (
        [] if article.has("sleeve") == "none" else [_sleeve(article, colours, cut, left) for left in (True, False)]
    )
    body = Part("", (_outline(article, cut),), folds=_folds(article, cut), on=_on_body(article, colours, cut, back))
    above: list[Part] = []
    if article.has("hood") != "none":
        above += _hood_back(cut) if back else _drawstrings(article, cut)
    if article.has("strap") != "none":
        behind += _straps(article, cut)
    return (*behind, *sleeves, body, *above)


def _neck_line(article: Article, cut: Cut) -> Polygon:
    """The edge of the neck from left to right."""
    left, right = (MIDDLE - cut.neck, TOP), (MIDDLE + cut.neck, TOP)
    shape = article.has("neckline") if cut.depth > 30 else "round"
    if article.has("lapel") != "none" and cut.depth > 30:
        shape = "v"
    if shape == "v":
        return (left, (MIDDLE, TOP + cut.depth), right)
    if shape == "square":
        return (left, (left[0] + 12, TOP + cut.depth), (right[0] - 12, TOP + cut.depth), right)
    return curve(left, (MIDDLE, TOP + 2 * cut.depth), right)


def _outline(article: Article, cut: Cut) -> Polygon:
    neck = _neck_line(article, cut)
    if article.has("strap") != "none":  # bare shoulders
        top = TOP + 150
        neck = curve((MIDDLE - cut.chest + 34, top - 10), (MIDDLE, top + 50), (MIDDLE + cut.chest - 34, top - 10))
        right: Polygon = ((MIDDLE + cut.chest, top + 110),)
    elif article.has("sleeve") == "none":
        shoulder = (MIDDLE + cut.neck + (cut.chest - cut.neck) * 11 // 16, TOP + 30)
        right = (
            shoulder,
            *curve(
                (shoulder[0] - 6, TOP + 120), (MIDDLE + cut.chest - 40, TOP + 235), (MIDDLE + cut.chest, TOP + 255), 4
            ),
        )
    else:
        right = ((MIDDLE + cut.shoulder, TOP + 52), (MIDDLE + cut.chest, TOP + 250))
    side = curve(
        (MIDDLE + cut.chest, TOP + 260),
        (MIDDLE + 2 * cut.waist - (cut.chest + cut.hem) // 2, cut.waist_y),
        (MIDDLE + cut.hem, cut.bottom),
        6,
    )
    if article.has("shape") == "flared":
        side = ((MIDDLE + cut.waist, cut.waist_y - 20), (MIDDLE + cut.hem, cut.bottom))
    hem = curve((MIDDLE + cut.hem, cut.bottom), (MIDDLE, cut.bottom + 26), (MIDDLE - cut.hem, cut.bottom), 6)
    return (*neck, *right, *side, *hem, *mirror(side)[::-1], *mirror(right)[::-1])


def _inner_back(article: Article, cut: Cut, back: bool) -> list[Part]:
    if back or article.has("strap") != "none":
        return []
    line = _neck_line(article, cut)
    rise = curve(line[-1], (MIDDLE, TOP + 24), line[0])
    return [Part("", ((*line, *rise),), shade=58)]


def _sleeve(article: Article, colours: Colours, cut: Cut, left: bool) -> Part:
    side = "left" if left else "right"
    down, out, width = SLEEVE[article.has("sleeve")]
    out += article.vary(side + " sleeve out", 22)
    down += article.vary(side + " sleeve down", 16)
    wide = {"puffed": 40, "wide": 44}.get(article.has("sleeve_shape"), 0)
    shoulder, armpit = (MIDDLE - cut.shoulder + 4, TOP + 48), (MIDDLE - cut.chest + 6, TOP + 250)
    end = (shoulder[0] - out, shoulder[1] + down)
    inner = (end[0] + width, end[1] + 24 + width * out // max(down, 1) // 2)
    if article.has("sleeve_shape") == "wide":
        end = (end[0] - wide, end[1])
    if article.has("sleeve_shape") == "puffed":
        outer = curve(shoulder, (shoulder[0] - out - 2 * wide, shoulder[1] + down // 2), end, 6)
    else:
        outer = curve(shoulder, (shoulder[0] - out // 2 - 14, shoulder[1] + down // 3), end, 6)
    shape: Polygon = (*outer, inner, armpit, (MIDDLE - cut.chest + 40, TOP + 120))
    middle = between(end, inner, 1, 2)
    folds = stroke((between(shoulder, armpit, 2, 3), between(middle, shoulder, 1, 5)), 14)
    on: list[Part] = []
    if article.has("cuff") != "none":
        on.append(
            Part("cuff", stroke((end, inner), 96), paint=_edge_paint(article, colours, "cuff"), shade=88, clip=True)
        )
    if article.has("patch") == "elbow":
        x, y = between(between(shoulder, armpit, 1, 2), middle, 11, 20)
        on.append(Part("patch", (oval(x, y, 40, 64),), paint=colours.trim, clip=True))
    part = Part("sleeve", (shape,), shade=93, folds=folds, on=tuple(on))
    return part if left else mirrored(part)


def mirrored(part: Part, axis: int = MIDDLE) -> Part:
    """The part and all that lies on it, reflected."""
    flip = tuple(mirror(shape, axis) for shape in part.shapes)
    folds, lights = (tuple(mirror(shape, axis) for shape in shapes) for shapes in (part.folds, part.lights))
    on = tuple(mirrored(child, axis) for child in part.on)
    return Part(part.name, flip, part.paint, part.shade, folds, lights, on, part.clip, part.rim)


def _edge_paint(article: Article, colours: Colours, feature: str) -> tuple[int, int, int] | None:
    """Contrast edges are of the trim's colour, ribbed and plain ones of the cloth's own."""
    return {"contrast": colours.trim, "ribbed": colours.main}.get(article.has(feature))


def _on_body(article: Article, colours: Colours, cut: Cut, back: bool) -> tuple[Part, ...]:
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
                stroke(_neck_line(article, cut), 26),
                paint=_edge_paint(article, colours, "neck_edge"),
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
        parts.append(Part("collar", stroke(line, 56), paint=_edge_paint(article, colours, "collar_edge"), shade=90))
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
            paint=_edge_paint(article, colours, "hem"),
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
    kind, paint = article.has("collar"), _edge_paint(article, colours, "collar_edge")
    neck, dip = (MIDDLE - cut.neck, TOP), (MIDDLE, TOP + cut.depth)
    if kind in ("shirt", "polo"):
        wing: Polygon = (
            (neck[0] - 4, TOP - 34),
            (neck[0] - 34, TOP + 20),
            (MIDDLE - 62, TOP + cut.depth + 74),
            (dip[0], dip[1] + 4),
            (neck[0] + 30, TOP - 4),
        )
        left = Part("collar", (wing,), paint=paint, shade=90)
        return [left, mirrored(left)]
    if kind == "peter pan":
        left = Part(
            "collar",
            (
                (
                    *curve(neck, (MIDDLE - 30, TOP + cut.depth), dip, 6),
                    *curve(
                        (MIDDLE - 6, TOP + cut.depth + 76),
                        (MIDDLE - 150, TOP + cut.depth + 70),
                        (neck[0] - 46, TOP + 22),
                        6,
                    ),
                ),
            ),
            paint=paint,
            shade=92,
        )
        return [left, mirrored(left)]
    if kind == "stand":
        shape = (
            (neck[0] - 10, TOP + 10),
            (neck[0] + 4, TOP - 74),
            (2 * MIDDLE - neck[0] - 4, TOP - 74),
            (2 * MIDDLE - neck[0] + 10, TOP + 10),
            (MIDDLE, TOP + cut.depth + 16),
        )
        return [
            Part("collar", (shape,), paint=paint, shade=88, folds=(box(MIDDLE - 4, TOP - 90, MIDDLE + 4, TOP + 90),))
        ]
    if kind == "roll":
        shape = (
            (neck[0] - 2, TOP + 22),
            (neck[0] + 10, TOP - 96),
            (2 * MIDDLE - neck[0] - 10, TOP - 96),
            (2 * MIDDLE - neck[0] + 2, TOP + 22),
            (MIDDLE, TOP + cut.depth + 20),
        )
        return [Part("collar", (shape,), shade=90, folds=(box(400, TOP - 38, 800, TOP - 30),))]
    if article.has("lapel") != "none":
        lapel: Polygon = (
            (neck[0], TOP - 10),
            (neck[0] - 62, TOP + 120),
            (neck[0] - 20, TOP + 138),
            (neck[0] - 52, TOP + 168),
            (MIDDLE - 4, TOP + cut.depth + 6),
        )
        left = Part("lapel", (lapel,), paint=paint, shade=86)
        return [left, mirrored(left)]
    return []


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


def _hood(article: Article, cut: Cut) -> Part:
    half = cut.neck + 92 + article.vary("hood", 10)
    arch = curve((MIDDLE - half, TOP + 40), (MIDDLE - half - 20, TOP - 250), (MIDDLE, TOP - 250), 6)
    shape = (*arch, *mirror(arch)[::-1], (MIDDLE, TOP + 130))
    opening = Part("", (oval(MIDDLE, TOP - 50, half - 62, 140),), shade=52)
    return Part("hood", (shape,), shade=94, on=(opening,))


def _hood_back(cut: Cut) -> list[Part]:
    half = cut.neck + 70
    fall = curve((MIDDLE - half, TOP - 14), (MIDDLE - half + 10, TOP + 300), (MIDDLE, TOP + 300), 6)
    return [
        Part(
            "hood",
            ((*fall, *mirror(fall)[::-1], (MIDDLE, TOP - 60)),),
            shade=90,
            folds=stroke(((MIDDLE, TOP - 30), (MIDDLE, TOP + 280)), 10),
        )
    ]


def _drawstrings(article: Article, cut: Cut) -> list[Part]:
    if article.has("drawstring") == "none":
        return []
    cords = tuple(
        stroke(((MIDDLE + s * 44, TOP + 70), (MIDDLE + s * 52, TOP + 270 + s * article.vary("cord", 20))), 13)
        for s in (-1, 1)
    )
    return [Part("drawstring", cords[0] + cords[1], paint=(238, 236, 230), rim=True)]


def _straps(article: Article, cut: Cut) -> list[Part]:
    width = 22 if article.has("strap") == "thin" else 52
    line = ((MIDDLE - cut.chest + 74, TOP + 170), (MIDDLE - 118, TOP - 10), (MIDDLE - 96, TOP - 14))
    left = Part("strap", stroke(line, width), shade=94)
    return [left, mirrored(left)]


def _folds(article: Article, cut: Cut) -> tuple[Polygon, ...]:
    """Where the cloth falls: from the armpits inwards, and up from the hem."""
    lean = article.vary("fold", 40)
    armpits = (
        (MIDDLE - cut.chest, TOP + 270),
        (MIDDLE - cut.chest + 110, TOP + 350 + lean),
        (MIDDLE - cut.chest, TOP + 300),
    )
    folds: list[Polygon] = [armpits, mirror(armpits)]
    for i in range(4 if article.has("shape") == "flared" else 2):
        x = (
            MIDDLE
            - cut.hem
            + (2 * cut.hem) * (2 * i + 1) // (8 if article.has("shape") == "flared" else 4)
            + article.vary(f"fold {i}", 30)
        )
        top = MIDDLE + (x - MIDDLE) * cut.waist // (cut.hem + 30)
        folds.append(((top, cut.waist_y + 60), (x + 20, cut.bottom + 30), (x - 14, cut.bottom + 30)))
    return tuple(folds)
