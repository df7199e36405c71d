"""Stage `index SYSTEM`: every picture of the catalogue -> build/index/<system>, what search recalls from.

SYSTEM is a dual encoder that was trained, or a row of `towers` with `start`, which is used as it is. Vectors are kept
in .work by the content of their pictures, so that only pictures that are new or changed are embedded when the model is
the same as before, and a stage that was killed goes on where it was.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fashionvl import checkpoint, config
from fashionvl.catalogue import Catalogue
from fashionvl.catalogue.problems import Problem
from fashionvl.patches.store import checksum
from fashionvl.search import index
from fashionvl.stages import machine, options, recallers, run
from fashionvl.tasks.contrast import Dual

VERSION = 1  # of vectors; raised when the same weights see the same pictures differently
AT_ONCE = 2048  # pictures that are embedded between two files of vectors
REPORT_SECONDS = 5.0
VECTORS, PICTURES, ENGINE = "vectors.npy", "pictures.parquet", "index.faiss"

Vectors = NDArray[np.float32]


def main(
    system: str,
    *,
    params: Path = Path("params.yaml"),
    data: Path = Path("data"),
    build: Path = Path("build"),
    work: Path = Path(".work"),
) -> None:
    """Embed what is not embedded yet, and put the index in its place."""
    began = time.monotonic()
    settings = config.load(params)
    catalogue = Catalogue.load(build / "catalogue", data)
    dual, model = recallers.recaller(system, build, settings, machine.accelerator())
    mark = hashlib.sha256(json.dumps([VERSION, model], sort_keys=True).encode()).hexdigest()[:16]
    folder = checkpoint.work_folder(work, "index", system, mark)
    pictures = catalogue.pictures[["path", "sha256"]].assign(product_id=_ids(catalogue))
    vectors, fresh = embedded(dual, catalogue.root, pictures, folder, name=f"index {system}")
    made = index.engine(vectors, **asdict(settings.search.index), seed=settings.seed)
    facts = {"kind": index.kind_of(made), "pictures": len(pictures), "products": len(catalogue.products)}
    facts |= {"embedded": fresh, "seconds": round(time.monotonic() - began, 1)}
    card = {"stage": "index", "item": system, "model": model, "data": data_of(build), "metrics": facts}
    publish(build / "index" / system, vectors, pictures, made, card)
    _forget_other_models(folder)
    where = f"{len(catalogue.products)} products, {len(pictures)} pictures, {fresh} of them embedded"
    print(f"index {system}  {facts['kind']}, {where}, {facts['seconds']:.0f} s", flush=True)


def embedded(dual: Dual, root: Path, pictures: pd.DataFrame, folder: Path, *, name: str) -> tuple[Vectors, int]:
    """The vector of every picture; `folder` gives those that it keeps, and then keeps these and no other.

    pictures  path, sha256 of its bytes
    -> (P, C) float32 of length 1; how many were embedded
    """
    kept = {sha: vector for shas, vectors in _kept(folder) for sha, vector in zip(shas, vectors, strict=True)}
    lacking = pictures[~pictures["sha256"].isin(kept)].drop_duplicates("sha256")
    began = said = time.monotonic()
    for at in range(0, len(lacking), AT_ONCE):
        some = lacking.iloc[at : at + AT_ONCE]
        seen = dual.see(root, some["path"].tolist()).float().numpy()
        if not np.isfinite(seen).all():
            broken = some["path"].iloc[int((~np.isfinite(seen)).any(axis=1).argmax())]
            raise Problem(f"{broken}: the model gives a vector of it that is no numbers; look at its training")
        _keep(folder / f"new-{time.time_ns()}.npz", some["sha256"].tolist(), seen)
        kept |= dict(zip(some["sha256"], seen, strict=True))
        done, now = at + len(some), time.monotonic()
        if now - said > REPORT_SECONDS:
            said, left = now, (now - began) / done * (len(lacking) - done)
            print(f"{name}  picture {done}/{len(lacking)}  {left:.0f} s left", flush=True)
    vectors = np.stack([kept[sha] for sha in pictures["sha256"]])
    if len(lacking) or len(kept) > pictures["sha256"].nunique():
        before = list(folder.glob("*.npz"))
        unique = ~pictures["sha256"].duplicated().to_numpy()
        _keep(folder / f"all-{time.time_ns()}.npz", pictures["sha256"][unique].tolist(), vectors[unique])
        for file in before:
            file.unlink()
    return vectors, len(lacking)


def publish(out: Path, vectors: Vectors, pictures: pd.DataFrame, made: Any, card: dict[str, Any]) -> None:
    """Write the folder of an index; its card comes last and says that the rest is complete.

    Every file is put into place by a rename, so that who has the index before it open goes on with that.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "card.json").unlink(missing_ok=True)
    with (out / (VECTORS + ".part")).open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
    pictures.to_parquet(out / (PICTURES + ".part"), index=False)
    faiss.write_index(made, str(out / (ENGINE + ".part")))
    for name in (VECTORS, PICTURES, ENGINE):
        (out / (name + ".part")).replace(out / name)
    checkpoint.write_card(out, {**card, "dim": vectors.shape[1]})


def opened(folder: Path, catalogue: Catalogue, *, model: Mapping[str, str], data: Mapping[str, str]) -> index.Index:
    """The index of a folder, its vectors memory-mapped.

    model, data  the mark of the dual encoder that asks, and that of the catalogue; an index of others is a Problem
    """
    card = checkpoint.read_card(folder)
    for kind, asked in (("model", model), ("data", data)):
        if card.get(kind) != asked:
            other = (
                "another model than asks" if kind == "model" else "another state of the catalogue than build/catalogue"
            )
            raise Problem(f"{folder} was made of {other}: run the stage `index` again (`dvc repro index`)")
    vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    product = catalogue.pictures["product"].to_numpy()
    return index.Index(vectors, product, faiss.read_index(str(folder / ENGINE)))


def data_of(build: Path) -> dict[str, str]:
    """What an index knows a catalogue by: the checksums of its tables."""
    return {name: checksum(build / "catalogue" / f"{name}.parquet") for name in ("products", "pictures")}


def _ids(catalogue: Catalogue) -> NDArray[Any]:
    return catalogue.products["product_id"].to_numpy()[catalogue.pictures["product"].to_numpy()]


def _kept(folder: Path) -> Iterator[tuple[list[str], Vectors]]:
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            yield arrays["sha256"].astype(str).tolist(), arrays["vectors"]


def _keep(file: Path, shas: list[str], vectors: Vectors) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, sha256=np.array(shas, dtype="S64"), vectors=vectors)
    part.replace(file)


def _forget_other_models(folder: Path) -> None:
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)


if __name__ == "__main__":
    parser = options(__doc__, works=True)
    parser.add_argument(
        "system", help="a row under `contrast` or `clip` in params.yaml, or one of `towers` with `start`"
    )
    run(lambda: main(**vars(parser.parse_args())))
