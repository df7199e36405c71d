"""The cached vectors that a system reads, and what it reads beside them."""

from pathlib import Path

from fashionvl import config
from fashionvl.patches.pyramid import Regions
from fashionvl.patches.store import Store
from fashionvl.tasks.tags import tagged
from fashionvl.words import Words


def store_of(row: config.System, words: Words, build: Path) -> Store:
    """The store of the patches that a row names, with tags where it reads them.

    Raises Problem where the stage `patches` has not finished, ConfigError where there is nothing that tags could name.
    """
    store = Store.open(build / "patches" / row.patches)
    if row.tags and not isinstance(store.layout, Regions):
        raise config.ConfigError(
            f"params.yaml: a system with tags reads regions, which have classes; its patches {row.patches!r} are grids"
        )
    return tagged(store, words, row.tags)
