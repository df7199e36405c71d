"""The environment that everything of the edge shares: nothing is sent to anyone, nothing waits for long."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DEFAULTS = {
    # Nobody is told. MLflow understands only "true" here.
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # A tracking server that is away is noticed in seconds, not minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # No model of this project needs pickle; the job runner of `mlflow server` costs 1.4 GB.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The first start of Prefect's own server makes its database, which takes long on two busy cores.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # A run whose processes were killed is missed after two heartbeats (more than 30 s apart, or Prefect takes its
    # default of 180); what is to run or to be cancelled is seen in seconds; and a server that was killed remembers
    # which slots were taken.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "31",
    "PREFECT_WORKER_QUERY_SECONDS": "3",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Prefect keeps the lines of every task; on the screen they are ours.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def apply() -> None:
    """Set what the user has not set; Prefect's history lives in the checkout's work folder."""
    for name, value in {**DEFAULTS, "PREFECT_HOME": str(work() / "prefect")}.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes no parents


def project() -> Path:
    """The checkout that owns MLflow's store and the locks: DVC's root, inside `dvc exp run --temp` the main one."""
    return Path(os.environ.get("DVC_ROOT", ROOT)).resolve()


def work() -> Path:
    """The folder of locks, of Prefect's history and of what MLflow has not yet been told."""
    return project() / ".work"


def told_store() -> str | None:
    """MLflow's address where the user set one, None where it is the file of the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def store() -> str:
    """MLflow's address: what the user set, else one sqlite file beside the project's .work."""
    return told_store() or f"sqlite:///{project() / 'mlflow.db'}"


def store_mark() -> str:
    """A short name of that address, for names of files."""
    return hashlib.md5(store().encode(), usedforsecurity=False).hexdigest()[:8]


def public(text: str) -> str:
    """A text whose addresses tell no name and no password: http://user:secret@host is http://host."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def shown_store() -> str:
    """MLflow's address as it may be shown."""
    return public(store())


def first_line(trouble: Exception) -> str:
    """What an exception says, in a line that may be shown to anyone."""
    return public((str(trouble).strip() or type(trouble).__name__).splitlines()[0])[:200]


def is_apart(stage: str) -> bool:
    """True for a stage of a DVC file in a folder, as DVC calls it from the root: it is run by a command of its own."""
    return ":" in stage


def dvc(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one DVC command to its end; what it says is in the answer, stdout and stderr apart."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
