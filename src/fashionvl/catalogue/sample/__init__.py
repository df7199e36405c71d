"""The generated sample: garments and accessories drawn from parameters, with words and the truth about both.

Pure: a seed and a number in, pictures, words and boxes out. The stage `sample` writes the files.
"""

from fashionvl.catalogue.sample.facts import PATTERNS
from fashionvl.catalogue.sample.product import Item, item_of, items, pictures_of

__all__ = ["PATTERNS", "Item", "item_of", "items", "pictures_of"]
