"""Garments for the legs: trousers, shorts, skirts."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import RGB, Part
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, between, box, curve, mirror, oval, rounded, stroke

WAIST = 260
LEG_END = {"short": 716, "knee": 860, "cropped": 1200, "full": 1430}
LEG_WIDTH = {"skinny": 92, "straight": 142, "wide": 228, "tapered": 104}
SKIN: RGB = (236, 214, 196)
SKIRT_END = {"mini": 740, "knee": 960, "midi": 1160, "maxi": 1440}


def trousers(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Trousers, jeans, leggings, shorts."""
    legs = tuple(leg_of(article, colours, left, WAIST) for left in (True, False))
    waist = waistband(article, colours, 172 + article.vary("waist", 8), WAIST, back)
    return (*legs, *front_of(article, colours, back, WAIST), *waist)


def leg_of(article: Article, colours: Colours, left: bool, top: int) -> Part:
    """One leg with its half of the hips."""
    side = "left" if left else "right"
    end = top - WAIST + LEG_END[article.look.get("leg", "full")] + article.vary("leg end", 20)
    width = LEG_WIDTH[article.look.get("leg_shape", "straight")] + article.vary("leg width", 10)
    if end < top + 620:
        width = max(width, 132 if article.has("leg_shape") == "skinny" else 170)
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
    on = _on_leg(article, colours, ((waist, top), *outer), (hem_out, hem_in, end), knee)
    part = Part("leg", (shape,), folds=tuple(folds), on=on)
    return part if left else mirrored(part)


def _on_leg(
    article: Article, colours: Colours, side: Polygon, hem: tuple[int, int, int], knee: tuple[int, int]
) -> tuple[Part, ...]:
    """The stripe along its outer side, what its hem (from x to x, at y) is like, and what is at the knee."""
    on: list[Part] = []
    left, right, end = hem
    if article.has("panel") != "none":
        on.append(Part("panel", stroke(side, 66), colours.trim, clip=True, rim=False))
    if article.has("hem") != "none":
        height = {"turn-up": 84, "ribbed": 90, "contrast": 40}.get(article.has("hem"), 30)
        paint = {"ribbed": colours.main, "contrast": colours.trim}.get(article.has("hem"))
        name = {"turn-up": "turn-up", "ribbed": "cuff"}.get(article.has("hem"), "hem")
        y = end - height // 2
        on.append(Part(name, stroke(((left - 20, y + 4), (right + 20, y + 14)), height), paint, 82, clip=True))
    if article.has("knee") == "patch":
        square = box(knee[0] - 56, knee[1] - 70, knee[0] + 56, knee[1] + 76)
        on.append(Part("patch", (square,), colours.trim, clip=True))
    if article.has("knee") == "rip":
        slits = tuple(box(knee[0] - 44, knee[1] + dy, knee[0] + 40, knee[1] + dy + 16) for dy in (-40, -4, 34))
        on.append(Part("rip", slits, SKIN, clip=True))
    return tuple(on)


def front_of(article: Article, colours: Colours, back: bool, top: int) -> list[Part]:
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


def waistband(article: Article, colours: Colours, half: int, top: int, back: bool) -> list[Part]:
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
    return (body, *waistband(article, colours, 166, WAIST, back))


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
