"""A trained system as one object that matches, embeds, classifies, captions and aligns, and as one folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, softmax
from torch import nn

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.models.single_stream import SingleStream, layout_of
from fashionvl.patches.pyramid import Layout, Pyramid, Regions
from fashionvl.patches.store import Store
from fashionvl.pretrained import aligning, graphs, shelves
from fashionvl.pretrained.card import readme
from fashionvl.pretrained.given import Given, GivenText, paired, pictures_of, texts_of, unwrapped
from fashionvl.pretrained.parts import STREAMS, facts_of
from fashionvl.pretrained.sight import Sight, needed, sight_of
from fashionvl.tasks import captioning, embedding, matching, recognition
from fashionvl.tasks.tags import tagged
from fashionvl.words import Words


class FashionVL:
    """One trained system. Its parts are read when they are first asked for, and then kept.

    A picture is a path, the bytes of a file, a PIL picture or a uint8 array (height, width, 3); a text is a str. A list
    of them gives an array or a list, one gives one. Bad input and missing parts are a Problem that says what to do.

    The networks compute in float32, but pictures become patches in the precision that the system learned from.
    """

    def __init__(self, shelf: shelves.Shelf, *, device: str | None = None, max_megapixels: float = 50):
        """device          where it computes; an accelerator where there is one, if None
        max_megapixels  a larger picture is taken for a decompression bomb
        """
        self.shelf, self.facts = shelf, shelf.facts
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.max_megapixels = max_megapixels
        self._networks: dict[str, nn.Module] = {}
        self._words: Words | None = None
        self._sight: Sight | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "FashionVL":
        """What `save_pretrained` wrote, or build/runs/<system>; options as `FashionVL` takes them."""
        return cls(shelves.shelf_of(Path(folder)), **options)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write all parts there are into one folder that needs nothing else: safetensors, tokenizer, card."""
        parts = dict(self.facts["parts"])
        parts |= {part: facts_of(self.network(part)) for part in self._looked_through()}
        facts = {**self.facts, "parts": parts}
        weights = {part: self.network(part).state_dict() for part in parts}
        shelves.save(Path(folder), facts, weights, self.words, readme(facts))

    def match(self, picture: Given, text: GivenText, *, probability: bool = False) -> Any:
        """Whether a picture and a text belong together, by the head fine-tuned on retrieval, else the pre-trained one.

        Lists are matched pair by pair; one picture goes with every text of a list, one text with every picture.

        probability  False gives log-odds, True the probability they stand for
        -> float, or (n,) float64
        """
        seen, told = self._pictures(picture), texts_of(text)
        one = seen[1] and told[1]
        rows = paired(seen, told)
        if not len(rows[0]):
            return np.empty(0)
        model = self.stream(self.matcher)
        texts, store = self.words.encode(told[0]), self.patches(seen[0])
        scores = matching.score_pairs(model, matching.Sides(self.words, texts, store), *rows)
        return unwrapped(expit(scores) if probability else scores, one)

    def embed(self, picture: Given | None = None, text: GivenText | None = None) -> NDArray[np.float32]:
        """The pooled [CLS] of the pre-trained encoder, at unit length; what is not given is missing (spec. 1.6).

        No loss of Kaleido-BERT makes the vector of a picture and that of a text comparable: compare pictures with
        pictures and texts with texts, and pairs by `match`. That the encoder starts from acquainted words and patches,
        or that [CLS] is told what they have in common (`meeting`), changes nothing of this.

        Lists of both are read pair by pair.
        -> (C,), or (n, C) float32
        """
        column, desk, one = self._desk(picture, text)
        rows = np.arange(len(desk.store))
        return unwrapped(embedding.embed(self.stream("model"), desk, rows, rows, column), one)

    def classify(
        self,
        picture: Given | None = None,
        text: GivenText | None = None,
        *,
        task: str = "sub_category",
        top: int = 5,
    ) -> list:
        """What a product is, by its picture, its text or both.

        task  category or sub_category
        -> [(name, probability)] of the `top` likeliest classes; a list of these for lists. Probabilities are calibrated
           where the stage `examine` has found the temperature of what is given (image, text, both).
        """
        if task not in ("category", "sub_category"):
            raise Problem(f"there is no recognition task {task!r}; there are 'category' and 'sub_category'")
        model, facts = self.stream(task), self.facts["parts"][task]
        column, desk, one = self._desk(picture, text)
        rows = np.arange(len(desk.store))
        if not len(rows):
            return []
        scores = recognition.predict(model, desk, rows, rows, column, task=task)
        likely = softmax(scores / facts.get("metrics", {}).get(f"{column}.temperature", 1.0), axis=1)
        order = np.argsort(-likely, axis=1, kind="stable")[:, :top]
        named = [
            [(facts["classes"][at], float(row[at])) for at in best] for row, best in zip(likely, order, strict=True)
        ]
        return unwrapped(named, one)

    def caption(self, picture: Given, *, mode: str = "causal", beam: int = 5) -> Any:
        """What a picture shows, in words.

        mode  causal, word by word; or mask_all, all at once as the paper has it
        beam  hypotheses of `causal`; 1 is greedy
        -> str, or a list of them
        """
        model = self.stream("captioning")
        if mode == "causal" and self.facts["parts"]["captioning"]["model"].get("streams", 1) == 2:
            raise Problem("two streams do not say captions word by word; ask for mode='mask_all'")
        pictures, one = self._pictures(picture)
        if not pictures:
            return []
        store = self.patches(pictures)
        seen = store.pictures(np.arange(len(store)))
        return unwrapped(captioning.caption(model, self.words, seen, mode=mode, beam=beam), one)

    def align(self, picture: Given, text: GivenText) -> list:
        """Which patches the words of a text point at: where the captioner finds them (`alignment.heat`; AAG, 3.3).

        -> [Pointed(word, side, patch, box, score)]; a list of these for lists, which are read pair by pair
        """
        seen, told = self._pictures(picture), texts_of(text)
        rows = paired(seen, told)
        if not isinstance(self.layout, Pyramid):
            raise Problem(
                f"words point at the patches of grids, and {self.facts['system']!r} reads {self.layout.called}"
            )
        settings = config.build(config.Alignment, self._known("alignment"), "alignment")
        captioner, through = self.network("captioner"), self._captioner_encoder()
        if not len(rows[0]):
            return []
        spoken = self.words.whole_words(told[0])
        found = aligning.align(
            [seen[0][at] for at in rows[0]],
            [spoken[at] for at in rows[1]],
            sight=self.sight,
            captioner=captioner,
            encoder=self.network(through),
            facts=self.facts["parts"]["captioner"],
            settings=settings,
        )
        return unwrapped(found, seen[1] and told[1])

    def export_onnx(self, folder: str | Path) -> dict[str, Path]:
        """Write the two graphs that a match needs (graphs.py): from tiles to vectors, from pairs to log-odds.

        -> the files by name, matching and patch_encoder
        """
        if not isinstance(self.layout, Pyramid):
            raise Problem(
                f"the graphs are of systems over grids, and {self.facts['system']!r} reads {self.layout.called}"
            )
        graphs.check_installed()
        files = {"matching": Path(folder) / graphs.MATCHING, "patch_encoder": Path(folder) / graphs.ENCODER}
        Path(folder).mkdir(parents=True, exist_ok=True)
        part = self.matcher
        fresh = self.shelf.network(part)
        assert isinstance(fresh, SingleStream)
        graphs.export_matching(fresh, self.facts["parts"][part]["model"]["dim"], files["matching"])
        pixels = self._known("patches")["pixels"]
        graphs.export_encoder(self.shelf.network("encoder"), pixels, files["patch_encoder"])
        return files

    @property
    def layout(self) -> Layout:
        """What pictures are cut into: grids or regions."""
        return layout_of(self.facts["parts"]["model"]["model"])

    @property
    def matcher(self) -> str:
        """The part that `match` asks: what was fine-tuned on retrieval, else what was pre-trained; a Problem where that
        has no matching head (VL-BERT)."""
        parts = self.facts["parts"]
        if "retrieval" not in parts and "itm" not in parts["model"]["model"]["objectives"]:
            raise self.shelf.lacking("retrieval")
        return "retrieval" if "retrieval" in parts else "model"

    @property
    def words(self) -> Words:
        """The tokenizer."""
        self._words = self._words or self.shelf.words()
        return self._words

    @property
    def sight(self) -> Sight:
        """How pictures become patches."""
        if self._sight is None:
            patches = self._known("patches")
            networks = {part: self.network(part) for part in needed(patches)}
            self._sight = sight_of(patches, networks, device=self.device, max_megapixels=self.max_megapixels)
        return self._sight

    def patches(self, pictures: list[Image.Image]) -> Store:
        """What the system sees of opened pictures, with tags where it reads them."""
        return self.tagged(self.sight.patches(pictures))

    def tagged(self, store: Store) -> Store:
        """The same store, with tags where the system reads them (OSCAR)."""
        return tagged(store, self.words, self.facts["parts"]["model"]["model"].get("tags", 0))

    def read(self) -> None:
        """Have all parts in memory, which are read when they are first asked for otherwise."""
        for part in (*self.facts["parts"], *self._looked_through()):
            self.network(part)
        _ = self.sight

    def network(self, part: str) -> nn.Module:
        """One part, ready to be used; parts.py names them."""
        if part not in self._networks:
            self._networks[part] = self.shelf.network(part).to(self.device).eval().requires_grad_(False)
        return self._networks[part]

    def stream(self, part: str) -> SingleStream:
        """One of the single streams."""
        assert part in STREAMS
        network = self.network(part)
        assert isinstance(network, SingleStream)
        return network

    def _looked_through(self) -> list[str]:
        """The parts that turn pictures into what the others see."""
        captioner = [self._captioner_encoder()] if "captioner" in self.facts["parts"] else []
        return [*needed(self._known("patches")), *captioner]

    def _captioner_encoder(self) -> str:
        """The part that the captioner looks through: that of the patches, where both have the same."""
        same = self.facts["parts"]["captioner"]["captioner"]["encoder"] == self._known("patches")["encoder"]
        return "encoder" if same else "captioner_encoder"

    def _known(self, name: str) -> Any:
        if self.facts[name] is None:
            raise self.shelf.lacking(name)
        return self.facts[name]

    def _pictures(self, picture: Given) -> tuple[list[Image.Image], bool]:
        return pictures_of(picture, max_megapixels=self.max_megapixels)

    def _desk(self, picture: Given | None, text: GivenText | None) -> tuple[str, recognition.Desk, bool]:
        """-> which column is shown, pictures and texts row by row, True where one is asked for and not a list.

        What stands on the side that is missing is never looked at.
        """
        if picture is None and text is None:
            raise Problem("give a picture, a text, or both")
        pictures, told = None if picture is None else self._pictures(picture), None if text is None else texts_of(text)
        if pictures is None or told is None:
            some, one = pictures or told  # type: ignore[misc]
            seen = read = np.arange(len(some))
        else:
            (seen, read), one = paired(pictures, told), pictures[1] and told[1]
        if pictures is None or not len(seen):
            store = self._no_pictures(len(seen))
        else:
            store = self.patches(pictures[0]).only(seen)
        texts = [told[0][at] for at in read] if told else [""] * len(seen)
        column = "image" if told is None else "text" if pictures is None else "both"
        return column, recognition.Desk(self.words, self.words.encode(texts), store, {}), one

    def _no_pictures(self, count: int) -> Store:
        """A store of so many missing pictures; needs no patch encoder."""
        layout, dim = self.layout, self.facts["parts"]["model"]["model"]["dim"]
        vectors = np.zeros((count, layout.vectors, dim), np.float16)
        if not isinstance(layout, Regions):
            return Store.of(layout, vectors)
        places = np.zeros((count, layout.most, 5), np.float32)
        places[:, 0] = 0, 1, 0, 1, 1  # where the whole picture would be
        classes = np.zeros((count, layout.most, len(layout.names)), np.float16)
        return self.tagged(Store.of(layout, vectors, places, classes))
