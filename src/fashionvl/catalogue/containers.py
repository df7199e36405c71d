"""Files that hold a whole catalogue with its pictures inside: HDF5 (Fashion-Gen) and saved Hugging Face datasets."""

from functools import cache
from pathlib import Path
from typing import Any

from fashionvl.catalogue.problems import Problem


@cache
def hdf5(file: Path, process: int) -> Any:
    """The open `h5py.File`, opened once a process (`process` is its id, so that a fork does not share a handle)."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise Problem(
            f"{file.name} is an HDF5 file, and reading one needs h5py: pip install 'fashionvl[fashiongen]'"
        ) from None
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise Problem(f"{file} cannot be read as an HDF5 file ({error})") from None


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


@cache
def saved_dataset(folder: Path, process: int) -> dict[str, Any]:
    """The splits of a saved dataset by name, pictures left undecoded; one split named "" where it has none."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise Problem(
            f"{folder} is a saved dataset, and reading one needs datasets: pip install 'fashionvl[hub]'"
        ) from None
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(f"{folder} cannot be read as a saved dataset ({error})") from None
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
    return {name: _undecoded(split, datasets.Image) for name, split in splits.items()}


def _undecoded(split: Any, image: type) -> Any:
    for name, feature in split.features.items():
        if isinstance(feature, image):
            split = split.cast_column(name, image(decode=False))
    return split
