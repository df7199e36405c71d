"""Where the parts of a system lie: around build/runs/<system>, or in a folder that `save_pretrained` wrote.

Both shelves say of a system (`facts`): its name, its `patches` and `alignment` (None where the stage that says it has
not run), and of every part that is there what it is built from.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from fashionvl import checkpoint
from fashionvl.catalogue.problems import Problem
from fashionvl.models.named_encoders import load_saliency, weights_checksum
from fashionvl.patches.store import MANIFEST
from fashionvl.pretrained.parts import TASKS, Facts, built
from fashionvl.stages.encoders import load_encoder
from fashionvl.words import Words

VERSION = 1  # of the folders of `save_pretrained`; raised when an older reader would misread a newer one
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
        self.facts: Facts = {
            "system": self.system,
            "patches": self._patches(),
            "alignment": self._said(self.build / "alignment" / self.kind, "alignment"),
            "parts": {"model": {"model": card["model"], "metrics": self._metrics(self.system)}} | self._others(),
        }

    def words(self) -> Words:
        return Words.load(self.build / "words")

    def network(self, part: str) -> nn.Module:
        patches = self.facts["patches"]
        if part == "captioner_encoder":
            return load_encoder(self.facts["parts"]["captioner"]["captioner"]["encoder"], self.build / "encoder").eval()
        if part in ("encoder", "saliency") and patches is None:
            raise self.lacking("patches")
        if part == "encoder":
            return self._encoder(patches)
        if part == "saliency":
            return load_saliency(patches["saliency"])
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
        name = f"{self.system}-{part}"
        place, stage, command = made.get(part, (f"finetuned/{name}", "finetune", f"dvc repro finetune@{name}"))
        return Problem(
            f"this needs {self.build / place}, which is not there or of older code: run the stage"
            f" `{stage}` (`{command}`)"
        )

    def _encoder(self, patches: Facts) -> nn.Module:
        encoder = load_encoder(patches["encoder"], self.build / "encoder", pixels=patches["pixels"])
        if weights_checksum(encoder) != patches["weights"]:
            raise Problem(
                f"the patch encoder {patches['encoder']!r} is not the one that {self.build / 'patches' / self.kind}"
                " was made with; run the stages `patches` and `pretrain` again (`dvc repro`)"
            )
        return encoder

    def _place(self, part: str) -> Path:
        if part == "model":
            return self.folder
        return self.build / ("captioner" if part == "captioner" else f"finetuned/{self.system}-{part}")

    def _others(self) -> dict[str, Facts]:
        found = {}
        for part in (*TASKS, "captioner"):
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
        made = json.loads(path.read_text(encoding="utf-8"))
        if "regions" in made:
            raise Problem(
                f"{self.system!r} reads regions of pictures, and only systems over grids are opened so; ask it by the"
                " stages `evaluate`, `finetune` and `examine`"
            )
        return {
            "encoder": made["encoder"]["name"],
            "weights": made["encoder"]["weights"],
            "pixels": made["pixels"],
            "grids": made["grids"],
            "foreground": made["foreground"]["name"],
            "margin": made["foreground"]["margin"],
            "saliency": made["foreground"].get("network"),
            "precision": made["precision"],
        }


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
        if card.get("version") != VERSION:
            raise Problem(
                f"{folder} was written by version {card.get('version')} of save_pretrained, this code reads {VERSION};"
                " save it again, or use the code it was made with"
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
        checkpoint.write_tensors(folder / f"{part}.safetensors", tensors, {"format": "pt"})
    words.save(folder)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    heading = {"version": VERSION, "model_type": "fashionvl", "architectures": ["FashionVL"]}
    checkpoint.write_json(folder / CONFIG, heading | facts)
