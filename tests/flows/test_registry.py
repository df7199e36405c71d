"""A system is registered once, whatever is killed on the way, and answers from the registry as it does from build/."""

import base64
import json
import os
import pickletools
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
import tiny
import trained
import yaml

import fashionvl
from fashionvl.stages import patches
from flows.registry import CHALLENGER
from flows.server import free_port

KEPT = ("model.safetensors", "card.json")  # of a run
REGISTER = ["-m", "flows.registry", "kaleido"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> trained.Checkout:
    """A checkout with a tiny system; nothing of it is registered."""
    return trained.make(tmp_path_factory.mktemp("template") / "checkout")


@pytest.fixture(scope="module")
def registered(template, tmp_path_factory) -> trained.Checkout:
    """The same, its system registered."""
    made = trained.copy(template, tmp_path_factory.mktemp("registered") / "checkout")
    assert made.ok(*REGISTER) == "registry  fashionvl-kaleido 1 is new\n"
    return made


@pytest.fixture
def checkout(template, tmp_path) -> trained.Checkout:
    return trained.copy(template, tmp_path / "checkout")


def files_of(checkout: trained.Checkout) -> list[Path]:
    (logged,) = checkout.known()["logged"].values()
    return [path for path in Path(logged[1].removeprefix("file://")).rglob("*") if path.is_file()]


@pytest.mark.ci
def test_a_version_says_what_it_is_and_where_it_comes_from(registered):
    known = registered.known()
    assert known["versions"] == [1]
    assert known["aliases"] == {CHALLENGER: 1}
    tags = known["tags"]["1"]
    assert tags["system"] == "kaleido"
    assert len(tags["dvc.md5"]) == 32
    assert len(tags["git.commit"]) == 40
    assert tags["data.md5"].endswith(".dir")
    assert json.loads(tags["metrics"]) == {"kaleido-retrieval.sampled.tir.R@1": 0.25}
    assert known["said"]["1"].startswith("# kaleido")
    assert [state for state, _ in known["logged"].values()] == ["READY"]


def test_the_same_is_registered_once_and_another_once_more(registered, tmp_path):
    checkout = trained.copy(registered, tmp_path / "checkout")
    assert checkout.ok(*REGISTER) == "registry  fashionvl-kaleido 1 was there already\n"
    checkout.learn(3)
    assert checkout.ok(*REGISTER) == "registry  fashionvl-kaleido 2 is new\n"
    known = checkout.known()
    assert known["aliases"] == {CHALLENGER: 2}
    assert len(known["logged"]) == 2
    checkout.learn(2)  # the weights of before
    assert checkout.ok(*REGISTER) == "registry  fashionvl-kaleido 1 was there already\n"


@pytest.mark.ci
def test_nothing_in_a_logged_model_is_pickled(registered):
    files = files_of(registered)
    assert {path.name for path in files} >= {"MLmodel", "pyfunc_model.py", "model.safetensors", "retrieval.safetensors"}
    for path in files:
        assert path.suffix not in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"), path
        with pytest.raises(ValueError):
            list(pickletools.genops(path.read_bytes()))
    needed = next(path for path in files if path.name == "requirements.txt").read_text().split()
    assert "torch==2.13.0" in needed
    assert "mlflow==3.17.2" in needed
    assert not [line for line in needed if "==" not in line]


ASK = """\
import json, mlflow, sys
import pandas as pd
import fashionvl as installed
sys.modules.pop("fashionvl")
model = mlflow.pyfunc.load_model("models:/fashionvl-kaleido/1")
asked = json.load(open("asked.json"))
import fashionvl
said = model.predict(pd.DataFrame(asked), params={"head": "category"})
odd = []
for wrong in ({"task": "sing"}, {"task": "match", "text": "boots"}, {"task": "embed", "picture": "no/where.jpg"},
              {"task": "classify", "text": "boots"}):
    try:
        model.predict(pd.DataFrame([{"picture": None, "text": None, **wrong}]))
    except mlflow.exceptions.MlflowException as error:
        odd.append([error.error_code, str(error)])
print(json.dumps([fashionvl.__file__, said, odd]))
"""


@pytest.mark.ci
def test_a_version_answers_as_the_library_does_with_the_code_it_brings(registered, tmp_path):
    root = registered.root
    pictures = [str(path) for path in sorted((root / "data/images").rglob("*.jpg"))[:4]]
    in_bytes = base64.b64encode(Path(pictures[1]).read_bytes()).decode()
    texts = ["red boots", "a blue coat"]
    rows = [
        ("match", pictures[0], texts[0]),
        ("embed", None, texts[1]),
        ("classify", in_bytes, None),
        ("match", in_bytes, texts[1]),
        ("embed", pictures[2], None),
        ("classify", pictures[3], texts[0]),
        ("embed", pictures[2], texts[0]),
    ]
    table = pd.DataFrame(rows, columns=["task", "picture", "text"])
    (tmp_path / "asked.json").write_text(table.astype(object).where(table.notna(), None).to_json(orient="records"))
    elsewhere = trained.Checkout(tmp_path)
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    code, said, odd = json.loads(elsewhere.ok("-c", ASK, **store).splitlines()[-1])
    assert Path(code).is_relative_to(root / "mlruns")
    model = fashionvl.load(root / trained.RUN)
    expected = [
        model.match(pictures[0], texts[0]),
        model.embed(text=texts[1]).tolist(),
        model.classify(pictures[1], task="category"),
        model.match(pictures[1], texts[1]),
        model.embed(pictures[2]).tolist(),
        model.classify(pictures[3], texts[0], task="category"),
        model.embed(pictures[2], texts[0]).tolist(),
    ]
    for mine, theirs in zip(said, expected, strict=True):
        if isinstance(mine, list) and isinstance(mine[0], list):
            assert dict(mine) == pytest.approx(dict(theirs), abs=1e-5)
        else:
            assert mine == pytest.approx(theirs, abs=1e-5)
    assert [code for code, _ in odd] == ["INVALID_PARAMETER_VALUE"] * 4
    for (_, sentence), part in zip(
        odd, ("no task 'sing'", "match needs a picture", "neither a picture's path", "sub_category"), strict=True
    ):
        assert part in sentence


@pytest.mark.ci
def test_mlflow_serves_a_version_offline_with_the_librarys_answers(registered, tmp_path):
    root = registered.root
    picture = str(next((root / "data/images").rglob("*.jpg")))
    asked = [("match", picture, "red boots"), ("embed", None, "a blue coat"), ("classify", picture, None)]
    rows = [dict(zip(("task", "picture", "text"), row, strict=True)) for row in asked]
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = ["-m", "mlflow", "models", "serve", "-m", "models:/fashionvl-kaleido/1", "--env-manager", "local"]
    port = free_port(5600)
    server = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        cwd=tmp_path,
        env={**trained.Checkout(tmp_path).environment, **store},
        start_new_session=True,
    )
    try:
        answer = invoked(port, {"dataframe_records": rows, "params": {"head": "category"}}, server)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    model = fashionvl.load(root / trained.RUN)
    match, embed, classify = answer["predictions"]
    assert match == pytest.approx(model.match(picture, "red boots"), abs=1e-5)
    assert embed == pytest.approx(model.embed(text="a blue coat").tolist(), abs=1e-5)
    assert dict(classify) == pytest.approx(dict(model.classify(picture, task="category")), abs=1e-5)


OSCAR = """\
import json, mlflow
import pandas as pd
model = mlflow.pyfunc.load_model("models:/fashionvl-oscar/1")
print(json.dumps(model.predict(pd.DataFrame(json.load(open("asked.json"))))))
"""


@pytest.mark.ci
def test_a_system_over_regions_becomes_a_version_that_finds_them_itself(template, tmp_path):
    made = trained.copy(template, tmp_path / "checkout")
    root = made.root
    places = {"params": root / "params.yaml", "data": root / "data", "build": root / "build"}
    raw = yaml.safe_load(places["params"].read_text())
    raw["patches"]["segments"]["pixels"] = tiny.PIXELS
    raw["patches"]["segments"]["regions"] |= {"most": 6, "classes": 4}
    raw["systems"]["oscar"] |= {"patches": "segments", "tags": 5}
    places["params"].write_text(yaml.safe_dump(raw))
    products = root / "build/catalogue/products.parquet"
    pd.read_parquet(products).assign(split="train").to_parquet(products)  # which visual words are learned from
    patches.main("segments", work=root / ".work", **places)
    tiny.pretrained(root, "oscar", "segments", ["mlm", "itm"])
    stages = yaml.safe_load((root / "dvc.yaml").read_text())
    outs = {"segments": ["build/patches/segments"], "oscar": [f"build/runs/oscar/{name}" for name in KEPT]}
    stages["stages"] |= {name: {"cmd": f"echo {name}", "outs": out} for name, out in outs.items()}
    (root / "dvc.yaml").write_text(yaml.safe_dump(stages))
    made.ok("-m", "dvc", "commit", "--force", "--quiet")
    assert made.ok("-m", "flows.registry", "oscar") == "registry  fashionvl-oscar 1 is new\n"
    pictures = [str(path) for path in sorted((root / "data/images").rglob("*.jpg"))[:2]]
    rows = [{"task": "match", "picture": picture, "text": "red boots"} for picture in pictures]
    (root / "asked.json").write_text(json.dumps(rows))
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
    said = json.loads(made.ok("-c", OSCAR, **store).splitlines()[-1])
    assert said == pytest.approx(fashionvl.load(root / "build/runs/oscar").match(pictures, "red boots"), abs=1e-5)
    manifest = root / "build/patches/segments/manifest.json"
    other = json.loads(manifest.read_text())
    other["words"]["sha256"] = "of other words"
    manifest.write_text(json.dumps(other))
    made.ok("-m", "dvc", "commit", "--force", "--quiet")
    assert "words.npy is not there or damaged" in made.run("-m", "flows.registry", "oscar").stderr


def invoked(port: int, question: dict, server: subprocess.Popen) -> dict:
    """What a model server that is about to start answers; it gets two minutes for that."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(240):
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


def test_what_is_not_up_to_date_is_not_registered(checkout):
    def refused() -> str:
        answer = checkout.run(*REGISTER)
        assert answer.returncode == 2
        assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
        return answer.stderr

    assert "holds no trained system" in checkout.run("-m", "flows.registry", "baseline").stderr
    weights = checkout.root / trained.RUN / "model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(before + b" ")
    assert "pretrain is not up to date: run `dvc repro`" in refused()
    weights.write_bytes(before)
    shutil.copytree(
        checkout.root / "build/finetuned/kaleido-category", checkout.root / "build/finetuned/kaleido-captioning"
    )
    assert "build/finetuned/kaleido-captioning/model.safetensors is not in dvc.lock" in refused()
    (checkout.root / "dvc.lock").unlink()
    assert "nothing was made by DVC yet" in refused()


KILL_BEFORE = """\
import os, signal, sys
from flows import env
env.apply()
from mlflow import MlflowClient
setattr(MlflowClient, sys.argv[1], lambda *words, **named: os.kill(os.getpid(), signal.SIGKILL))
from flows import registry
registry.register("kaleido")
"""


@pytest.mark.ci
def test_a_registration_killed_between_its_steps_goes_on(checkout):
    assert checkout.run("-c", KILL_BEFORE, "create_model_version").returncode == -signal.SIGKILL
    logged = checkout.known()
    assert logged["versions"] == []
    assert len(logged["logged"]) == 1
    assert checkout.run("-c", KILL_BEFORE, "set_registered_model_alias").returncode == -signal.SIGKILL
    created = checkout.known()
    assert created["versions"] == [1]
    assert created["aliases"] == {}
    assert checkout.ok(*REGISTER) == "registry  fashionvl-kaleido 1 was there already\n"
    named = checkout.known()
    assert named["versions"] == [1]
    assert named["aliases"] == {CHALLENGER: 1}
    assert named["logged"] == logged["logged"]  # the files that were there


def states(checkout: trained.Checkout) -> list[str]:
    """The states of the MLflow models in the database, by number: 1 pending, 2 ready."""
    file = checkout.root / "mlflow.db"
    if not file.exists():
        return []
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            return [str(row[0]) for row in database.execute("select status from logged_models")]
    except sqlite3.OperationalError:
        return []  # its tables are being made


@pytest.mark.ci
def test_a_registration_killed_while_its_files_are_written_goes_on(checkout, until):
    process = checkout.start(*REGISTER)
    until("the model is announced", lambda: states(checkout), 120)
    process.kill()
    process.wait()
    until("the packing ends too", lambda: not packing(checkout.root), 10)
    assert checkout.known()["versions"] == []  # a fast machine has written the files by now, a slow one has not
    assert checkout.ok(*REGISTER) == "registry  fashionvl-kaleido 1 is new\n"
    known = checkout.known()
    assert known["versions"] == [1]
    assert [state for state, _ in known["logged"].values()] == ["READY"]
    assert any(path.name == "MLmodel" for path in files_of(checkout))


def packing(root: Path) -> list[int]:
    """The processes that pack in a checkout."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cwd").resolve() == root and place.name != str(os.getpid()):
                found += [int(place.name)] if b"flows.packing" in (place / "cmdline").read_bytes() else []
        except OSError:
            continue  # it ended while we looked
    return found


def test_two_registrations_at_once_make_one_version(checkout):
    processes = [checkout.start(*REGISTER) for _ in range(2)]
    assert [process.wait(240) for process in processes] == [0, 0]
    known = checkout.known()
    assert known["versions"] == [1]
    assert len(known["logged"]) == 1
