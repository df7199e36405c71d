"""Where the parts of a system lie: around build/runs/<system>, or in a folder that `save_pretrained` wrote.

Both shelves say of a system (`facts`): its name, its `patches` and `alignment` (None where the stage that says it has
not run), and of every part that is there what it is built from.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import load_saliency, weights_checksum
from fashionvl.patches.store import MANIFEST, checksum
from fashionvl.pretrained.parts import TASKS, Facts, built
from fashionvl.stages import visual_words
from fashionvl.stages.encoders import load_encoder
from fashionvl.stages.proposals import detector_of
from fashionvl.words import Words

VERSION = 2  # of the folders of `save_pretrained`; raised when an older reader would misread a newer one
READABLE = (1, 2)  # 1 knows no regions
CONFIG = "config.json"


class Shelf(Protocol):
    """What the face needs of either shelf."""

    facts: Facts

    def words(self) -> Words:
        """The tokenizer."""

    def network(self, part: str) -> nn.Module:
        """One part in eval mode; a Problem where it is not there, which says what makes it."""

    def lacking(self, part: str) -> Problem:
        """What to say where a part is not there."""


def shelf_of(folder: Path) -> Shelf:
    """The shelf of a folder; a Problem where it is neither kind."""
    if (folder / CONFIG).is_file():
        return SavedShelf(folder)
    if (folder / "card.json").is_file():
        return RunShelf(folder)
    raise Problem(
        f"{folder} holds no trained system: give build/runs/<system>, which the stage `pretrain` makes"
        " (`dvc repro`), or a folder that save_pretrained wrote"
    )


class RunShelf:
    """A system and all around it in a build folder."""

    def __init__(self, folder: Path):
        card = checkpoint.read_card(folder)
        if card.get("stage") != "pretrain":
            raise Problem(
                f"{folder} was made by the stage {card.get('stage')!r} and is no pre-trained single-stream system;"
                " give build/runs/<system> of a row under `systems`, fine-tuned heads are found from there"
            )
        self.folder, self.build, self.system = folder, folder.resolve().parent.parent, folder.resolve().name
        self.kind = card["system"]["patches"]
        parts = TASKS if card["model"].get("regions") else (*TASKS, "captioner")  # words point at the patches of grids
        self.facts: Facts = {
            "system": self.system,
            "patches": self._patches(),
            "alignment": self._said(self.build / "alignment" / self.kind, "alignment"),
            "parts": {"model": {"model": card["model"], "metrics": self._metrics(self.system)}} | self._others(parts),
        }

    def words(self) -> Words:
        return Words.load(self.build / "words")

    def network(self, part: str) -> nn.Module:
        patches = self.facts["patches"]
        if part == "captioner_encoder":
            return load_encoder(self.facts["parts"]["captioner"]["captioner"]["encoder"], self.build / "encoder").eval()
        if part in self._seeing:
            if patches is None:
                raise self.lacking("patches")
            return self._seeing[part](patches)
        if part not in self.facts["parts"]:
            raise self.lacking(part)
        place = self._place(part)
        return built(part, self.facts["parts"][part], checkpoint.load(place)[0], place / "model.safetensors")

    def lacking(self, part: str) -> Problem:
        made = {
            "captioner": ("captioner", "captioner", "dvc repro captioner"),
            "patches": (f"patches/{self.kind}", "patches", f"dvc repro patches@{self.kind}"),
            "alignment": (f"alignment/{self.kind}", "align", f"dvc repro align@{self.kind}"),
        }
        if part in TASKS and (reason := self._said(self._place(part), "lacking")):
            return Problem(f"{self.system!r} has no part {part!r}: {reason}")
        name = f"{self.system}-{part}"
        place, stage, command = made.get(part, (f"finetuned/{name}", "finetune", f"dvc repro finetune@{name}"))
        return Problem(
            f"this needs {self.build / place}, which is not there or of older code: run the stage"
            f" `{stage}` (`{command}`)"
        )

    @property
    def _seeing(self) -> dict[str, Callable[[Facts], nn.Module]]:
        """The parts that turn pictures into patches."""
        return {
            "encoder": self._encoder,
            "saliency": lambda patches: load_saliency(patches["saliency"]),
            "detector": self._detector,
            "visual_words": self._visual_words,
        }

    def _encoder(self, patches: Facts) -> nn.Module:
        encoder = load_encoder(patches["encoder"], self.build / "encoder", pixels=patches["pixels"])
        self._check(encoder, f"patch encoder {patches['encoder']!r}", patches["weights"])
        return encoder

    def _detector(self, patches: Facts) -> nn.Module:
        name = patches["regions"]["detector"]
        detector = detector_of(name, self.build / "detector")
        self._check(detector, f"detector {name!r}", patches["detector_weights"])
        return detector

    def _visual_words(self, patches: Facts) -> nn.Module:
        file = self.build / "patches" / self.kind / visual_words.FILE
        if not file.is_file() or checksum(file) != patches["words"]:
            raise Problem(f"{file} is not there or damaged; run the stage `patches` again (`dvc repro`)")
        return nn.Embedding.from_pretrained(torch.from_numpy(np.load(file, allow_pickle=False)))

    def _check(self, network: nn.Module, called: str, weights: str) -> None:
        """A Problem where a network is not the one that the cache was made with."""
        if weights_checksum(network) != weights:
            raise Problem(
                f"the {called} is not the one that {self.build / 'patches' / self.kind}"
                " was made with; run the stages `patches` and `pretrain` again (`dvc repro`)"
            )

    def _place(self, part: str) -> Path:
        if part == "model":
            return self.folder
        return self.build / ("captioner" if part == "captioner" else f"finetuned/{self.system}-{part}")

    def _others(self, parts: Sequence[str]) -> dict[str, Facts]:
        found = {}
        for part in parts:
            if (self._place(part) / "card.json").is_file():
                card = checkpoint.read_card(self._place(part))
                if "lacking" in card:
                    continue  # the catalogue had nothing to learn it from
                known = {name: card[name] for name in KEPT if name in card}
                found[part] = known | {"metrics": self._metrics(f"{self.system}-{part}")}
        return found

    def _metrics(self, name: str) -> Facts:
        return self._said(self.build / "evaluation" / name, "metrics") or {}

    def _said(self, folder: Path, key: str) -> Any:
        """What a card says under one key, None where there is no card."""
        return checkpoint.read_card(folder).get(key) if (folder / "card.json").is_file() else None

    def _patches(self) -> Facts | None:
        """How a picture becomes patches, as the store says that was made so."""
        path = self.build / "patches" / self.kind / MANIFEST
        if not path.is_file():
            return None
        return seeing(json.loads(path.read_text(encoding="utf-8")))


def seeing(made: Facts) -> Facts:
    """How a picture becomes what a system reads, as the manifest of a store says that was made so."""
    return {
        "encoder": made["encoder"]["name"],
        "weights": made["encoder"]["weights"],
        "pixels": made["pixels"],
        **(_regions(made) if "regions" in made else {"grids": made["grids"]}),
        "foreground": made["foreground"]["name"],
        "margin": made["foreground"]["margin"],
        "saliency": made["foreground"].get("network"),
        "precision": made["precision"],
    }


def _regions(made: Facts) -> Facts:
    """How regions are found and what they are called, as a manifest says."""
    proposed, named = made["proposed"], made["classes"]
    detector = proposed["detector"] or {"name": None, "weights": None}
    by_segments = proposed["by"] == "segments"
    asked = {"by": proposed["by"], "detector": detector["name"], "most": made["regions"]}
    asked |= {"classes": len(named) if by_segments else None, "features": proposed["features"]}
    words = made["words"]["sha256"] if by_segments else None
    return {"regions": asked, "classes": named, "detector_weights": detector["weights"], "words": words}


KEPT = ("model", "classes", "sizes", "lexicon", "captioner")  # of the cards of parts: what they are built from


class SavedShelf:
    """A folder that `save_pretrained` wrote: nothing outside of it is needed."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            card = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise Problem(f"{folder / CONFIG} is not valid JSON ({error})") from None
        if card.get("model_type") != "fashionvl":
            raise Problem(f"{folder / CONFIG} is of another kind of model, {card.get('model_type')!r}")
        if card.get("version") not in READABLE:
            raise Problem(
                f"{folder} was written by version {card.get('version')} of save_pretrained, this code reads"
                f" {' and '.join(map(str, READABLE))}; save it again, or use the code it was made with"
            )
        self.facts: Facts = {name: card[name] for name in ("system", "patches", "alignment", "parts")}

    def words(self) -> Words:
        return Words.load(self.folder)

    def network(self, part: str) -> nn.Module:
        if part not in self.facts["parts"]:
            raise self.lacking(part)
        file = self.folder / f"{part}.safetensors"
        if not file.is_file():
            raise Problem(f"{file} is missing although {CONFIG} names it; copy the whole folder")
        return built(part, self.facts["parts"][part], checkpoint.read_tensors(file)[0], file)

    def lacking(self, part: str) -> Problem:
        there = ", ".join(sorted(self.facts["parts"]))
        return Problem(
            f"{self.folder} was saved without {part!r} (it holds {there}): make it in the build folder, save again"
        )


def save(folder: Path, facts: Facts, weights: Mapping[str, Mapping[str, Tensor]], words: Words, readme: str) -> None:
    """Write a folder that SavedShelf reads; config.json comes last and says that the rest is complete.

    weights  of every part of `facts`
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    for part, tensors in weights.items():
        apart = {name: tensor.clone() for name, tensor in tensors.items()}  # a detector may have one by two names
        checkpoint.write_tensors(folder / f"{part}.safetensors", apart, {"format": "pt"})
    words.save(folder)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    heading = {"version": VERSION, "model_type": "fashionvl", "architectures": ["FashionVL"]}
    checkpoint.write_json(folder / CONFIG, heading | facts)
