"""Stage `report`: everything measured -> build/report/index.html, one page that needs nothing else.

What was not measured is said in a sentence where it would stand. The page is assembled from stages/pages/, whose parts
are pure functions of what is read here.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.pictures import open_rgb
from fashionvl.catalogue.style import page, section, thumb
from fashionvl.stages import options, run, scorers
from fashionvl.stages.evidence import Evidence, gather
from fashionvl.stages.pages import (
    ablations,
    alignments,
    captioning,
    comparisons,
    duals,
    galleries,
    model_card,
    opening,
    parts,
    recognition,
    regions,
    retrieval,
    slices,
    trainings,
)
from fashionvl.training import seed_of

THUMB = 160  # pixels of the longer side
Section = tuple[str, str, str]  # anchor, title, text
INPUTS = ("catalogue/products.parquet", "catalogue/pictures.parquet", "words/tokenizer.json")
PACKAGES = ("torch", "transformers", "numpy", "pandas")
ORDER = (
    *("catalogue", "words", "encoder", "captioner", "patches", "align", "contrast", "clip", "pretrain", "finetune"),
    *("evaluate", "probe", "examine"),
)
AFTER = ("yardsticks", "alignment", "compare")  # gather, and leave no card


@dataclass
class Looker:
    """The pictures of the catalogue as small data addresses; counts them."""

    catalogue: Catalogue
    max_megapixels: float
    count: int = 0

    def __call__(self, picture: int) -> str:
        self.count += 1
        path = self.catalogue.pictures["path"].iloc[picture]
        return thumb(open_rgb(self.catalogue.root, path, max_megapixels=self.max_megapixels), THUMB)


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Write the page and its card."""
    began = time.monotonic()
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    look = Looker(catalogue, settings.catalogue.max_megapixels)
    found = gather(settings, build)
    sections = [
        *measured(found, settings),
        *looked_at(found, settings, catalogue, look),
        *explained(found, settings, catalogue, build),
    ]
    top = opening.opening(found.rows, found.retrieved, found.recognised, found.facts, settings.evaluate.ranking_on)
    contents = opening.contents({anchor: title for anchor, title, _ in sections})
    body = "".join(section(title, text, anchor) for anchor, title, text in sections)
    style = parts.MORE_STYLE + galleries.MORE_STYLE + trainings.MORE_STYLE + slices.MORE_STYLE
    text = page("What was learned from this catalogue", f"{top}{contents}{body}", style)
    folder = build / "report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(text, encoding="utf-8", errors="backslashreplace")
    facts = {"pictures": look.count, "bytes": len(text.encode(errors="backslashreplace"))}
    seconds = round(time.monotonic() - began, 1)
    checkpoint.write_card(folder, {"stage": "report", "item": None, **facts, "seconds": seconds})
    print(f"report  {folder / 'index.html'}, {facts['bytes'] / 1e6:.1f} MB, {seconds:.0f} s", flush=True)


def measured(found: Evidence, settings: config.Params) -> Iterator[Section]:
    """The parts that are numbers."""
    yield "data", "The data", opening.data(found.facts)
    yield (
        "retrieval",
        "Finding: retrieval",
        retrieval.retrieval(found.rows, found.retrieved, found.metrics.get("compare")),
    )
    yardsticks = found.metrics.get("yardsticks")
    text = recognition.recognition(found.system, found.recognised, yardsticks, found.predictions, found.matrices)
    yield "recognition", "Recognising: category, sub-category", text
    captioner = found.metrics.get("captioner")
    text = captioning.captioning(found.system, found.captioned, captioner, scorers.SCORER)
    yield "captions", "Describing: captions", text
    yield "probes", "Dual encoders: what they know unasked", duals.probes(found.probed)


def looked_at(found: Evidence, settings: config.Params, catalogue: Catalogue, look: Looker) -> Iterator[Section]:
    """The parts that are pictures."""
    texts, of_picture = catalogue.texts(settings.text.fields), catalogue.pictures["product"].to_numpy()
    yield "found", "Found and missed", galleries.found_and_missed(found.ranks, texts, of_picture, look)
    yield "said", "Said well and badly", galleries.captions(found.captions, look)
    yield "wrong", "Sure and wrong", galleries.sure_and_wrong(found.predictions, look)
    kinds = found.metrics.get("alignment", {})
    yield "alignment", "Alignment: what words point at", alignments.alignments(kinds, found.sheets)
    if found.regions:
        yield "regions", "Regions: what pictures are cut into", regions.regions(found.regions, settings.patches)
    if found.hidden:
        yield "hidden", "Dual encoders: what they are not shown", duals.hidden(found.hidden)


def explained(found: Evidence, settings: config.Params, catalogue: Catalogue, build: Path) -> Iterator[Section]:
    """The parts that say where the numbers come from and how far they hold."""
    yield "training", "Training", trainings.trainings(found.trained)
    yield "ablations", "Ablations: what each part adds", ablations.ablations(found.metrics.get("ablations"))
    yield "family", "The family: systems side by side", comparisons.comparisons(found.metrics.get("comparisons"))
    measures = {
        "R@1": {} if found.ranks is None else slices.hits_of_ranks(found.ranks),
        "Recognised": slices.hits_of_predictions(found.predictions),
    }
    chance = np.random.default_rng(seed_of(settings.seed, 11))
    yield "slices", "Slices: where it works, and where not", slices.sliced(measures, catalogue.products, chance)
    yield "card", "Model card", model_card.model_card(found.facts, found.trained, settings.text.fields)
    versions = {"python": python_version(), **{name: version(name) for name in PACKAGES}}
    text = model_card.provenance(commands_of(build), versions, hashes_of(build), settings.seed, used(settings))
    yield "made", "How this was made", text


def commands_of(build: Path) -> list[str]:
    """The commands that make everything, then those of single stages, as the cards beside their results have them."""
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in build.glob("**/card.json")]
    ran = {(card.get("stage"), card.get("item") or "") for card in cards}
    found = sorted((ORDER.index(stage), f"{stage} {item}".rstrip()) for stage, item in ran if stage in ORDER)
    stages = [*(line for _, line in found), *AFTER, "report"]
    singly = [f"python -m fashionvl.stages.{stage}" for stage in stages]
    return ["make data FROM=<the catalogue>", "make run", "", "# or one by one", *singly]


def hashes_of(build: Path) -> dict[str, str]:
    """sha256 of what everything is made from, and of every model."""
    models = sorted(str(path.relative_to(build)) for path in build.glob("**/model.safetensors"))
    found = {}
    for name in (*INPUTS, *(name for name in models if not name.startswith(("ablations", "comparisons")))):
        if (build / name).exists():
            with (build / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def used(settings: config.Params) -> dict[str, Any]:
    """The parameters without the rows that are not run and without those of studies and trials."""
    table = asdict(settings)
    for study in (*config.STUDIES, "trials"):
        table.pop(study)
    for key, names in (
        ("systems", settings.run),
        ("contrast", settings.run_contrast),
        ("clip", settings.run_clip),
        ("patches", (*settings.run_patches, *settings.run_regions)),
    ):
        table[key] = {name: row for name, row in table[key].items() if name in names}
    return table


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
