"""Titles and descriptions: varied English that says some of what is true of an article, and nothing that is not."""

import re
from collections.abc import Sequence
from random import Random

from fashionvl.catalogue.sample.article import Article, Dye, draw_of
from fashionvl.catalogue.sample.facts import FACTS, PATTERN_SAID, POINTERS, Fact

_NAMES = [
    "Alba", "Aurora", "Bella", "Bruno", "Carla", "Casper", "Dalia", "Dante", "Edith", "Elin", "Emil", "Fern", "Flora",
    "Frida", "Greta", "Gus", "Hazel", "Henrik", "Ida", "Ines", "Iris", "Jonas", "Jules", "Karin", "Kit", "Lena", "Lou",
    "Luca", "Mara", "Milo", "Nell", "Nils", "Olive", "Otto", "Pearl", "Petra", "Quinn", "Rita", "Robin", "Rosa", "Sage",
    "Selma", "Stella", "Sten", "Tilda", "Tove", "Una", "Vera", "Viggo", "Wilma", "Winnie", "Ylva", "Zoe",
]  # fmt: skip
_MOOD = {
    "spring": ("A light layer for spring.", "Made with mild days in mind.", "Just right for the first warm days."),
    "summer": ("An easy choice for summer.", "Ready for sunny days.", "Pack {it} for the holidays."),
    "autumn": (
        "A good companion for autumn.",
        "Made for crisp mornings.",
        "{It} come{s} into {its} own when the leaves turn.",
    ),
    "winter": ("{It} will see you through the winter.", "Made for short days.", "A warm thought for frosty days."),
}
_PRAISE = (
    "Simple and easy to wear.",
    "A favourite that comes back every year.",
    "{It} go{es} with almost everything.",
    "{It} look{s} good dressed up or down.",
    "An everyday essential.",
    "Made to last.",
    "Easy to care for.",
    "One for every wardrobe.",
)
_BRIEF = 8  # words; a writer who has said less than this adds something
_FOR = {"women": "for women", "men": "for men", "unisex": "for everyone"}
_LOUD = {"print", "motif", "ends", "patch", "panel", "knee", "trim", "ribbon", "toe", "heel"}  # nobody calls that plain


def facts_of(article: Article) -> list[Fact]:
    """Everything that may be said about an article's features."""
    drawer = article.kind.draw.__name__
    keys = (f"{feature}.{choice}" for feature, choice in article.look.items())
    found = (FACTS.get(f"{drawer}.{key}", FACTS.get(key)) for key in keys)
    return [fact for fact in found if fact is not None]


def text_of(article: Article, dye: Dye | None) -> tuple[str, str]:
    """The title and the description of an article; its colour is named only where `dye` is given."""
    random = draw_of(article.seed, "words", article.number)
    title = _title(article, dye, random)
    return title, _description(article, dye, random)


def pointers_of(article: Article, name: str) -> tuple[str, ...]:
    """The words that point at a part of that name; for "" the words of the garment's nouns."""
    if name:
        return POINTERS[name]
    words = [word for noun in article.kind.nouns for word in re.findall(r"[a-z-]+", noun.lower())]
    pieces = [piece for word in words for piece in (word, *word.split("-")) if len(piece) > 1]
    return tuple(dict.fromkeys(pieces))


def _title(article: Article, dye: Dye | None, random: Random) -> str:
    noun, name = article.kind.nouns[0], random.choice(_NAMES)
    adjectives = [random.choice(fact.adjectives) for fact in facts_of(article) if fact.adjectives]
    pattern = random.choice(PATTERN_SAID[article.pattern][0])
    material = article.material.removeprefix("a ")
    forms = [f"{name} {noun}", f"{name} {material} {noun}"]
    if adjectives:
        forms.append(f"{random.choice(adjectives)} {noun} {name}")
    if article.pattern != "solid":
        forms += [f"{pattern} {noun}", f"{name} {pattern} {noun}"]
    if dye is not None:
        forms += [f"{dye.colour} {noun} {name}", f"{noun} in {dye.colour}"]
    return _capital(random.choice(forms))


def _description(article: Article, dye: Dye | None, random: Random) -> str:
    facts = facts_of(article)
    random.shuffle(facts)
    wordy = random.choice((1, 2, 3, 3, 4, 4, 5, 6))  # how many features this writer likes to name
    noun = random.choice((article.kind.nouns[0], *article.kind.nouns))
    adjectives, told = _adjectives(article, dye, facts, random)
    features = [random.choice(fact.withs) for fact in facts if fact.withs and fact not in told][:wordy]
    patterns = PATTERN_SAID[article.pattern][1]
    if patterns and not set(adjectives) & set(PATTERN_SAID[article.pattern][0]) and random.randrange(3):
        features.insert(random.randint(0, len(features)), random.choice(patterns))
    first = random.randint(1, min(3, max(len(features), 1)))
    opening, names_material = _opening(article, " ".join((*adjectives, noun)), features[:first], random)
    sentences = [opening, *(_more(features[i : i + 3], random) for i in range(first, len(features), 3))]
    brief = len(" ".join(sentences).split()) < _BRIEF
    if not names_material and (brief or random.randrange(2)):
        forms = ("Made from {}.", "{{It}} {{is}} made from {}.", "The material is {}.")
        sentences.append(random.choice(forms).format(article.material))
    loose = [sentence for fact in facts for sentence in fact.sentences if fact not in told and not fact.withs]
    if loose and random.randrange(2):
        sentences.append(random.choice(loose))
    if brief or random.randrange(2):
        sentences.append(random.choice(_MOOD[article.season] if random.randrange(2) else _PRAISE))
    return " ".join(_agree(sentence, article.kind.plural) for sentence in sentences)


def _adjectives(
    article: Article, dye: Dye | None, facts: Sequence[Fact], random: Random
) -> tuple[list[str], list[Fact]]:
    """-> adjectives in order, and the facts they tell."""
    told = [fact for fact in facts if fact.adjectives and random.randrange(5) < 2][:2]
    words = [random.choice(fact.adjectives) for fact in told]
    if dye is not None and random.randrange(2):
        words.append(dye.colour)
    loud = "contrast" in article.look.values() or _LOUD & set(article.look)
    if random.randrange(5) < (3 if article.pattern != "solid" else 0 if loud else 1):
        words.append(random.choice(PATTERN_SAID[article.pattern][0]))
    return words, told


def _opening(article: Article, phrase: str, features: Sequence[str], random: Random) -> tuple[str, bool]:
    """-> the first sentence: what it is, and one to three things about it; True where it names the material."""
    material, having = article.material, _listed(features)
    season, owner = article.season, _FOR[article.gender]
    if not features:
        forms = [f"{{a}} {phrase} in {material}.", f"{{a}} {phrase} {owner}.", f"{{a}} {phrase} cut from {material}."]
    else:
        forms = [
            f"{{a}} {phrase} in {material} with {having}.",
            f"{{a}} {phrase} with {having}.",
            f"{{a}} {phrase} made from {material}, with {having}.",
            f"Cut from {material}, {{this}} {phrase} {{has}} {having}.",
            f"{{This}} {phrase} {{has}} {having}.",
            f"{{This}} {phrase} in {material} come{{s}} with {having}.",
            f"{{a}} {phrase} {owner}, with {having}.",
            f"Made from {material}, with {having}: {{a}} {phrase} for {season} days.",
            f"{{a}} {phrase} featuring {having}.",
            f"With {having}, {{this}} {phrase} {{is}} made for {season}.",
            f"Our {phrase} in {material} {{has}} {having}.",
        ]
    if len(features) > 1:
        forms += [f"{having} set {{this}} {phrase} apart.", f"{having} give {{this}} {phrase} {{its}} look."]
    form = random.choice(forms)
    article_word = "" if article.kind.plural else ("an " if phrase[0].lower() in "aeiou" else "a ")
    sentence = _agree(form.replace("{a} ", article_word), article.kind.plural)
    return _capital(sentence), material in form


def _more(features: Sequence[str], random: Random) -> str:
    """A further sentence about further things."""
    having = _listed(features)
    forms = (
        f"{{It}} also {{has}} {having}.",
        f"Finished with {having}.",
        f"Details include {having}.",
        f"{{It}} come{{s}} with {having}.",
        f"Look out for {having}, too.",
    )
    return random.choice(forms)


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


_SINGULAR = {"s": "s", "es": "es", "has": "has", "is": "is", "it": "it", "its": "its", "this": "this"}
_PLURAL = {"s": "", "es": "", "has": "have", "is": "are", "it": "them", "its": "their", "this": "these"}
_SINGULAR |= {"It": "It", "This": "This"}
_PLURAL |= {"It": "They", "This": "These"}


def _agree(sentence: str, plural: bool) -> str:
    """Fill in what depends on number."""
    table = _PLURAL if plural else _SINGULAR
    return re.sub(r"\{(\w+)\}", lambda match: table[match[1]], sentence)
