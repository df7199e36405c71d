"""Scarves, ties, belts, sunglasses, umbrellas."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, box, curve, mirror, oval, rounded, stroke


def scarf(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A scarf in a loop, its ends hanging."""
    width = {"wide": 190, "narrow": 110}[article.look.get("width", "wide")]
    ends = (1240 + article.vary("left end", 50), 1100 + article.vary("right end", 60))
    parts: list[Part] = []
    for side, end in zip((-1, 1), ends, strict=True):
        x, lean = MIDDLE + side * (width // 2 + 10), side * (20 + article.vary("lean", 14))
        shape: Polygon = (
            (x - width // 2, 520),
            (x + width // 2, 520),
            (x + width // 2 + lean, end),
            (x - width // 2 + lean, end),
        )
        folds = (((x - 10, 560), (x + 14 + lean, end), (x - 6 + lean, end)),)
        on: list[Part] = []
        if article.has("ends") == "striped":
            on.append(
                Part(
                    "stripes",
                    tuple(box(200, end - d, 1000, end - d + 34) for d in (90, 160, 230)),
                    paint=colours.mark,
                    clip=True,
                    rim=False,
                )
            )
        if article.has("ends") == "contrast":
            on.append(Part("ends", (box(200, end - 180, 1000, end + 20),), paint=colours.mark, clip=True))
        if article.has("fringe") != "none":
            threads = tuple(
                box(x + lean - width // 2 + 4 + i * 24, end - 4, x + lean - width // 2 + 16 + i * 24, end + 96)
                for i in range(width // 24)
            )
            parts.append(Part("fringe", threads, paint=colours.main, shade=90, rim=False))
        parts.append(Part("", (shape,), shade=96 if side < 0 else 90, folds=folds, on=tuple(on)))
    ring = (
        *curve((MIDDLE - 250, 380), (MIDDLE, 250), (MIDDLE + 250, 380), 8),
        *curve((MIDDLE + 290, 460), (MIDDLE, 780), (MIDDLE - 290, 460), 10),
    )
    hole = Part("", (oval(MIDDLE, 390, 150, 66),), shade=56)
    wrap = stroke(curve((MIDDLE - 220, 470), (MIDDLE, 640), (MIDDLE + 220, 470), 8), 12)
    parts.append(Part("", (ring,), folds=wrap, on=() if back else (hole,)))
    return tuple(parts)


def tie(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A tie."""
    half = {"slim": 64, "wide": 104}[article.look.get("width", "wide")] + article.vary("half", 8)
    end = 1330 + article.vary("end", 40)
    tail: Polygon = (
        (MIDDLE - 26, 400),
        (MIDDLE + 26, 400),
        (MIDDLE + half - 24, end - 160),
        (MIDDLE + 20, end - 90),
        (MIDDLE - half + 24, end - 160),
    )
    blade: Polygon = (
        (MIDDLE - 40, 380),
        (MIDDLE + 40, 380),
        (MIDDLE + half, end - 110),
        (MIDDLE, end),
        (MIDDLE - half, end - 110),
    )
    tip: Polygon = ((MIDDLE - half, end - 110), (MIDDLE, end), (MIDDLE + half, end - 110))
    if article.has("tip") == "square":
        blade = ((MIDDLE - 40, 380), (MIDDLE + 40, 380), (MIDDLE + half, end - 40), (MIDDLE - half, end - 40))
    on: list[Part] = []
    if article.has("tip") != "none":
        paint = colours.mark if article.has("tip") == "contrast" else None
        on.append(
            Part("tip", (box(300, end - 200, 900, end + 20),), paint=paint, shade=100 if paint else 90, clip=True)
        )
    if article.has("pin") != "none" and not back:
        on.append(Part("pin", (box(MIDDLE - half, 840, MIDDLE + half // 2, 862),), paint=colours.metal))
    knot: Polygon = ((MIDDLE - 84, 270), (MIDDLE + 84, 270), (MIDDLE + 46, 396), (MIDDLE - 46, 396))
    parts = [
        Part("", (blade,), on=tuple(on), folds=stroke(((MIDDLE, 400), (MIDDLE, tip[1][1] - 60)), 6) if back else ())
    ]
    if back:
        parts.append(Part("", (tail,), shade=82))
    loop = stroke(curve((MIDDLE - 70, 290), (MIDDLE - 260, 130), (MIDDLE, 130), 6), 56)
    loops = (*loop, *(mirror(quad) for quad in loop))
    return (Part("", loops, shade=78), *parts, Part("knot", (knot,), shade=90))


def bow_tie(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A bow tie."""
    half, high = 330 + article.vary("half", 30), {"slim": 84, "wide": 150}[article.look.get("width", "wide")]
    wing = (
        *curve((MIDDLE - 20, 800 - 40), (MIDDLE - half // 2, 800 - high), (MIDDLE - half, 800 - high), 6),
        *curve((MIDDLE - half, 800 + high), (MIDDLE - half // 2, 800 + high), (MIDDLE - 20, 800 + 40), 6),
    )
    folds = (((MIDDLE - 40, 790), (MIDDLE - 220, 760), (MIDDLE - 40, 806)),)
    left = Part("wing", (wing,), folds=folds)
    parts: list[Part] = [left, mirrored(left)]
    if back or article.has("band") != "none":
        band = stroke(curve((MIDDLE - 60, 780), (MIDDLE - 400, 420), (MIDDLE, 400), 8), 34)
        parts.insert(0, Part("band", (*band, *(mirror(quad) for quad in band)), shade=80))
    parts.append(
        Part(
            "knot",
            (rounded(MIDDLE - 54, 730, MIDDLE + 54, 870, 26),),
            paint=colours.trim if article.has("knot") == "contrast" else None,
            shade=88,
        )
    )
    return tuple(parts)


def belt(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A belt laid in a loop, the buckle in front."""
    width = {"wide": 130, "narrow": 76}[article.look.get("width", "wide")] + article.vary("width", 8)
    across, down = 440 + article.vary("across", 24), 190
    ring = (*oval(MIDDLE, 720, across, down), oval(MIDDLE, 720, across, down)[0])
    far = Part("", (*stroke(ring[8:], width), oval(MIDDLE - across, 720, 8, 8)), shade=70)
    front = stroke(ring[:9], width)
    end: Polygon = ((MIDDLE + 40, 860), (MIDDLE + 360, 780), (MIDDLE + 380, 780 + width), (MIDDLE + 40, 860 + width))
    holes = tuple(oval(MIDDLE + 110 + 52 * i, 890 + width // 2 - 14 * i - 16, 9, 9) for i in range(4))
    parts: list[Part] = [far, Part("", front, rim=True)]
    if back:
        return tuple(parts)
    parts.append(Part("end", (end,), shade=92, on=(Part("holes", holes, paint=(40, 34, 30), rim=False),)))
    y, half = 910, width // 2 + 34
    frame = (
        (rounded(MIDDLE - 90, y - half, MIDDLE + 70, y + half, 18),)
        if article.has("buckle") == "square"
        else (oval(MIDDLE - 10, y, 84, half + 8),)
    )
    hole = (
        (rounded(MIDDLE - 62, y - half + 26, MIDDLE + 42, y + half - 26, 8),)
        if article.has("buckle") == "square"
        else (oval(MIDDLE - 10, y, 54, half - 20),)
    )
    tongue = Part("", (box(MIDDLE - 80, y - 9, MIDDLE + 60, y + 9),), paint=colours.metal)
    parts.append(Part("buckle", frame, paint=colours.metal, on=(Part("", hole, shade=80), tongue)))
    return tuple(parts)


def sunglasses(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Sunglasses from the front."""
    shape, y, apart = article.look.get("lens", "round"), 790, 240 + article.vary("apart", 12)
    tint = {"dark": (52, 52, 58), "brown": (120, 84, 58), "blue": (84, 128, 176)}[article.look.get("tint", "dark")]

    def lens(grow: int) -> Polygon:
        x = MIDDLE - apart
        if shape == "round":
            return oval(x, y, 168 + grow, 168 + grow)
        if shape == "cat-eye":
            return (
                *curve((x - 200 - grow, y - 150 - grow), (x, y - 110 - grow), (x + 150 + grow, y - 90 - grow), 5),
                *curve((x + 160 + grow, y), (x + 80, y + 150 + grow), (x - 40, y + 130 + grow), 6),
                *curve((x - 130 - grow, y + 110 + grow), (x - 180 - grow, y), (x - 200 - grow, y - 150 - grow), 5),
            )
        return rounded(x - 180 - grow, y - 120 - grow, x + 170 + grow, y + 120 + grow, 60)

    arm = Part(
        "arm",
        stroke(((MIDDLE - apart - 170, y - 90), (MIDDLE - apart - 230, y - 110), (MIDDLE - apart - 250, y + 120)), 34),
        shade=80,
    )
    shine = stroke(((MIDDLE - apart - 70, y + 60), (MIDDLE - apart + 30, y - 70)), 30)
    glass = Part("lens", (lens(0),), paint=tint, lights=() if back else shine)
    rim = Part("frame", (lens(30),), on=(glass,))
    bridge = Part(
        "bridge",
        stroke(curve((MIDDLE - apart + 150, y - 60), (MIDDLE, y - 120), (MIDDLE + apart - 150, y - 60), 6), 32),
        paint=colours.metal if article.has("bridge") == "metal" else None,
        shade=90,
    )
    return (arm, mirrored(arm), bridge, rim, mirrored(rim))


def umbrella(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """An open umbrella."""
    half, base = 470 + article.vary("half", 20), 760
    dome = (
        *curve((MIDDLE - half, base), (MIDDLE - half + 20, 330), (MIDDLE, 320), 8),
        *curve((MIDDLE, 320), (MIDDLE + half - 20, 330), (MIDDLE + half, base), 8),
    )
    scallops: list[tuple[int, int]] = []
    for i in range(4):
        x1 = MIDDLE + half - i * half // 2
        scallops += curve((x1, base), (x1 - half // 4, base - 90), (x1 - half // 2, base), 5)
    ribs = tuple(
        quad
        for i in (-1, 0, 1)
        for quad in stroke(curve((MIDDLE, 322), (MIDDLE + i * half // 2, 500), (MIDDLE + i * half // 2, base), 6), 8)
    )
    on: list[Part] = []
    if article.has("edge") == "contrast":
        on.append(Part("edge", stroke(tuple(scallops), 70), paint=colours.trim, clip=True, rim=False))
    canopy = Part("canopy", ((*dome, *scallops),), folds=ribs, on=tuple(on))
    shaft = Part("shaft", (box(MIDDLE - 12, 260, MIDDLE + 12, 1240),), paint=colours.metal)
    paint = {"wood": (150, 98, 54), "black": (40, 38, 40)}[article.look.get("handle", "wood")]
    side = -1 if back else 1
    hook = stroke(
        (
            (MIDDLE, 1130),
            *curve((MIDDLE, 1260), (MIDDLE, 1390), (MIDDLE + side * 80, 1390), 6),
            *curve((MIDDLE + side * 80, 1390), (MIDDLE + side * 160, 1390), (MIDDLE + side * 150, 1310), 6),
        ),
        46,
    )
    return (shaft, Part("handle", hook, paint=paint), canopy)
