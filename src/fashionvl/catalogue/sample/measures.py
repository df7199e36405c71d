"""The measures of a torso, from which its outline and all that is sewn on it follow."""

from dataclasses import dataclass

from fashionvl.catalogue.sample.article import Article
from fashionvl.catalogue.sample.shapes import MIDDLE, Polygon, curve

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


def neck_line(article: Article, cut: Cut) -> Polygon:
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
