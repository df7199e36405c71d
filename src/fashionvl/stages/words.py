"""Stage `words`: build/catalogue -> build/words, a WordPiece vocabulary learned from the training texts."""

from pathlib import Path

from fashionvl import checkpoint, config, words
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.stages import options, run


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Learn or fetch the vocabulary and say how well it covers each split."""
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    texts = catalogue.texts(settings.text.fields)
    training = [texts[i] for i in catalogue.in_split("train")]
    if not training:
        raise Problem("the catalogue has no training product; look at the splits in build/catalogue/report.html")
    if settings.words.source == "learned":
        found = words.learn(training, vocabulary=settings.words.vocabulary, slots=settings.words.slots)
    else:
        found = words.named(settings.words.source, slots=settings.words.slots)
    folder = build / "words"
    folder.mkdir(parents=True, exist_ok=True)
    found.save(folder)
    metrics = {"vocabulary": found.vocabulary, **_coverage(found, texts, catalogue)}
    checkpoint.write_json(build / "metrics" / "words.json", metrics)
    checkpoint.write_card(folder, {"stage": "words", "metrics": metrics, "source": settings.words.source})
    print(f"words  {found.vocabulary} pieces, {metrics['mean_slots']:.1f} slots a text", flush=True)


def _coverage(found: words.Words, texts: list[str], catalogue: Catalogue) -> dict[str, float]:
    """Slots used, share of texts cut off, share of unknown pieces by split."""
    encoded = found.encode(texts)
    real = encoded.ids != found.pad
    unknown = encoded.ids == found.id_of("[UNK]")
    full = real.all(dim=1)
    metrics = {"mean_slots": real.sum(dim=1).float().mean().item(), "full_share": full.float().mean().item()}
    for split in ("train", "val", "test"):
        rows = catalogue.in_split(split)
        if len(rows):
            metrics[f"unknown_share_{split}"] = (unknown[rows].sum() / real[rows].sum()).item()
    return metrics


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
