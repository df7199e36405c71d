"""What a run was made from, as MLflow shows it: the versions that DVC knows, as data sets and as tags."""

from pathlib import Path
from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import register_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

CODE = "src/"  # tags suffice for it
FEW = 100  # tags, the most that MLflow takes at once


class DvcSource(DatasetSource):
    """A path of a checkout in the version that DVC knows by its md5."""

    def __init__(self, path: str, md5: str):
        self.path, self.md5 = path, md5

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    def load(self) -> Path:
        """The path, where the checkout is; `dvc checkout` of the run's commit brings the version back."""
        return Path(self.path)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "DvcSource":
        raise NotImplementedError("a version of DVC has a path and an md5: DvcSource(path, md5)")

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "md5": self.md5}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> "DvcSource":
        return cls(source_dict["path"], source_dict["md5"])


register_dataset_source(DvcSource)  # type: ignore[arg-type]


def tell(client: Any, run_id: str, found: dict[str, str], data: str) -> None:
    """Log what a run was made from.

    found  path -> md5, as DVC knows them
    data   the md5 of data/, that all of it comes from; empty where there is none
    """
    tags = [RunTag(f"dvc.dep.{path}", md5) for path, md5 in found.items()]
    for start in range(0, len(tags), FEW):
        client.log_batch(run_id, tags=tags[start : start + FEW])
    sets = {path: md5 for path, md5 in found.items() if not path.startswith(CODE)}
    if data:
        sets = {"data": data, **sets}
    client.log_inputs(run_id, [_input(path, md5, path in found) for path, md5 in sets.items()])


def _input(path: str, md5: str, direct: bool) -> DatasetInput:
    known = MetaDataset(DvcSource(path, md5), name=path, digest=md5)
    return DatasetInput(Dataset(**known.to_dict()), [InputTag(MLFLOW_DATASET_CONTEXT, "read" if direct else "origin")])
