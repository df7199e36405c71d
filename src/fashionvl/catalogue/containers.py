"""Files that hold a whole catalogue with its pictures inside: HDF5 (Fashion-Gen) and saved Hugging Face datasets."""

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from fashionvl.catalogue.problems import Problem

OPEN = 8  # containers at a time


def hdf5(file: Path) -> Any:
    """The open `h5py.File`, opened once a process (a fork does not share a handle), and anew where it was replaced."""
    return _hdf5(file, _mark(file))


def saved_dataset(folder: Path) -> dict[str, Any]:
    """The splits of a saved dataset by name, pictures left undecoded; one split named "" where it has none."""
    return _saved_dataset(folder, _mark(folder))


def _mark(place: Path) -> tuple[int, ...]:
    """What tells one opening of a file or folder from another: the process, and which file it is."""
    try:
        state = place.stat()
    except OSError:  # whoever opens it says so
        return (os.getpid(),)
    return os.getpid(), state.st_dev, state.st_ino, state.st_mtime_ns


@lru_cache(OPEN)
def _hdf5(file: Path, mark: tuple[int, ...]) -> Any:
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


@lru_cache(OPEN)
def _saved_dataset(folder: Path, mark: tuple[int, ...]) -> dict[str, Any]:
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
    return split.with_format(None)


# Which column of Fashion-Gen means what; `input_concat_description` repeats others, `index` numbers them.
FASHION_GEN = {
    "product_id": "input_productID",
    "image_path": "input_image",
    "title": "input_name",
    "description": "input_description",
    "category": "input_category",
    "sub_category": "input_subcategory",
    "view": "input_pose",
    "attributes.brand": "input_brand",
    "attributes.composition": "input_composition",
    "attributes.department": "input_department",
    "attributes.gender": "input_gender",
    "attributes.season": "input_season",
}


def hdf5_columns(file: Path) -> list[str]:
    """The columns of an HDF5 file, in the order of their names; raises Problem if they are of different lengths."""
    table = hdf5(file.resolve())
    columns = sorted(name for name in table if getattr(table[name], "shape", ()))
    lengths = {len(table[name]) for name in columns}
    if len(lengths) > 1:
        raise Problem(f"the columns of {file} should be equally long, they have {sorted(lengths)} rows")
    return columns


def hdf5_rows(file: Path, columns: list[str], at_once: int) -> Iterator[list[str]]:
    """The rows of an HDF5 file as texts; a picture becomes the path that the picture door opens."""
    table = hdf5(file.resolve())
    count = len(table[columns[0]]) if columns else 0
    for start in range(0, count, at_once):
        stop = min(start + at_once, count)
        block = []
        for name in columns:
            if table[name].ndim > 2:
                block.append([f"{file.name}#{name}/{row}" for row in range(start, stop)])
            else:
                block.append([_latin(value) for value in table[name][start:stop].reshape(stop - start, -1)[:, 0]])
        yield from map(list, zip(*block, strict=True))


def _latin(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def dataset_rows(
    folder: Path, root: Path, at_once: int, as_text: Callable[[Any], str]
) -> tuple[list[str], list[str], Iterator[list[str]]]:
    """A saved dataset as texts.

    -> its columns (with `split` at the end, where it has several splits and no such column), those of them that are
       pictures, and the rows; a picture becomes the path that the picture door opens, a class its name.
    """
    splits = saved_dataset(folder.resolve())
    features = next(iter(splits.values())).features
    columns = list(features)
    pictures = [name for name in columns if type(features[name]).__name__ == "Image"]
    named = len(splits) > 1 and "split" not in columns
    where = folder.resolve().relative_to(root.resolve()).as_posix()

    def rows() -> Iterator[list[str]]:
        for split, table in splits.items():
            texts = table.remove_columns(pictures)
            for start in range(0, len(table), at_once):
                block = texts[start : start + at_once]
                for at in range(min(at_once, len(table) - start)):
                    place = f"{where}#{split}/" if split else f"{where}#"
                    cells = {name: f"{place}{name}/{start + at}" for name in pictures}
                    cells |= {
                        name: as_text(_class_name(features[name], block[name][at])) for name in texts.column_names
                    }
                    yield [*(cells[name] for name in columns), *([split] if named else [])]

    return [*columns, *(["split"] if named else [])], pictures, rows()


def _class_name(feature: Any, value: Any) -> Any:
    """The name of a class, where the dataset stores its number."""
    named = type(feature).__name__ == "ClassLabel" and value is not None and value >= 0
    return feature.int2str(value) if named else value
