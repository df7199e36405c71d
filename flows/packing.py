"""`python -m flows.packing SYSTEM MODEL_ID FOLDER`: one trained system becomes the files of an MLflow model.

In a process of its own, because it needs torch. What is logged needs no fashionvl where it is loaded: the library is in
no package index, so it travels along (`code_paths`), and an old version goes on answering with the code that it was
made with. What the library needs is pinned to what is here.
"""

import base64
import importlib.metadata
import io
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from flows import env, guard, stage
from flows.made import Made


class PackingError(Exception):
    """A system could not be saved or logged; the message says why."""


CODE = Path(__file__).with_name("pyfunc_model.py")
FOLDER = "system"  # what the weights are called inside the model


def packed(client: Any, experiment: str, name: str, system: str, made: Made, root: Path) -> tuple[Any, str]:
    """-> the MLflow model with this content, and its card; what a kill left unfinished is written again

    Raises PackingError, and what MLflow raises.
    """
    left = client.search_logged_models([experiment], filter_string=f"tags.`dvc.md5` = '{made.md5}'", max_results=1)
    model = left[0] if left else client.create_logged_model(experiment, name=name, tags=made.tags)
    with tempfile.TemporaryDirectory(prefix="packing-", dir=env.work()) as folder:
        if str(model.status) != "READY":
            _in_another_process(system, model.model_id, Path(folder), root)
        return model, download(model.artifact_location, "/README.md", Path(folder)).read_text(encoding="utf-8")


def _in_another_process(system: str, model_id: str, folder: Path, root: Path) -> None:
    """Save and log in a process that ends with this one; what MLflow says meanwhile goes to its log."""
    command = [sys.executable, "-m", "flows.packing", system, model_id, str(folder)]
    with (env.work() / "mlflow.log").open("a") as words:
        answer = subprocess.run(command, cwd=root, stdout=words, stderr=subprocess.PIPE, text=True, check=False)
        words.write(answer.stderr)
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or [f"it ended with {answer.returncode}"])[-1]
        raise PackingError(f"{system} could not be logged ({last}); see {env.work() / 'mlflow.log'}")


def download(model: str, inside: str, folder: Path) -> Path:
    """Bring the saved system of an MLflow model, or one file of it, into a folder -> where it is there.

    model  the address of the model's files
    """
    from mlflow.artifacts import download_artifacts

    place = f"{model}/artifacts/{FOLDER}{inside}"
    return Path(download_artifacts(artifact_uri=place, dst_path=str(folder), tracking_uri=env.store()))


def requirements(root: Path) -> list[str]:
    """What the library needs, at the versions that are here: ["torch==2.13.0", ...]."""
    wanted = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = ["mlflow", *(_name(requirement) for requirement in wanted)]
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]


def _name(requirement: str) -> str:
    return requirement.split(";")[0].split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip()


def example() -> Any:
    """A small table that shows how the model is asked: a tiny picture in base64, and a text."""
    import pandas as pd
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (24, 32), (120, 30, 40)).save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    return pd.DataFrame({"task": ["match", "embed"], "picture": [picture, None], "text": ["a red coat", "a red coat"]})


def signature() -> Any:
    """What the model takes; what it answers depends on the task of each row."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from flows.pyfunc_model import PARAMS

    kinds = {str: DataType.string, int: DataType.long, bool: DataType.boolean}
    columns = [ColSpec(DataType.string, "task")]
    columns += [ColSpec(DataType.string, side, required=False) for side in ("picture", "text")]
    params = ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in PARAMS.items()])
    return ModelSignature(inputs=Schema(columns), params=params)


def pack(system: str, model_id: str, folder: Path, root: Path) -> None:
    """Save the system into `folder` and log it as the files of the MLflow model that has been announced."""
    import mlflow

    import fashionvl

    fashionvl.load(root / "build" / "runs" / system).save_pretrained(folder / FOLDER)
    mlflow.set_tracking_uri(env.store())
    mlflow.pyfunc.log_model(
        model_id=model_id,
        python_model=str(CODE),
        artifacts={FOLDER: str(folder / FOLDER)},
        code_paths=[str(root / "src" / "fashionvl")],
        signature=signature(),
        input_example=example(),
        pip_requirements=requirements(root),
    )


def main(arguments: list[str]) -> int:
    """-> 0, or 2 with a sentence where the system cannot be packed."""
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    env.apply()
    guard.end_with_parent()
    try:
        stage.own_library()
    except stage.Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    from fashionvl.catalogue.problems import Problem

    try:
        pack(arguments[0], arguments[1], Path(arguments[2]), Path.cwd())
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
