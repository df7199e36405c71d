"""The nouns of a catalogue: a product, its pictures, its splits."""

from fashionvl.catalogue.product import SPLITS, Catalogue, Picture, Product

__all__ = ["SPLITS", "Catalogue", "Picture", "Product"]
