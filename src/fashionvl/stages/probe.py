"""Stage `probe SYSTEM`: what a dual encoder knows without being asked for it -> build/probes/<system>, build/metrics.

Three ways, none of which trains it: categories named by prompts, a linear layer on its frozen vectors of pictures, and
true texts against the same with one attribute changed (tasks/probes.py, tasks/composition.py). Of a row of CLIP's
family it is drawn what it does not see of some pictures.
"""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fashionvl import config, metrics, training
from fashionvl.catalogue import Catalogue
from fashionvl.search.facets import plain
from fashionvl.stages import duals, hidden_sheet, machine, options, run
from fashionvl.stages.evaluate import publish
from fashionvl.tasks import composition, labels, probes
from fashionvl.tasks.contrast import Dual

ATTRIBUTE = "attributes."
PHRASES = {"sleeve": composition.SLEEVE, "neckline": composition.NECKLINE}


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Probe one dual encoder."""
    began = time.monotonic()
    machine.keep_freed_memory()
    settings = config.load(params)
    config.dual(settings, system)
    catalogue = Catalogue.load(build / "catalogue", data)
    run_folder, folder = build / "runs" / system, build / "probes" / system
    dual = duals.load(run_folder, build, settings, machine.accelerator())
    folder.mkdir(parents=True, exist_ok=True)
    if system in settings.clip:
        hidden_sheet.draw(run_folder, catalogue, settings).save(folder / "hidden.png")
    publish(probed(dual, catalogue, settings), "probe", f"{system}-probe", settings, folder, build, began)


def probed(dual: Dual, catalogue: Catalogue, settings: config.Params) -> dict[str, float]:
    """Every number with its 95 % interval over groups, for what the catalogue can be asked for."""
    split, found = settings.evaluate.ranking_on, dict[str, float]()
    seen = {part: duals.seen(dual, catalogue, part) for part in ("train", "val", split)}
    for task in labels.TASKS:
        if labels.is_asked(catalogue, task):
            found |= _categories(dual, seen, catalogue, task, settings)
    return found | _composition(dual, seen[split], catalogue, settings)


def _categories(
    dual: Dual, seen: dict[str, Tensor], catalogue: Catalogue, task: str, settings: config.Params
) -> dict[str, float]:
    """Zero-shot by each set of prompts, and the linear probe."""
    split, classes = settings.evaluate.ranking_on, labels.classes(catalogue, task)
    answer = {part: _answers(catalogue, part, task, classes) for part in seen}
    asked = answer[split] != labels.NO_LABEL
    said = {
        f"zero_shot.{name}": probes.zero_shot(seen[split], probes.class_vectors(classes, prompts, dual.say))
        for name, prompts in probes.PROMPTS.items()
    }
    found: dict[str, float] = {}
    if len(classes) > 1:
        learn, held = (answer[part] >= 0 for part in ("train", "val"))
        if held.any():
            said["probe"], found[f"{task}.probe.strength"] = probes.linear_probe(
                seen["train"][learn], answer["train"][learn], seen["val"][held], answer["val"][held], seen[split]
            )
        else:
            print(f"probe  no picture of val is of a known {task}: there is no linear probe of it", flush=True)
    for name, guess in said.items():
        right = (guess == answer[split])[asked].astype(float)
        found |= _with_interval(f"{task}.{name}.accuracy", right, _groups(catalogue, split)[asked], settings.seed)
    return found


def _answers(catalogue: Catalogue, split: str, task: str, classes: list[str]) -> NDArray[np.int64]:
    """-> (n,) the class of every picture of a split"""
    return labels.answers(catalogue, task, classes)[_products(catalogue, split)]


def _products(catalogue: Catalogue, split: str) -> NDArray[np.int64]:
    """-> (n,) the product of every picture of a split"""
    return catalogue.pictures["product"].to_numpy()[catalogue.pictures_in(split)]


def _groups(catalogue: Catalogue, split: str) -> NDArray[np.int64]:
    return catalogue.groups()[_products(catalogue, split)]


def _composition(dual: Dual, seen: Tensor, catalogue: Catalogue, settings: config.Params) -> dict[str, float]:
    """How often the true text of a product is nearer to its first picture than the same with one attribute changed."""
    split = settings.evaluate.ranking_on
    products, of_picture = catalogue.in_split(split), _products(catalogue, split)
    texts, attributes = catalogue.texts(settings.text.fields), catalogue.products["attributes"]
    kinds, true = _kinds(catalogue, settings), [list(plain(attributes[product]).values()) for product in products]
    generator = np.random.default_rng(training.seed_of(settings.seed, 9))
    foils = composition.foils([texts[product] for product in products], kinds, true=true, generator=generator)
    if not foils:
        return {}
    picture = seen[np.searchsorted(of_picture, products)]
    right, wrong = (dual.say([getattr(foil, side) for foil in foils]) for side in ("right", "wrong"))
    rows = [foil.row for foil in foils]
    scores = [(picture[rows] * said).sum(dim=1).numpy() for said in (right, wrong)]
    won, found = composition.won_by(*scores), dict[str, float]()
    groups = catalogue.groups()[products][rows]
    for change, by_kind in composition.judged(foils, *scores).items():
        for kind, told in by_kind.items():
            inside = np.array([foil.change == change and kind in ("all", foil.kind) for foil in foils])
            name = f"composition.{change}.{kind}"
            found |= _with_interval(f"{name}.accuracy", won[inside], groups[inside], settings.seed)
            found[f"{name}.foils"] = told["foils"]
    return found


def _kinds(catalogue: Catalogue, settings: config.Params) -> dict[str, composition.Forms]:
    """Kinds of attributes that texts name: the catalogue's, and what fashion texts say by themselves."""
    names = [field.removeprefix(ATTRIBUTE) for field in settings.text.fields if field.startswith(ATTRIBUTE)]
    tables = [plain(attributes) for attributes in catalogue.products["attributes"]]
    values = {name: sorted({table[name].lower() for table in tables if table.get(name)}) for name in names}
    return {name: (tuple(said),) for name, said in values.items() if len(said) > 1} | PHRASES


def _with_interval(name: str, hits: NDArray[np.float64], groups: NDArray[np.int64], seed: int) -> dict[str, float]:
    low, high = metrics.interval(hits, groups, generator=np.random.default_rng(training.seed_of(seed, 7)))
    return {name: float(hits.mean()), f"{name}.low": low, f"{name}.high": high}


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("system", help="a row under `contrast` or `clip` in params.yaml")
    run(lambda: main(**vars(parser.parse_args())))
