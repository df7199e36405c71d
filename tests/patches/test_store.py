import json

import numpy as np
import pandas as pd
import pytest
import torch

from fashionvl.catalogue.problems import Problem
from fashionvl.patches import store
from fashionvl.patches.pyramid import KALEIDO, Pyramid
from fashionvl.patches.store import Store

ROWS = (4, 4, 2)


@pytest.fixture
def written(tmp_path):
    """A store of ten pictures in three shards -> its folder, and all its vectors."""
    vectors = np.random.default_rng(0).random((sum(ROWS), 74, 5)).astype(np.float16)
    shards, start = [], 0
    for number, rows in enumerate(ROWS):
        path = store.write_shard(tmp_path, number, vectors[start : start + rows])
        shards.append({"file": path.name, "rows": rows, "sha256": store.checksum(path)})
        start += rows
    pd.DataFrame({"path": [f"images/{i}.jpg" for i in range(start)]}).to_parquet(tmp_path / store.BOXES)
    boxes = {"file": store.BOXES, "sha256": store.checksum(tmp_path / store.BOXES)}
    manifest = {"version": store.VERSION, "dim": 5, "grids": [1, 2, 3, 4, 5], "shards": shards, "boxes": boxes}
    (tmp_path / store.MANIFEST).write_text(json.dumps(manifest))
    return tmp_path, torch.from_numpy(vectors)


@pytest.mark.parametrize("resident", [False, True])
def test_what_was_written_is_read_in_any_order(written, resident):
    folder, vectors = written
    opened = Store.open(folder, resident=resident)
    assert (len(opened), opened.dim) == (10, 5)
    wanted = torch.tensor([9, 0, 4, 4, 3, 8, 0])
    assert torch.equal(opened.vectors(wanted), vectors[wanted])
    assert torch.equal(opened.vectors(wanted.numpy()), vectors[wanted])
    assert torch.equal(opened.clean(wanted), vectors[wanted, :55])
    assert opened.vectors([]).shape == (0, 74, 5)
    assert opened.vectors(wanted).dtype == torch.float16


def test_what_was_gathered_is_a_copy(written):
    folder, vectors = written
    for opened in (Store.open(folder), Store.open(folder, resident=True)):
        opened.vectors([0]).zero_()
        assert torch.equal(opened.vectors([0]), vectors[:1])


@pytest.mark.parametrize("index", [-1, 10])
@pytest.mark.parametrize("resident", [False, True])
def test_an_index_outside_is_an_error(written, index, resident):
    with pytest.raises(IndexError, match=r"0\.\.9"):
        Store.open(written[0], resident=resident).vectors([0, index])


def test_an_untouched_store_verifies(written):
    Store.open(written[0]).verify()


@pytest.mark.parametrize("name", ["vectors-00001.npy", store.BOXES])
def test_a_changed_byte_is_found_and_named(written, name):
    path = written[0] / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Problem, match=name):
        Store.open(written[0]).verify()


def test_an_unfinished_folder_is_no_store(written):
    (written[0] / store.MANIFEST).unlink()
    with pytest.raises(Problem, match="not finished"):
        Store.open(written[0])


def test_another_version_is_named(written):
    path = written[0] / store.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(Problem, match="99"):
        Store.open(written[0])


def test_a_store_knows_its_grids(tmp_path, written):
    assert Store.open(written[0]).layout == KALEIDO
    folder = tmp_path / "fixed"
    folder.mkdir()
    vectors = np.random.default_rng(0).random((3, 64, 5)).astype(np.float16)
    path = store.write_shard(folder, 0, vectors)
    shards = [{"file": path.name, "rows": 3}]
    manifest = {"version": store.VERSION, "dim": 5, "grids": [8], "shards": shards}
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    opened = Store.open(folder)
    assert opened.layout == Pyramid((8,))
    assert torch.equal(opened.clean([2, 0]), torch.from_numpy(vectors)[[2, 0]])
    (folder / store.MANIFEST).write_text(json.dumps({**manifest, "grids": [7]}))
    with pytest.raises(Problem, match=r"\(3, 64, 5\), expected float16 \(3, 49, 5\)"):
        Store.open(folder)


def test_a_store_from_before_there_were_grids_is_refused(written):
    path = written[0] / store.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["grids"]
    path.write_text(json.dumps({**manifest, "version": 1}))
    with pytest.raises(Problem, match="version 1, this program reads version 2"):
        Store.open(written[0])


def test_a_missing_or_shortened_shard_is_named(written):
    path = written[0] / store.shard_name(2)
    np.save(path, np.zeros((1, 74, 5), dtype=np.float16))
    with pytest.raises(Problem, match=r"vectors-00002\.npy.*expected"):
        Store.open(written[0])
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(Problem, match=r"vectors-00002\.npy.*cannot be read"):
        Store.open(written[0])
    path.unlink()
    with pytest.raises(Problem, match=r"vectors-00002\.npy.*missing"):
        Store.open(written[0])
