"""The same exactly-once with MLflow's own server, which may die in the middle, on Postgres and S3 as well."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DVC = [sys.executable, "-m", "dvc"]
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(address: str) -> bool:
    """True when MLflow's server is up."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2):
            return True
    except OSError:
        return False


class Server:
    """`mlflow server` on this machine, in a process group of its own."""

    def __init__(self, folder: Path, until: Callable, store: str, artifacts: str, **environment: str):
        self.folder, self.until = folder, until
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        places = ["--backend-store-uri", store, "--artifacts-destination", artifacts]
        self.command = [sys.executable, "-m", "mlflow", "server", *words, *places]
        off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.environment = {**os.environ, **off, **environment}
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, process_group=0
            )
        self.until("MLflow's server is up", lambda: answers(self.address), 180)

    def kill(self) -> None:
        """All of it, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path, until) -> Iterator[Server]:
    """A server on sqlite, up."""
    made = Server(tmp_path, until, f"sqlite:///{tmp_path / 'server.db'}", str(tmp_path / "artifacts"))
    made.start()
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.parametrize("door", [pytest.param(["repro"], marks=pytest.mark.ci), ["exp", "run"]], ids="-".join)
def test_a_server_that_dies_in_the_middle_knows_every_step_once(project, told, until, server, door):
    project.write("params.yaml", project.read("params.yaml").replace("20, pause: 0.02", "400, pause: 0.05"))
    where = {"MLFLOW_TRACKING_URI": server.address}
    dvc = project.start(*DVC, *door, **where)
    log = server.folder / "server.log"
    until("the training is told of", lambda: "log-batch" in log.read_text() and project.history(), 120)
    server.kill()
    dead = len(project.history()[0].read_text().splitlines())
    until("it goes on", lambda: len(project.history()[0].read_text().splitlines()) > dead + 100, 60)
    server.start()
    assert dvc.wait(240) == 0, dvc.stdout.read()
    stages, (pipeline,) = told(**where)
    assert len(stages) == 3
    (run,) = [run for run in stages if run["name"] == "pretrain@kaleido"]
    assert sorted(run["steps"]["loss"]) == sorted(run["steps"]["mlm"]) == list(range(1, 401))
    assert run["status"] == "FINISHED"
    assert run["files"] == ["card.json", "checkpoints/model.safetensors", "curves.csv", "plots/curves.png"]
    assert pipeline["status"] == "FINISHED"
    assert pipeline["files"] == ["dvc.lock", "params.yaml"]


@pytest.fixture
def postgres() -> Iterator[str]:
    """A Postgres of its own -> its address for SQLAlchemy."""
    pytest.importorskip("psycopg2", reason="pip install -e '.[server]' brings psycopg2")
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("no Postgres here: initdb and pg_ctl are not on PATH")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are closed to others
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    if who:
        shutil.chown(folder, "nobody", "nogroup")
    data, port = str(folder / "data"), free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    pg_ctl = ["pg_ctl", "-D", data, "-w", "-l", str(folder / "log")]
    try:
        initdb = ["initdb", "-D", data, "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **who)
        subprocess.run([*pg_ctl, "-o", options, "start"], check=True, cwd=folder, stdout=subprocess.DEVNULL, **who)
        yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
    finally:
        stop = [*pg_ctl, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, cwd=folder, stdout=subprocess.DEVNULL, **who)
        shutil.rmtree(folder)


@pytest.fixture
def bucket(monkeypatch) -> Iterator[tuple[str, str]]:
    """A bucket of an S3 server on this machine -> the server's address, the bucket's name."""
    moto = pytest.importorskip("moto.server", reason="pip install -e '.[dev,server]' brings moto")
    import boto3

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="fashion")
    yield address, "fashion"
    server.stop()


@pytest.mark.slow
@pytest.mark.ci
def test_postgres_and_s3_need_nothing_but_the_environment(project, told, until, tmp_path, postgres, bucket):
    import boto3
    import psycopg2

    address, name = bucket
    server = Server(tmp_path, until, postgres, f"s3://{name}/runs", MLFLOW_S3_ENDPOINT_URL=address, **KEYS)
    try:
        server.start()
        where = {"MLFLOW_TRACKING_URI": server.address}
        project.ok(*DVC, "repro", **where)
        children, (pipeline,) = told(**where)
    finally:
        server.kill()
    assert pipeline["status"] == "FINISHED"
    (run,) = [run for run in children if run["name"] == "pretrain@kaleido"]
    assert run["tags"]["mlflow.parentRunId"] == pipeline["id"]
    with psycopg2.connect(postgres) as database, database.cursor() as ask:
        ask.execute("select step from metrics where key = 'loss' and run_uuid = %s order by step", [run["id"]])
        assert [step for (step,) in ask.fetchall()] == list(range(1, 21))
    files = boto3.client("s3", endpoint_url=address).list_objects_v2(Bucket=name)["Contents"]
    kept = {file["Key"].rpartition("/artifacts/")[2] for file in files if run["id"] in file["Key"]}
    assert kept == {"card.json", "checkpoints/model.safetensors", "curves.csv", "plots/curves.png"}


@pytest.mark.slow
def test_without_a_server_the_database_is_told_directly(project, told, postgres):
    where = {"MLFLOW_TRACKING_URI": postgres}
    project.ok(sys.executable, "-m", "flows.stage", "catalogue", **where)
    (run,) = told(**where).stages
    assert run["metrics"]["products"] == 3.0
    assert run["files"] == ["card.json"]  # beside the checkout, in mlruns/
    assert (project.root / "mlruns").is_dir()
