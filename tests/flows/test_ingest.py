"""What is new in a feed comes into data/ whole or not at all, and is said; a bad feed changes nothing."""

import json
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
INGEST = [sys.executable, "-m", "flows.ingest"]
DVC = [sys.executable, "-m", "dvc"]

NEWS = """\
import csv, json, pathlib, sys
def read(folder):
    rows = csv.DictReader((pathlib.Path(folder) / "catalogue.csv").open())
    return {row["product_id"]: (pathlib.Path(folder) / row["image_path"]).read_text() for row in rows}
old, new = read(sys.argv[1]), read(sys.argv[2])
found = {"new": len(new.keys() - old.keys()), "withdrawn": len(old.keys() - new.keys()), "before": len(old)}
found["changed"] = sum(old[name] != new[name] for name in old.keys() & new.keys())
pathlib.Path(sys.argv[4]).write_text(json.dumps(found))
"""

DRIFT = """\
import json, pathlib, sys
drifted = "drifted" in (pathlib.Path(sys.argv[2]) / "catalogue.csv").read_text()
pathlib.Path(sys.argv[4]).write_text(json.dumps({"drifted": drifted, "exceeded": ["words"] if drifted else []}))
"""

# Ends itself before a step of a change of places, as kill -9 would; a step is what writes, moves or removes.
KILLED = """\
import os, shutil, signal, sys
from pathlib import Path
from flows import env, ledger, swap
left, number = int(sys.argv[1]), sys.argv[2]
def counted(step):
    def wrapped(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*args, **options)
    return wrapped
place = swap.prepare(env.ROOT)
(place / "data").mkdir()
(place / "data" / "file").write_text(number)
swap.dvc(place, "add", "data")
said = swap.read(place / "data.dvc")
for room, name in ((swap, "keep"), (swap, "write"), (swap, "matches"), (shutil, "rmtree")):
    setattr(room, name, counted(getattr(room, name)))
swap._exchanged = counted(swap._exchanged) if sys.argv[3] == "exchange" else lambda new, data: False
for name in ("unlink", "replace", "rename"):
    setattr(Path, name, counted(getattr(Path, name)))
swap.put(env.ROOT, said)
"""


def write(folder: Path, products: dict[str, str]) -> None:
    """A catalogue of one picture a product: product: what its picture holds."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    rows = [f"{name},images/{name}.jpg" for name in products]
    (folder / "catalogue.csv").write_text("\n".join(["product_id,image_path", *rows]) + "\n")
    for name, content in products.items():
        (folder / "images" / f"{name}.jpg").write_text(content)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def news(project, word: str = "probe") -> dict:
    """What `probe` or `take` answers."""
    code = f"import json, dataclasses; from flows import ingest; print(json.dumps(dataclasses.asdict(ingest.{word}())))"
    return json.loads(project.ok(sys.executable, "-c", code).splitlines()[-1])


def named(project) -> dict:
    return yaml.safe_load(project.read("data.dvc"))


def is_clean(project) -> bool:
    """True where data/ is what data.dvc says, by DVC's own word."""
    return json.loads(project.run(*DVC, "status", "--json", "data.dvc").stdout) == {}


def trained(project) -> None:
    """Pretend that the stage `catalogue` has read what is in data/."""
    md5 = named(project)["outs"][0]["md5"]
    project.write(
        "dvc.lock",
        yaml.safe_dump(
            {
                "schema": "2.0",
                "stages": {
                    "catalogue": {
                        "cmd": "x",
                        "deps": [{"path": "data", "hash": "md5", "md5": md5, "size": 1, "nfiles": 1}],
                    }
                },
            }
        ),
    )


@pytest.fixture
def fed(project, tmp_path):
    """A checkout that follows a folder of four products, and was trained on them."""
    for name, code in {"news": NEWS, "drift": DRIFT}.items():
        project.write(f"src/fashionvl/stages/{name}.py", code)
    project.write("params.yaml", project.read("params.yaml") + "feed: {withdrawn_limit: 0.5}\n")
    write(tmp_path / "feed", dict.fromkeys("abcd", "1"))
    project.ok(sys.executable, "-m", "flows.data", "--feed", str(tmp_path / "feed"))
    trained(project)
    return project


@pytest.mark.ci
def test_what_is_new_is_said_and_brought_and_what_was_there_can_come_back(fed, tmp_path):
    before = fed.read("data.dvc")
    assert news(fed) == {**news(fed), "feed": True, "fresh": False, "refused": None}
    write(tmp_path / "feed", {"a": "1", "b": "other", "d": "1", "e": "1", "f": "1"})
    old = content(fed.root / "data")
    seen = news(fed)
    assert (seen["new"], seen["changed"], seen["withdrawn"], seen["fresh"]) == (2, 1, 1, True)
    assert content(fed.root / "data") == old
    assert fed.read("data.dvc") == before
    assert "2 new, 1 changed, 1 withdrawn" in fed.ok(*INGEST)
    assert content(fed.root / "data") == content(tmp_path / "feed")
    assert named(fed)["outs"][0]["md5"] == seen["md5"]
    assert str(tmp_path) not in fed.read("data.dvc")
    assert is_clean(fed)
    told = news(fed)  # brought, but nothing was trained on it yet
    assert (told["fresh"], told["new"], told["md5"]) == (True, 2, seen["md5"])
    trained(fed)
    assert news(fed, "take")["fresh"] is False
    assert "nothing new" in fed.ok(*INGEST)
    kept = fed.root / ".work" / "data" / f"{yaml.safe_load(before)['outs'][0]['md5']}.dvc"
    fed.write("data.dvc", kept.read_text())
    fed.ok(*DVC, "checkout", "--force", "data.dvc")
    assert content(fed.root / "data") == old
    assert news(fed)["new"] == 2  # the source is asked again from there


def test_what_was_changed_by_hand_is_kept_and_does_not_hide_what_is_new(fed, tmp_path):
    fed.write("data/images/a.jpg", "by hand")
    write(tmp_path / "feed", dict.fromkeys("abcde", "1"))
    assert news(fed, "take")["new"] == 1
    pointers = [yaml.safe_load(file.read_text()) for file in (fed.root / ".work/data").glob("*.dvc")]
    fed.ok("rm", "-r", "data")
    for said in pointers:
        fed.write("data.dvc", yaml.safe_dump(said))
        fed.ok(*DVC, "checkout", "--force", "data.dvc")
        if content(fed.root / "data")["images/a.jpg"] == "by hand":
            assert news(fed)["new"] == 1  # its pointer still says what was fetched, not what is there now
            return
    pytest.fail("what was changed by hand is nowhere")


@pytest.mark.ci
def test_a_bad_feed_changes_nothing_and_says_why(fed, tmp_path):
    before, old = fed.read("data.dvc"), content(fed.root / "data")

    def refused(says: str) -> None:
        seen = news(fed, "take")
        assert says in seen["refused"]
        assert (seen["fresh"], fed.read("data.dvc"), content(fed.root / "data")) == (False, before, old)

    write(tmp_path / "feed", {"a": "1"})
    refused("3 of 4 products are gone from the feed")
    answer = fed.run(*INGEST)
    assert (answer.returncode, "--accept" in answer.stdout) == (1, True)
    (tmp_path / "feed" / "catalogue.csv").unlink()
    refused("`check` did not pass")
    shutil.rmtree(tmp_path / "feed")
    refused("is not there")
    write(tmp_path / "feed", {"a": "1"})
    assert "3 withdrawn" in fed.ok(*INGEST, "--accept")
    assert content(fed.root / "data") == content(tmp_path / "feed")


def test_drift_is_said(fed, tmp_path):
    write(tmp_path / "feed", {**dict.fromkeys("abcd", "1"), "drifted": "1"})
    assert news(fed)["drift"]["exceeded"] == ["words"]
    assert "drifted: words" in fed.ok(*INGEST, "--dry-run")


@pytest.mark.parametrize(
    ("way", "steps"),
    [pytest.param("exchange", range(1, 30), marks=pytest.mark.ci), ("plain", range(6, 9))],
)
def test_killed_before_any_step_data_is_old_or_new_and_the_next_call_completes(project, way, steps):
    project.write("data/file", "0")
    project.ok(*DVC, "add", "-q", "data")
    script = project.write("killed.py", KILLED)
    finish = "from flows import data, swap, env; data.ensure(); print(swap.matches(env.ROOT))"
    for step in steps:
        old = project.read("data/file")
        answer = project.run(sys.executable, str(script), str(step), str(step), way, PYTHONPATH=str(project.root))
        if answer.returncode == 0:
            break
        assert answer.returncode == -signal.SIGKILL, answer.stderr
        if way == "exchange":  # without it data/ is away for a moment, and comes back with the next call
            assert project.read("data/file") in (old, str(step))
        assert project.ok(sys.executable, "-c", finish).splitlines()[-1] == "True"
        assert project.read("data/file") in (old, str(step))
        assert not list((project.root / ".work/data").glob("swap.json"))
    if way == "exchange":
        assert step > 8, "the steps of a change of places were counted"
        assert project.read("data/file") == str(step)


def test_a_kill_while_fetching_or_checking_leaves_everything_as_it_was(fed, tmp_path, until):
    before, old = fed.read("data.dvc"), content(fed.root / "data")
    fed.write("src/fashionvl/stages/check.py", "import time\ntime.sleep(60)\n")
    write(tmp_path / "feed", dict.fromkeys("abcde", "1"))
    running = fed.start(*INGEST)
    until("it checks", lambda: (fed.root / ".work/data/incoming/fetched").exists(), 180)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert (fed.read("data.dvc"), content(fed.root / "data")) == (before, old)
    fed.write("src/fashionvl/stages/check.py", "")
    assert news(fed, "take")["new"] == 1


def test_without_a_feed_what_was_not_trained_on_is_fresh(fed, tmp_path):
    write(tmp_path / "own", {"a": "mine"})
    fed.ok(sys.executable, "-m", "flows.data", str(tmp_path / "own"))
    assert (news(fed)["feed"], news(fed)["fresh"]) == (False, True)
    trained(fed)
    assert news(fed)["fresh"] is False
    fed.write("data/images/a.jpg", "by hand")
    assert news(fed, "take")["fresh"] is True
    assert "follows no feed" in fed.ok(*INGEST)


def test_a_bucket_is_followed(fed, tmp_path):
    pytest.importorskip("dvc_s3", reason="no dvc-s3 (pip install -e '.[s3]')")
    pytest.importorskip("moto", reason="no moto, which plays S3 here")
    import boto3
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    keys = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        address = f"http://127.0.0.1:{port}"
        store = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="t", aws_secret_access_key="t", region_name="us-east-1"
        )
        store.create_bucket(Bucket="shop")

        def upload(products: dict[str, str]) -> None:
            write(tmp_path / "feed", products)
            for name, said in content(tmp_path / "feed").items():
                store.put_object(Bucket="shop", Key=f"catalogue/{name}", Body=said.encode())

        fed.environment |= keys | {"AWS_ENDPOINT_URL": address}
        upload(dict.fromkeys("abc", "1"))
        fed.ok(sys.executable, "-m", "flows.data", "s3://shop/catalogue")
        trained(fed)
        assert content(fed.root / "data") == content(tmp_path / "feed")
        assert news(fed)["fresh"] is False
        upload({"a": "1", "b": "other", "c": "1", "d": "1"})
        seen = news(fed, "take")
        assert (seen["new"], seen["changed"], seen["withdrawn"]) == (1, 1, 0)
        assert content(fed.root / "data") == content(tmp_path / "feed")
        assert named(fed)["deps"][0]["path"] == "s3://shop/catalogue"
        assert is_clean(fed)
        trained(fed)
        assert news(fed)["fresh"] is False
    finally:
        server.stop()
    assert "cannot be read" in news(fed, "take")["refused"]


def test_the_real_stages_count_and_measure(fed, tmp_path):
    shutil.rmtree(fed.root / "src")
    shutil.copytree(ROOT / "src", fed.root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    fed.write("params.yaml", (ROOT / "params.yaml").read_text())
    colours = ("red", "green", "blue", "black", "white", "orange")

    def upload(words: str, products: range) -> None:
        folder = tmp_path / "feed"
        shutil.rmtree(folder)
        (folder / "images").mkdir(parents=True)
        rows = ["product_id,image_path,title,category"]
        for number in products:
            Image.new("RGB", (40, 60), colours[number % 6]).save(folder / "images" / f"{number}.png")
            rows.append(f"p{number},images/{number}.png,{words} {colours[number % 6]},things")
        (folder / "catalogue.csv").write_text("\n".join(rows) + "\n")

    upload("a thing", range(40))
    fed.ok(*INGEST, "--accept")
    upload("a thing", range(4, 60))
    seen = news(fed)
    assert (seen["new"], seen["changed"], seen["withdrawn"], seen["drift"]["exceeded"]) == (20, 0, 4, [])
    upload("quite another object altogether", range(4, 60))
    seen = news(fed, "take")
    assert (seen["new"], seen["changed"], seen["withdrawn"]) == (20, 36, 4)
    assert {"words", "unknown"} <= set(seen["drift"]["exceeded"])
