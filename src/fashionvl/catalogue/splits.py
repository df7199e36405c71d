"""Which products are for training, validation and test: as given, else drawn by group; a group is never divided."""

import hashlib
from collections.abc import Mapping

import pandas as pd

from fashionvl.catalogue.problems import Problem
from fashionvl.catalogue.product import SPLITS

SALT = "fashionvl split"


def draw_split(group: str, shares: Mapping[str, float]) -> str:
    """The split of a group, by the salted SHA-256 of its name: the same whatever else the catalogue holds."""
    digest = hashlib.sha256(f"{SALT}:{group}".encode()).digest()
    place, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    named = [split for split in SPLITS if shares.get(split, 0) > 0]
    for split in named:
        edge += shares[split]
        if place < edge:
            return split
    return named[-1]


def check_shares(shares: Mapping[str, float]) -> None:
    """Raises Problem unless the shares are of train, val and test and make 1."""
    if set(shares) - set(SPLITS) or any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise Problem(
            f"catalogue.split in params.yaml should give shares of {', '.join(SPLITS)} that make 1, not {dict(shares)}"
        )


def settle_splits(
    given: pd.Series, group: pd.Series, shares: Mapping[str, float]
) -> tuple[pd.Series, dict[str, pd.Series]]:
    """One split for every group.

    given   (n,) str   train, val, test or empty, a row each
    group   (n,) str   the group of each row
    ->      (n,) str   the split of each row, and which rows each rule changed (bool)

    A group that is given on several sides goes whole to the side that most of its rows name, to the earlier of train,
    val, test if they are equal. A row without split takes its group's. A group without split is drawn.
    """
    check_shares(shares)
    votes = pd.crosstab(group, given).reindex(columns=list(SPLITS), fill_value=0)
    voted = votes.idxmax(axis=1).where(votes.sum(axis=1) > 0, "")
    drawn = {name: draw_split(name, shares) for name in voted.index[voted == ""]}
    side = group.map(voted.to_dict() | drawn).astype(str)
    partly = bool(given.ne("").any())
    return side, {
        "group on several sides of the split moved to one": (given != "") & (given != side),
        "missing split taken from the group": (given == "") & ~group.isin(list(drawn)),
        "missing split drawn": (given == "") & group.isin(list(drawn)) & partly,
    }
