"""`make ui`: Prefect's server and MLflow's, on this machine only, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from flows import env, ledger, tracking

HOST = "127.0.0.1"


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that nobody listens on."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no free port between {wanted} and {wanted + 99}")


def commands(prefect: int, mlflow: int) -> dict[str, list[str]]:
    """What runs; MLflow's server only where no other one is set."""
    python = sys.executable
    found = {"prefect": [python, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(prefect)]}
    if "MLFLOW_TRACKING_URI" not in os.environ:
        store = ["--backend-store-uri", tracking.store(), "--default-artifact-root", str(env.project() / "mlruns")]
        found["mlflow"] = [
            python,
            "-m",
            "mlflow",
            "server",
            "--host",
            HOST,
            "--port",
            str(mlflow),
            "--workers",
            "1",
            *store,
        ]
    return found


def main() -> int:
    """Run both until one ends or Ctrl-C -> exit code."""
    env.apply()
    prefect, mlflow = free_port(4200), free_port(5000)
    tracking.connect()  # makes the database here, once
    note = env.work() / "ui.json"
    logs = env.work() / "ui"
    logs.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        running = [_start(command, logs / f"{name}.log") for name, command in commands(prefect, mlflow).items()]
        ledger.write(note, {"prefect": f"http://{HOST}:{prefect}/api"})
        print(f"ui  Prefect  http://{HOST}:{prefect}")
        print(f"ui  MLflow   {os.environ.get('MLFLOW_TRACKING_URI', f'http://{HOST}:{mlflow}')}")
        print(f"ui  both are up in some seconds, logs are in {logs}; Ctrl-C ends them", flush=True)
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        print(f"ui  one of them ended; see {logs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        note.unlink(missing_ok=True)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _start(command: list[str], log: Path) -> subprocess.Popen:
    with log.open("w") as words:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.guard", *command], cwd=env.ROOT, stdout=words, stderr=words
        )


if __name__ == "__main__":
    sys.exit(main())
