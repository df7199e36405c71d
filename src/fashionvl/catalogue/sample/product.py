"""The products of the sample, each a function of the seed and its number alone."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from fashionvl.catalogue.sample.article import Article, article_of, draw_of, dye_of
from fashionvl.catalogue.sample.kinds import KINDS
from fashionvl.catalogue.sample.picture import scene_of, views_of
from fashionvl.catalogue.sample.scene import Box, paint
from fashionvl.catalogue.sample.wording import pointers_of, text_of

_BLOCK, _BLOCK_ARTICLES = 10, 8  # ten products are eight articles, some of them in several colours
_SIZES = ((1, 1, 1, 1, 1, 1, 2, 2), (1, 1, 1, 1, 1, 1, 1, 3))
_SPLIT_DECK = ("train", "train", "train", "val", "test")
_FOLDER = 250  # products a folder, so at most 750 pictures


@dataclass(frozen=True)
class Item:
    """One product of the sample: an article in one colour."""

    number: int
    id: str
    group: str
    split: str
    title: str
    description: str
    category: str
    sub_category: str
    attributes: dict[str, str]
    views: tuple[str, ...]
    article: Article
    variant: int

    def path(self, view: str) -> str:
        """Where the picture of a view lies, relative to the catalogue."""
        return f"images/{self.number // _FOLDER:04d}/{self.id}_{view}.jpg"


def item_of(seed: int, number: int) -> Item:
    """The product of that number; the same however many are asked for."""
    article_number, variant, variants = _place(seed, number)
    article = article_of(seed, article_number, KINDS)
    dye = dye_of(article, variant)
    title, description = text_of(article, dye if variants == 1 else None)
    attributes = {"colour": dye.colour, "pattern": article.pattern}
    if article.pattern not in ("solid", "melange"):
        attributes["second_colour"] = dye.accent
    attributes |= {"material": article.material.removeprefix("a "), "gender": article.gender, "season": article.season}
    return Item(
        number=number,
        id=f"p{article_number:07d}{variant}",
        group=f"g{article_number:07d}",
        split=_split(seed, article_number),
        title=title,
        description=description,
        category=article.kind.category,
        sub_category=article.kind.name,
        attributes=attributes | dict(article.look),
        views=views_of(article, variant),
        article=article,
        variant=variant,
    )


def items(seed: int, start: int, stop: int) -> Iterator[Item]:
    """The products of a range, one after the other."""
    for number in range(start, stop):
        yield item_of(seed, number)


def pictures_of(item: Item) -> Iterator[tuple[str, bytes, list[tuple[str, Box]]]]:
    """-> for every view: its name, the JPEG file, and (word, box) of all that words can point at."""
    for view in item.views:
        image, truth = paint(scene_of(item.article, item.variant, view))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, subsampling=0, optimize=False)
        words = [(word, box) for name, box in truth for word in pointers_of(item.article, name)]
        yield view, file.getvalue(), list(dict.fromkeys(words))


def _place(seed: int, number: int) -> tuple[int, int, int]:
    """-> the number of the article, which of its colours this is, and how many it has."""
    block, position = divmod(number, _BLOCK)
    random = draw_of(seed, "block", block)
    sizes = list(random.choice(_SIZES))
    random.shuffle(sizes)
    for index, size in enumerate(sizes):
        if position < size:
            return block * _BLOCK_ARTICLES + index, position, size
        position -= size
    raise AssertionError("the sizes of a block add up to its products")


def _split(seed: int, article: int) -> str:
    """Of every five articles of a kind three train, one validates and one tests, in a hashed order."""
    times = article // len(KINDS)
    kind = article_of(seed, article, KINDS).kind.name
    deck = list(_SPLIT_DECK)
    draw_of(seed, "split", kind, times // len(deck)).shuffle(deck)
    return deck[times % len(deck)]
