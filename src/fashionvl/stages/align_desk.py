"""What the stage `align` aligns by: texts, the boxes that patches are cut from, and those the captioner looks at."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fashionvl import alignment, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.patches.pyramid import Pyramid
from fashionvl.patches.store import Store
from fashionvl.stages.album import box_of
from fashionvl.tasks.describe import Described
from fashionvl.words import Texts, Words

SOURCES = {"caption": False, "teacher": True}  # True: every occurrence of a word has a map of its own
BOX = ["left", "top", "right", "bottom"]


@dataclass(frozen=True)
class Desk:
    """All that the words of pictures are aligned by.

    texts, spoken  of every product: its pieces, and its whole words
    store          of the kind of patches
    grids, seen    (pictures, 4) int64   the box that patches are cut from, the box that the captioner looks at
    levels         indices of the levels of the pyramid that are aligned
    """

    catalogue: Catalogue
    texts: Texts
    spoken: list[list[str]]
    store: Store
    grids: NDArray[np.int64]
    seen: NDArray[np.int64]
    levels: list[int]
    tau: float

    @property
    def pyramid(self) -> Pyramid:
        """The grids; words are aligned with their patches, not with regions."""
        assert isinstance(self.store.layout, Pyramid)
        return self.store.layout

    def found(self, pictures: NDArray[np.int64], described: Described, source: str) -> alignment.Found:
        """Align the words of some pictures."""
        products = self.catalogue.pictures["product"].to_numpy()[pictures]
        return alignment.align(
            described.words,
            described.heat,
            [self.spoken[product] for product in products],
            seen=torch.from_numpy(self.seen[pictures]).float(),
            grid=torch.from_numpy(self.grids[pictures]).float(),
            sides=[self.pyramid.levels[level].side for level in self.levels],
            tau=self.tau,
            each=SOURCES[source],
        )


def desk_of(kind: str, settings: config.Params, catalogue: Catalogue, words: Words, build: Path) -> Desk:
    """What pictures are aligned by; a ConfigError where no grid of the kind is fine enough."""
    row, patches = settings.alignment, config.row(settings.patches, kind, "patches")
    store = Store.open(build / "patches" / kind)
    levels = [at for at, level in enumerate(store.layout.levels) if level.side >= row.least_side]
    if not levels:
        raise config.ConfigError(
            f"params.yaml: no grid of patches.{kind} has {row.least_side} patches a side; lower alignment.least_side"
        )
    if not 0 < row.tau <= 1:
        raise config.ConfigError(f"params.yaml: alignment.tau must be above 0 and at most 1, not {row.tau}")
    texts = catalogue.texts(settings.text.fields)
    grids = store.boxes()[BOX].to_numpy(dtype=np.int64)
    lock = settings.captioner.lock
    same = (patches.foreground, patches.margin) == (lock.foreground, lock.margin)
    seen = grids if same else locked(catalogue, lock, settings.catalogue.max_megapixels)
    return Desk(catalogue, words.encode(texts), words.whole_words(texts), store, grids, seen, levels, row.tau)


def locked(catalogue: Catalogue, lock: config.Lock, max_megapixels: float) -> NDArray[np.int64]:
    """The box of every picture that a lock leaves: left, top, right, bottom in pixels -> (pictures, 4)."""
    if lock.foreground == "none":
        sizes = catalogue.pictures[["width", "height"]].to_numpy(dtype=np.int64)
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1)

    def box(path: str) -> tuple[int, int, int, int]:
        return box_of(open_rgb(catalogue.root, path, max_megapixels=max_megapixels), lock)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return np.array(list(pool.map(box, catalogue.pictures["path"])), dtype=np.int64)
