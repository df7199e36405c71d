"""Titles and descriptions: varied English that says some of what is true of an article, and nothing that is not."""

import re
from collections.abc import Sequence
from random import Random

from fashionvl.catalogue.sample.article import Article, Dye, draw_of
from fashionvl.catalogue.sample.facts import FACTS, PATTERN_SAID, POINTERS, Fact

_NAMES = (
    "Alba", "Aurora", "Bella", "Bruno", "Carla", "Casper", "Dalia", "Dante", "Edith", "Elin", "Emil", "Fern", "Flora", "Frida",
    "Greta", "Gus", "Hazel", "Henrik", "Ida", "Ines", "Iris", "Jonas", "Jules", "Karin", "Kit", "Lena", "Lou", "Luca", "Mara",
    "Milo", "Nell", "Nils", "Olive", "Otto", "Pearl", "Petra", "Quinn", "Rita", "Robin", "Rosa", "Sage", "Selma", "Stella",
    "Sten", "Tilda", "Tove", "Una", "Vera", "Viggo", "Wilma", "Winnie", "Ylva", "Zoe",
)  # fmt: skip
_MOOD = {
    "spring": ("A light layer for spring.", "Made with mild days in mind.", "Just right for the first warm days."),
    "summer": ("An easy choice for summer.", "Ready for sunny days.", "Pack {it} for the holidays."),
    "autumn": (
        "A good companion for autumn.",
        "Made for crisp mornings.",
        "Comes into {its} own when the leaves turn.",
    ),
    "winter": ("Keeps the cold out.", "Made for winter days.", "Warm company for frosty days."),
}
_PRAISE = (
    "Simple and easy to wear.", "A favourite that comes back every year.", "Goes with almost everything.",
    "Looks good dressed up or down.", "An everyday essential.", "Made to last.", "Easy to care for.", "One for every wardrobe.",
)  # fmt: skip


def facts_of(article: Article) -> list[Fact]:
    """Everything that may be said about an article's features."""
    drawer = article.kind.draw.__name__
    keys = (f"{feature}.{choice}" for feature, choice in article.look.items())
    found = (FACTS.get(f"{drawer}.{key}", FACTS.get(key)) for key in keys)
    return [fact for fact in found if fact is not None]


def text_of(article: Article, dye: Dye | None) -> tuple[str, str]:
    """The title and the description of an article; its colour is named only where `dye` is given."""
    random = draw_of(article.seed, "words", article.number)
    noun = random.choice((article.kind.nouns[0], *article.kind.nouns))
    return _title(article, dye, random), _description(article, dye, noun, random)


def _title(article: Article, dye: Dye | None, random: Random) -> str:
    noun, name = article.kind.nouns[0], random.choice(_NAMES)
    adjectives = [random.choice(fact.adjectives) for fact in facts_of(article) if fact.adjectives]
    pattern = random.choice(PATTERN_SAID[article.pattern][0])
    form = random.randrange(5)
    if form == 1 and adjectives:
        return _capital(f"{random.choice(adjectives)} {noun}")
    if form == 2 and article.pattern != "solid":
        return _capital(f"{pattern} {noun}")
    if form == 3 and dye is not None:
        return _capital(f"{dye.colour} {noun} {name}")
    if form == 4 and article.pattern != "solid":
        return f"{name} {pattern} {noun}"
    return f"{name} {noun}"


def _description(article: Article, dye: Dye | None, noun: str, random: Random) -> str:
    facts = facts_of(article)
    random.shuffle(facts)
    wordy = random.choice((1, 2, 2, 3, 3, 4))  # how much this writer likes to say
    before, after = _adjectives(article, dye, facts, random), []
    for fact in facts:
        if len(after) < wordy and fact.withs and fact not in before[1]:
            after.append((random.choice(fact.withs), fact))
    if article.pattern != "solid" and not before[2] and PATTERN_SAID[article.pattern][1] and random.randrange(3):
        after.append((random.choice(PATTERN_SAID[article.pattern][1]), Fact()))
    random.shuffle(after)
    said = [words for words, _ in after]
    used = [fact for _, fact in after] + before[1]
    phrase = " ".join((*before[0], noun))
    sentences = [_opening(article, phrase, said[:2] if wordy < 4 else said[:3], random)]
    rest = said[2:] if wordy < 4 else said[3:]
    if rest:
        sentences.append(_more(article, rest, random))
    loose = [sentence for fact in facts if fact not in used for sentence in fact.sentences[:1]]
    if loose and random.randrange(3) == 0:
        sentences.append(loose[0])
    if random.randrange(5) < wordy - 1:
        sentences.append(random.choice(_MOOD[article.season] if random.randrange(2) else _PRAISE))
    return " ".join(_agree(sentence, article.kind.plural) for sentence in sentences)


def _adjectives(
    article: Article, dye: Dye | None, facts: Sequence[Fact], random: Random
) -> tuple[list[str], list[Fact], bool]:
    """-> adjectives in order, the facts they say, and True where they name the pattern."""
    words, used = [], []
    for fact in facts:
        if fact.adjectives and len(words) < 2 and random.randrange(5) < 2:
            words.append(random.choice(fact.adjectives))
            used.append(fact)
    if dye is not None and random.randrange(2):
        words.append(dye.colour)
    pattern = random.randrange(5) < (1 if article.pattern == "solid" else 3)
    if pattern:
        words.append(random.choice(PATTERN_SAID[article.pattern][0]))
    return words, used, pattern


def _opening(article: Article, phrase: str, said: Sequence[str], random: Random) -> str:
    """The first sentence: what it is, and one to three things about it."""
    material, features = article.material, _listed(said)
    if not features:
        return _capital(f"{{a}} {phrase} in {material}.", phrase, article)
    owner = {"women": "for women", "men": "for men", "unisex": "for everyone"}[article.gender]
    forms = [
        f"{{a}} {phrase} in {material} with {features}.",
        f"{{a}} {phrase} with {features}.",
        f"{{a}} {phrase} made from {material}, with {features}.",
        f"Cut from {material}, {{this}} {phrase} {{has}} {features}.",
        f"{{This}} {phrase} {{has}} {features}.",
        f"{{This}} {phrase} in {material} come{{s}} with {features}.",
        f"{{a}} {phrase} {owner}, with {features}.",
        f"Made from {material}, with {features}: {{a}} {phrase} for {article.season} days.",
        f"{{a}} {phrase} featuring {features}.",
    ]
    if len(said) > 1:
        forms.append(f"{features} set {{this}} {phrase} apart.")
        forms.append(f"{features} give {{this}} {phrase} {{its}} look.")
    return _capital(random.choice(forms), phrase, article)


def _more(article: Article, said: Sequence[str], random: Random) -> str:
    """A further sentence about further things."""
    features = _listed(said)
    return random.choice(
        (
            f"{{It}} also {{has}} {features}.",
            f"Finished with {features}.",
            f"Details include {features}.",
            f"{{It}} come{{s}} with {features}.",
        )
    )


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def _capital(sentence: str, phrase: str = "", article: Article | None = None) -> str:
    if article is not None:
        a = (
            ""
            if article.kind.plural
            else ("an " if phrase[0].lower() in "aeiou" and not phrase.startswith("uni") else "a ")
        )
        sentence = sentence.replace("{a} ", a)
        sentence = _agree(sentence, article.kind.plural)
    return sentence[0].upper() + sentence[1:]


_SINGULAR = {"It": "It", "it": "it", "its": "its", "s": "s", "es": "es", "has": "has", "this": "this", "This": "This"}
_PLURAL = {
    "It": "They",
    "it": "them",
    "its": "their",
    "s": "",
    "es": "",
    "has": "have",
    "this": "these",
    "This": "These",
}


def _agree(sentence: str, plural: bool) -> str:
    """Fill in what depends on number."""
    table = _PLURAL if plural else _SINGULAR
    return re.sub(r"\{(\w+)\}", lambda match: table[match[1]], sentence)


def pointers_of(article: Article, name: str) -> tuple[str, ...]:
    """The words that point at a part of that name; for "" the words of the garment's nouns."""
    if name:
        return POINTERS[name]
    words = [word for noun in article.kind.nouns for word in re.findall(r"[a-z-]+", noun.lower())]
    pieces = [piece for word in words for piece in (word, *word.split("-")) if len(piece) > 2]
    return tuple(dict.fromkeys(pieces))
