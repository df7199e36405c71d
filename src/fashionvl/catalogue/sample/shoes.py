"""Shoes, from the side; the second one of the pair stands behind."""

from fashionvl.catalogue.sample.article import Article, Colours
from fashionvl.catalogue.sample.place import flower, mirrored, shifted
from fashionvl.catalogue.sample.scene import RGB, Part
from fashionvl.catalogue.sample.shapes import Polygon, between, box, curve, oval, stroke

FLOOR = 1100
WHITE: RGB = (244, 243, 238)
RUBBER: RGB = (150, 112, 74)
BLACK: RGB = (38, 36, 38)


def _pair(parts: tuple[Part, ...], article: Article, back: bool) -> tuple[Part, ...]:
    """The shoe, with its fellow behind it where the article is shown so; the back view is the other side."""
    if article.has("shown") == "pair" and not back:
        parts = tuple(shifted(part, 110, -96 + article.vary("behind", 20), 88) for part in parts) + parts
    return tuple(mirrored(part) for part in parts) if back else parts


def _sole_paint(article: Article, colours: Colours) -> RGB:
    return {"white": WHITE, "gum": RUBBER, "black": BLACK, "contrast": colours.trim}[article.look.get("sole", "black")]


def trainers(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Low or high trainers, toe to the left."""
    thick = {"chunky": 120, "flat": 62}[article.look.get("sole_height", "flat")]
    floor, up = FLOOR - thick, {"high": 190, "low": 0}[article.look.get("ankle", "low")] + article.vary("up", 14)
    upper: Polygon = (
        (200, floor), *curve((196, floor - 60), (190, floor - 150), (350, floor - 170), 6),
        *curve((440, floor - 190), (560, floor - 240), (650, floor - 350 - up), 6),
        *curve((690, floor - 370 - up), (760, floor - 300 - up), (900, floor - 380 - up), 5),
        *curve((940, floor - 370 - up), (930, floor - 160), (960, floor), 5),
    )  # fmt: skip
    sole: Polygon = (
        (176, floor - 26), (972, floor - 16), (986, floor + 30),
        *curve((980, FLOOR), (600, FLOOR + 8), (230, FLOOR), 4), (170, floor + 20),
    )  # fmt: skip
    line = stroke(((180, floor + thick // 2), (980, floor + thick // 2)), 8)
    base = Part("sole", (sole,), _sole_paint(article, colours), folds=line)
    return _pair((Part("", (upper,), on=_on_trainer(article, colours, floor, up, back)), base), article, back)


def _on_trainer(article: Article, colours: Colours, floor: int, up: int, back: bool) -> tuple[Part, ...]:
    """Toe cap, heel tab, side panel, and what closes it."""
    toe = WHITE if article.has("toe") == "white" else None
    on = [Part("toe", (oval(220, floor - 20, 150, 130),), toe, 88, clip=True)]
    if article.has("heel_tab") != "none":
        on.append(Part("heel", (box(868, floor - 300, 1000, floor + 10),), paint=colours.mark, clip=True))
    if article.has("panel") != "none" and not back:
        wave = stroke(curve((560, floor - 30), (640, floor - 60), (800, floor - 230), 6), 44)
        on.append(Part("panel", wave, paint=colours.mark, clip=True, rim=False))
    if article.has("laces") == "straps":
        straps = tuple(
            q
            for i in (0, 1)
            for q in stroke(((470 + 96 * i, floor - 220 - 66 * i), (620 + 90 * i, floor - 90 - 66 * i)), 62)
        )
        on.append(Part("strap", straps, paint=colours.trim, clip=True))
    else:
        count = 5 if up < 100 else 7
        starts = (between((430, floor - 196), (660, floor - 330 - up), i, count) for i in range(count))
        rows = tuple(quad for x, y in starts for quad in stroke(((x, y - 12), (x + 76, y + 62)), 20))
        on.append(Part("laces", rows, WHITE if article.has("laces") == "white" else colours.trim))
    return tuple(on)


def boots(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Boots with a shaft of some height."""
    top = {"ankle": 660, "calf": 460, "knee": 230}[article.look.get("shaft", "ankle")] + article.vary("top", 18)
    heel = {"flat": 46, "block": 110, "high": 170}[article.look.get("heel", "flat")]
    floor = FLOOR - 44
    back_floor = FLOOR - heel
    upper: Polygon = (
        (230, floor), *curve((224, floor - 70), (230, floor - 150), (400, floor - 190), 6),
        *curve((520, floor - 230), (600, floor - 270), (610, 760), 5), (596, top),
        *curve((596, top), (720, top + 26), (850, top), 4), (846, 800),
        *curve((846, 800), (870, 940), (880, back_floor), 5), (620, back_floor + 10), (480, floor),
    )  # fmt: skip
    sole: Polygon = (
        (214, floor - 8), (520, floor - 8), (640, back_floor), (890, back_floor),
        (892, back_floor + 22), (650, back_floor + 26), (520, FLOOR), (226, FLOOR),
    )  # fmt: skip
    block: Polygon = ((700, back_floor), (888, back_floor), (880, FLOOR), (720, FLOOR))
    if article.has("heel") == "high":
        block = ((770, back_floor), (888, back_floor), (876, FLOOR), (826, FLOOR))
    paint = _sole_paint(article, colours)
    shaft = Part("shaft", (box(500, top - 40, 1000, 800),), shade=94, clip=True)
    leather = Part("", (upper,), on=(shaft, *_fastening(article, colours, top, back)))
    return _pair((leather, Part("heel", (block,), paint), Part("sole", (sole,), paint)), article, back)


def _fastening(article: Article, colours: Colours, top: int, back: bool) -> list[Part]:
    """What closes a boot."""
    on: list[Part] = []
    if article.has("fastening") == "laces":
        rows = tuple(
            q
            for i in range(6)
            for q in stroke(((566 - 14 * i, 780 + 30 * i - 60), (640 - 8 * i, 810 + 30 * i - 60)), 16)
        )
        on.append(Part("laces", rows, paint=colours.trim))
    if article.has("fastening") == "zip" and not back:
        teeth = tuple(box(712, y, 728, y + 9) for y in range(top + 30, 990, 18))
        on.append(Part("zip", teeth, paint=colours.metal, rim=False))
    if article.has("fastening") == "buckle":
        buckle = Part("buckle", (box(690, 826, 760, 896),), paint=colours.metal)
        on.append(Part("strap", stroke(((540, 880), (900, 850)), 44), paint=colours.trim, on=(buckle,), clip=True))
    if article.has("fastening") == "elastic":
        ribs = tuple(box(x, top, x + 8, 920) for x in range(650, 800, 22))
        wedge = ((660, top + 20), (790, top + 20), (760, 900), (690, 900))
        on.append(Part("panel", (wedge,), BLACK, folds=ribs, clip=True))
    return on


def court_shoes(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Court shoes with a heel."""
    heel = {"kitten": 120, "block": 200, "stiletto": 290}[article.look.get("heel", "block")] + article.vary("heel", 14)
    rear, floor = FLOOR - heel, FLOOR - 26
    toe = 190 if article.has("toe") == "pointed" else 240
    upper: Polygon = (
        (toe, floor), *curve((toe + 10, floor - 60), (toe + 60, floor - 110), (430, floor - 120), 5),
        *curve((470, floor - 110), (620, floor - heel // 2 - 20), (760, rear - 100), 6),
        *curve((800, rear - 190), (850, rear - 230), (906, rear - 220), 4),
        *curve((936, rear - 150), (930, rear - 60), (910, rear), 4),
        *curve((760, rear + 10), (620, floor), (420, floor), 6),
    )  # fmt: skip
    on: list[Part] = []
    if article.has("trim") == "bow":
        bow = (
            ((400, floor - 120), (320, floor - 180), (330, floor - 70)),
            ((400, floor - 120), (480, floor - 180), (476, floor - 70)),
            oval(400, floor - 120, 20, 24),
        )
        on.append(Part("bow", bow, paint=colours.trim))
    if article.has("trim") == "buckle":
        on.append(Part("buckle", (box(366, floor - 150, 436, floor - 80),), paint=colours.metal))
    cap = colours.trim if article.has("toe") == "cap" else None
    on.append(Part("toe", (oval(240, floor - 10, 120, 130),), paint=cap, shade=100 if cap else 92, clip=True))
    parts: list[Part] = []
    if article.has("strap") == "ankle":
        around = curve((902, rear - 286), (820, rear - 330), (740, rear - 262), 5)
        parts.append(Part("strap", stroke(((904, rear - 190), (902, rear - 286)), 30) + stroke(around, 30), shade=84))
    narrow = {"stiletto": (872, 880, 902), "kitten": (848, 866, 896), "block": (770, 790, 906)}[
        article.look.get("heel", "block")
    ]
    spike: Polygon = ((narrow[0] - 30, rear - 8), (916, rear - 12), (narrow[2], FLOOR), (narrow[1], FLOOR))
    sole = stroke(
        ((toe + 4, floor + 8), (440, floor + 8), *curve((440, floor + 8), (640, floor), (780, rear + 8), 5)), 26
    )
    paint = colours.trim if article.has("heel_colour") == "contrast" else None
    parts += [
        Part("heel", (spike,), paint=paint, shade=86),
        Part("", (upper,), on=tuple(on)),
        Part("sole", sole, paint=BLACK, rim=False),
    ]
    return _pair(tuple(parts), article, back)


def sandals(article: Article, colours: Colours, back: bool) -> tuple[Part, ...]:
    """Sandals: a sole and straps."""
    thick = {"flat": 46, "platform": 120, "wedge": 70}[article.look.get("sole_height", "flat")]
    rear = FLOOR - (190 if article.has("sole_height") == "wedge" else thick)
    floor = FLOOR - thick
    sole: Polygon = (
        (190, floor), (460, floor), *curve((520, floor), (660, rear), (920, rear), 5),
        (930, rear + 20), (912, FLOOR), (220, FLOOR),
    )  # fmt: skip
    middle = (floor + rear) // 2
    front = curve((270, floor + 4), (380, floor - 190), (500, floor + 4), 8)
    straps = [Part("strap", stroke(front, 56), paint=None)]
    if article.has("straps") in ("two", "ankle"):
        second = curve((430, middle), (560, middle - 220), (640, middle - 6), 8)
        straps.append(Part("strap", stroke(second, 50), shade=96))
    if article.has("straps") == "ankle":
        behind = curve((900, rear), (900, rear - 120), (880, rear - 180), 4)
        around = curve((890, rear - 180), (740, rear - 260), (660, rear - 150), 6)
        straps += [Part("strap", stroke(behind, 40), shade=90), Part("strap", stroke(around, 38), shade=94)]
    ornament = []
    if article.has("trim") == "buckle":
        ornament.append(Part("buckle", (box(352, floor - 128, 418, floor - 62),), colours.metal))
    if article.has("trim") == "flower":
        ornament.append(flower(384, floor - 100, 32, colours.mark))
    line = stroke(((200, floor + 24), (470, floor + 24), (920, rear + 24)), 8)
    base = Part("sole", (sole,), _sole_paint(article, colours), folds=line)
    return _pair((base, *straps, *ornament), article, back)
