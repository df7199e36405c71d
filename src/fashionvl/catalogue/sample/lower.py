"""Garments for the legs: trousers, shorts, skirts, jumpsuits, dungarees, socks."""

from dataclasses import replace

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, between, box, curve, mirror, oval, rounded, stroke
from fashionvl.catalogue.sample.upper import mirrored, upper

WAIST = 260
LEG_END = {"short": 716, "knee": 860, "cropped": 1200, "full": 1430}
LEG_WIDTH = {"skinny": 92, "straight": 142, "wide": 228, "tapered": 104}
SKIRT_END = {"mini": 740, "knee": 960, "midi": 1160, "maxi": 1440}


def trousers(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Trousers, jeans, leggings, shorts."""
    legs = tuple(_leg(article, colours, left, WAIST) for left in (True, False))
    waist = _waistband(article, colours, 172 + article.vary("waist", 8), WAIST, back)
    return (*legs, *_front(article, colours, back, WAIST), *waist)


def _leg(article: Article, colours: Colours, left: bool, top: int) -> Part:
    """One leg with its half of the hips."""
    side = "left" if left else "right"
    end = top - WAIST + LEG_END[article.look.get("leg", "full")] + article.vary("leg end", 20)
    width = LEG_WIDTH[article.look.get("leg_shape", "straight")] + article.vary("leg width", 10)
    if end < top + 560:
        width = max(width, 170)
    out = 40 + article.vary(side + " stance", 18)
    waist, hip, crotch = MIDDLE - 172, MIDDLE - 214, top + 340
    hem_in = MIDDLE - 22 - out
    hem_out = hem_in - width
    outer = curve((hip, top + 210), (hip - 4, top + min(420, (end - top) * 3 // 4)), (hem_out, end), 8)
    shape: Polygon = ((waist, top), *outer, (hem_in, end + 10), (MIDDLE + 2, crotch), (MIDDLE + 2, top))
    knee = (between((hip, crotch), (hem_out, end), 1, 2)[0] + width // 2, (crotch + end) // 2)
    folds: list[Polygon] = [((MIDDLE, crotch - 20), (MIDDLE - 130, crotch - 70), (MIDDLE, crotch + 16))]
    if article.has("crease") != "none":
        folds += stroke(((knee[0] + 10, top + 260), ((hem_in + hem_out) // 2, end)), 10)
    else:
        folds.append(((hem_out, end - 120), (hem_in - 20, end - 90), (hem_out, end - 96)))
    on: list[Part] = []
    if article.has("hem") != "none":
        height = {"turn-up": 84, "ribbed": 90, "contrast": 40}.get(article.has("hem"), 30)
        paint = {"ribbed": colours.main, "contrast": colours.trim}.get(article.has("hem"))
        on.append(
            Part(
                "turn-up" if article.has("hem") == "turn-up" else "cuff" if article.has("hem") == "ribbed" else "hem",
                stroke(((hem_out - 20, end - height // 2 + 4), (hem_in + 20, end - height // 2 + 14)), height),
                paint=paint,
                shade=82,
                clip=True,
            )
        )
    if article.has("panel") != "none":
        on.insert(0, Part("panel", stroke(((waist, top), *outer), 66), paint=colours.trim, clip=True, rim=False))
    if article.has("knee") == "patch":
        on.append(
            Part("patch", (box(knee[0] - 56, knee[1] - 70, knee[0] + 56, knee[1] + 76),), paint=colours.trim, clip=True)
        )
    if article.has("knee") == "rip":
        on.append(
            Part(
                "rip",
                tuple(box(knee[0] - 44, knee[1] + dy, knee[0] + 40, knee[1] + dy + 16) for dy in (-40, -4, 34)),
                paint=(236, 214, 196),
                clip=True,
            )
        )
    part = Part("leg", (shape,), folds=tuple(folds), on=tuple(on))
    return part if left else mirrored(part)


def _front(article: Article, colours: Colours, back: bool, top: int) -> list[Part]:
    """Pockets and fly of the front, pockets and seam of the back."""
    seam = Part("", stroke(((MIDDLE, top + 50), (MIDDLE, top + 340)), 6), shade=60, rim=False)
    if back:
        if article.has("pocket") in ("back", "side and back", "cargo"):
            return [seam, *(_seat_pocket(x, top + 130) for x in (MIDDLE - 104, MIDDLE + 104))]
        return [seam]
    parts = [seam]
    if article.has("fly") != "none":
        parts.append(
            Part(
                "fly",
                (
                    (
                        *curve((MIDDLE + 52, top + 50), (MIDDLE + 56, top + 230), (MIDDLE, top + 260), 5),
                        (MIDDLE, top + 50),
                    ),
                ),
                shade=90,
            )
        )
    if article.has("pocket") in ("side", "side and back"):
        left = Part("pocket", stroke(((MIDDLE - 118, top + 50), (MIDDLE - 196, top + 190)), 20), shade=62)
        parts += [left, mirrored(left)]
    if article.has("pocket") == "cargo":
        left = Part(
            "pocket",
            (box(MIDDLE - 250, top + 470, MIDDLE - 140, top + 620),),
            shade=88,
            on=(Part("flap", (box(MIDDLE - 256, top + 462, MIDDLE - 134, top + 512),), shade=76),),
        )
        parts += [left, mirrored(left)]
    return parts


def _seat_pocket(x: int, y: int) -> Part:
    shape = ((x - 58, y), (x + 58, y), (x + 58, y + 100), (x, y + 128), (x - 58, y + 100))
    return Part("pocket", (shape,), shade=86, on=(Part("", (box(x - 58, y, x + 58, y + 18),), shade=74, clip=True),))


def _waistband(article: Article, colours: Colours, half: int, top: int, back: bool) -> list[Part]:
    style, parts = article.has("waist"), []
    folds: tuple[Polygon, ...] = ()
    if style in ("elasticated", "drawstring"):
        folds = tuple(box(x, top - 20, x + 9, top + 70) for x in range(MIDDLE - half, MIDDLE + half, 28))
    shape = (
        *curve((MIDDLE - half - 6, top), (MIDDLE, top + 14), (MIDDLE + half + 6, top), 4),
        (MIDDLE + half + 12, top + 56),
        *curve((MIDDLE + half + 12, top + 56), (MIDDLE, top + 72), (MIDDLE - half - 12, top + 56), 4),
    )
    on: list[Part] = []
    if style == "button" and not back:
        on.append(Part("button", (oval(MIDDLE + 6, top + 34, 20, 20),), paint=colours.metal))
    if style in ("button", "loops"):
        parts_loops = tuple(box(MIDDLE + dx - 9, top - 6, MIDDLE + dx + 9, top + 66) for dx in (-130, -66, 66, 130))
        on.append(Part("loops", parts_loops, shade=70))
    parts.append(
        Part(
            "waistband",
            (shape,),
            paint=colours.trim if style == "contrast" else None,
            shade=84,
            folds=folds,
            on=tuple(on),
        )
    )
    if style == "drawstring" and not back:
        cords = stroke(((MIDDLE - 8, top + 40), (MIDDLE - 46, top + 210)), 14) + stroke(
            ((MIDDLE + 8, top + 40), (MIDDLE + 38, top + 190)), 14
        )
        parts.append(Part("drawstring", cords, paint=(238, 236, 230)))
    if style == "belt":
        buckle = Part(
            "buckle",
            (box(MIDDLE - 36, top + 2, MIDDLE + 36, top + 70),),
            paint=colours.metal,
            on=(Part("", (box(MIDDLE - 18, top + 18, MIDDLE + 18, top + 54),), paint=colours.trim),),
        )
        parts.append(
            Part(
                "belt",
                (box(MIDDLE - half - 12, top + 12, MIDDLE + half + 12, top + 60),),
                paint=colours.trim,
                on=() if back else (buckle,),
            )
        )
    return parts


def skirt(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Skirts by length and shape."""
    end = SKIRT_END[article.look.get("length", "knee")] + article.vary("end", 24)
    shape = article.has("shape")
    flare = {"pencil": -10, "a-line": 130, "pleated": 200, "flared": 230}.get(shape, 90)
    half = 200 + max(flare, 0) * (end - WAIST) // 900 + min(flare, 0) + article.vary("half", 12)
    side = curve(
        (MIDDLE + 166, WAIST + 40),
        (MIDDLE + (230 if shape == "pencil" else 190 + flare // 6), WAIST + 260),
        (MIDDLE + half, end),
        8,
    )
    wave = 26 if shape in ("pleated", "flared") else 16
    hem = curve((MIDDLE + half, end), (MIDDLE, end + 2 * wave), (MIDDLE - half, end), 8)
    folds: list[Polygon] = []
    if shape == "pleated":
        for i in range(-5, 6):
            folds.append(
                (
                    (MIDDLE + i * 30, WAIST + 50),
                    (MIDDLE + i * half * 2 // 11 + 12, end + 40),
                    (MIDDLE + i * half * 2 // 11 - 14, end + 40),
                )
            )
    else:
        for i, at in enumerate((-2, 1, 3) if shape != "pencil" else (-2, 2)):
            x = MIDDLE + at * half // 5 + article.vary(f"fold {i}", 26)
            folds.append(((MIDDLE + at * 30, WAIST + 120), (x + 16, end + 30), (x - 12, end + 30)))
    on = _on_skirt(article, colours, end, half, back)
    name = "pleats" if shape == "pleated" else ""
    body = Part(name, ((*side, *hem, *mirror(side)[::-1]),), folds=tuple(folds), on=on)
    return (body, *_waistband(article, colours, 166, WAIST, back))


def _on_skirt(article: Article, colours: Colours, end: int, half: int, back: bool) -> tuple[Part, ...]:
    parts: list[Part] = []
    if article.has("hem") != "none":
        height = 120 if article.has("hem") == "frill" else 36
        line = curve((MIDDLE - half - 60, end), (MIDDLE, end + 40), (MIDDLE + half + 60, end), 8)
        folds = tuple(box(x, end - 180, x + 16, end + 80) for x in range(40, 1180, 50)) if height == 120 else ()
        paint = colours.trim if article.has("hem") == "contrast" else None
        parts.append(
            Part(
                "frill" if height == 120 else "hem",
                ((*line, *((x, y - height) for x, y in line[::-1])),),
                paint=paint,
                shade=84,
                folds=folds,
                clip=True,
            )
        )
    if back:
        return tuple(parts)
    if article.has("closure") == "buttons":
        count = max((end - WAIST) // 110, 4)
        discs = tuple(oval(MIDDLE, WAIST + 100 + i * (end - WAIST - 150) // (count - 1), 16, 16) for i in range(count))
        parts += [
            Part("placket", (box(MIDDLE - 34, WAIST, MIDDLE + 34, end + 60),), shade=88, clip=True),
            Part("buttons", discs, paint=colours.trim),
        ]
    if article.has("closure") == "slit":
        parts.append(
            Part(
                "slit",
                (((MIDDLE + 70, end - 240), (MIDDLE + 100, end + 60), (MIDDLE + 50, end + 60)),),
                paint=(96, 84, 84),
                clip=True,
            )
        )
    if article.has("pocket") == "patch":
        for x in (MIDDLE - 110, MIDDLE + 110):
            parts.append(Part("pocket", (rounded(x - 62, WAIST + 140, x + 62, WAIST + 290, 26),), shade=86))
    return tuple(parts)


def jumpsuit(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """A top and trousers in one, joined at the waist."""
    top = 690
    legs = tuple(_leg(article, colours, left, top) for left in (True, False))
    torso = replace(article, look={feature: choice for feature, choice in article.look.items() if feature != "hem"})
    return (*legs, *upper(torso, colours, back))


def dungarees(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Trousers with a bib and straps."""
    top = 690
    legs = tuple(_leg(article, colours, left, top) for left in (True, False))
    half = 150 + article.vary("bib", 10)
    if back:
        line: Polygon = ((MIDDLE - 40, top + 20), (MIDDLE - 130, top - 300), (MIDDLE - 118, top - 330))
        strap = Part("strap", stroke(line, 46), shade=92)
        return (
            *legs,
            strap,
            mirrored(strap),
            *_front(article, colours, back, top),
            *_waistband(article, colours, 174, top, back),
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
        *_front(article, colours, back, top),
        *_waistband(article, colours, 174, top, back),
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
