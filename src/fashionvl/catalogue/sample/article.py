"""What an article is before it is drawn or described: its kind, its look, and small accidents of its making."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from fashionvl.catalogue.sample.cloth import ACCENTS, COLOURS
from fashionvl.catalogue.sample.scene import RGB, Part


@dataclass(frozen=True)
class Colours:
    """What an article is painted with.

    main, accent  of the cloth and its pattern
    trim          of what is sewn on in another colour
    mark          of what is printed on it: it can be told from the cloth, pattern and all
    metal         of zips and buckles
    """

    main: RGB
    accent: RGB
    trim: RGB
    mark: RGB
    metal: RGB


Draw = Callable[["Article", Colours, bool], tuple[Part, ...]]  # True: seen from behind


@dataclass(frozen=True)
class Kind:
    """One sub-category: how it is called, which looks it has, and who draws it.

    nouns    what texts call it; the first is the usual one
    options  the choices of each feature; a choice that stands twice comes twice as often; "none" says nothing
    details  the parts that a detail picture may show
    plural   True: one says "these trousers", not "this trousers"
    """

    category: str
    name: str
    nouns: tuple[str, ...]
    draw: Draw
    options: Mapping[str, tuple[str, ...]]
    materials: tuple[str, ...]
    patterns: tuple[str, ...]
    details: tuple[str, ...]
    genders: tuple[str, ...] = ("women", "men", "unisex")
    seasons: tuple[str, ...] = ("spring", "summer", "autumn", "winter")
    plural: bool = False


@dataclass(frozen=True)
class Article:
    """One design, of which each colour is a product.

    look   feature -> choice, e.g. {"sleeve": "long"}; features without a say are left out
    """

    seed: int
    number: int
    kind: Kind
    look: Mapping[str, str]
    pattern: str
    material: str
    gender: str
    season: str

    def has(self, feature: str) -> str:
        """The choice of a feature, or "none"."""
        return self.look.get(feature, "none")

    def vary(self, name: str, most: int) -> int:
        """A whole number in [-most, most] that is always the same for this article and name."""
        return draw_of(self.seed, "vary", self.number, name).randint(-most, most)


@dataclass(frozen=True)
class Dye:
    """The colours of one product by name."""

    colour: str
    accent: str
    trim: str
    metal: str


def draw_of(seed: int, *names: object) -> Random:
    """A generator that depends on the seed and the names only."""
    text = "/".join(str(name) for name in (seed, *names))
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def article_of(seed: int, number: int, kinds: Sequence[Kind]) -> Article:
    """The article of that number. Every round of `len(kinds)` articles holds each kind once, in its own order."""
    deck = list(range(len(kinds)))
    draw_of(seed, "round", number // len(kinds)).shuffle(deck)
    kind = kinds[deck[number % len(kinds)]]
    random = draw_of(seed, "article", number)
    look = {feature: random.choice(choices) for feature, choices in kind.options.items()}
    pattern = random.choice(kind.patterns)
    return Article(
        seed=seed,
        number=number,
        kind=kind,
        look=_possible({feature: choice for feature, choice in look.items() if choice != "none"}, pattern),
        pattern=pattern,
        material=random.choice(kind.materials),
        gender=random.choice(kind.genders),
        season=random.choice(kind.seasons),
    )


def _possible(look: dict[str, str], pattern: str) -> dict[str, str]:
    """The look less what its other features leave no room for."""
    gone: set[str] = set()
    if pattern not in ("solid", "melange"):
        gone |= {"print", "motif", "ends"}  # nobody would see them
    if "print" in look and "print" not in gone:
        gone.add("pocket")
    if "sleeve" not in look:
        gone |= {"cuff", "sleeve_shape"}
    if look.get("leg") in ("short", "knee"):
        gone.add("knee")
    if look.get("collar") in ("roll", "stand", "peter pan") or ("strap" in look and "shape" in look):
        gone |= {"neckline", "neck_edge"}
    return {feature: choice for feature, choice in look.items() if feature not in gone}


def dye_of(article: Article, variant: int) -> Dye:
    """The colours of one variant; no two variants of an article have the same colour."""
    random = draw_of(article.seed, "dye", article.number)
    colour = random.sample(sorted(COLOURS), 4)[variant]
    random = draw_of(article.seed, "dye", article.number, variant)
    accent = random.choice(ACCENTS[colour])
    trims = (
        ("white", "beige", "grey", "yellow") if sum(COLOURS[colour]) < 335 else ("black", "brown", "navy", "burgundy")
    )
    trim = random.choice([name for name in trims if name not in (colour, accent)])
    return Dye(colour, accent, trim, random.choice(("silver", "gold")))


def mix(article: Article, dye: Dye, variant: int) -> Colours:
    """The paints of a product: no two batches of a dye come out quite the same."""
    random = draw_of(article.seed, "mix", article.number, variant)

    def near(name: str) -> RGB:
        red, green, blue = (min(max(value + random.randint(-7, 7), 0), 255) for value in COLOURS[name])
        return red, green, blue

    metal = (206, 208, 212) if dye.metal == "silver" else (222, 182, 84)
    mark = dye.accent if article.pattern in ("solid", "melange") else dye.trim
    return Colours(near(dye.colour), near(dye.accent), near(dye.trim), near(mark), metal)
