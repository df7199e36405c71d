"""`python -m fashionvl.stages.export SYSTEM FOLDER`: a trained row of CLIP's family as files of `transformers`.

The folder is read by CLIPModel.from_pretrained and AutoTokenizer.from_pretrained, and can be a `start` of `towers`.
"""

from pathlib import Path

from fashionvl import config
from fashionvl.catalogue.problems import Problem
from fashionvl.models import clip_files
from fashionvl.stages import clip, options, run


def main(
    system: str,
    folder: Path,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
) -> None:
    """Write the folder; one that holds something is a Problem, and so is a model that CLIPModel cannot be."""
    config.row(config.load(params).clip, system, "clip")
    if folder.exists() and any(folder.iterdir()):
        raise Problem(f"{folder} is not empty; name a new folder")
    model, _ = clip.load(build / "runs" / system)
    clip_files.save(model, folder)
    clip_files.save_words(str(build / "runs" / system / clip.WORDS), folder)
    print(f"export  {system} is in {folder}", flush=True)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("system", help="a row under `clip` in params.yaml")
    parser.add_argument("folder", type=Path, help="a new folder")
    run(lambda: main(**vars(parser.parse_args())))
