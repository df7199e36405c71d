"""Garments for the upper body and the whole body: T-shirts, shirts, jackets, coats, dresses, swimsuits."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.measures import TOP, Cut, cut_of, neck_line
from fashionvl.catalogue.sample.place import mirrored
from fashionvl.catalogue.sample.scene import Part
from fashionvl.catalogue.sample.sewn import edge_paint, on_body
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, between, curve, mirror, oval, stroke

SLEEVE = {"short": (200, 70, 128), "elbow": (330, 112, 118), "long": (640, 150, 92)}  # down, out, width of the end


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
    body = Part("", (_outline(article, cut),), folds=_folds(article, cut), on=on_body(article, colours, cut, back))
    above: list[Part] = []
    if article.has("hood") != "none":
        above += _hood_back(cut) if back else _drawstrings(article, cut)
    if article.has("strap") != "none":
        behind += _straps(article, cut)
    return (*behind, *sleeves, body, *above)


def _outline(article: Article, cut: Cut) -> Polygon:
    neck = neck_line(article, cut)
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
    line = neck_line(article, cut)
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
            Part("cuff", stroke((end, inner), 96), paint=edge_paint(article, colours, "cuff"), shade=88, clip=True)
        )
    if article.has("patch") == "elbow":
        x, y = between(between(shoulder, armpit, 1, 2), middle, 11, 20)
        on.append(Part("patch", (oval(x, y, 40, 64),), paint=colours.trim, clip=True))
    part = Part("sleeve", (shape,), shade=93, folds=folds, on=tuple(on))
    return part if left else mirrored(part)


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
