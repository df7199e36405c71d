"""`make ui`: Prefect and MLflow in the browser, and what prefect.yaml says runs by itself, until Ctrl-C.

On this machine only: Prefect's server, the deployments and automations, a worker that runs them in this checkout, and
MLflow's server, each with its words in `.work/ui/`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from flows import env, guard, ledger, server, tracking

POOL = "fashionvl"
LAST_SECONDS = 20.0
OFTEN, OFTEN_SECONDS = 5, 600.0


class UiError(Exception):
    """Something did not come up; the message says what and where its words are."""


class Running:
    """What was started, and is started again when it ends by itself, but not for ever."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.started: dict[str, tuple[list[str], Mapping[str, str]]] = {}
        self.processes: dict[str, subprocess.Popen] = {}
        self.ends: list[float] = []

    def start(self, name: str, command: list[str], settings: Mapping[str, str] | None = None) -> None:
        """Start it, its words in a file of its name."""
        self.started[name] = command, settings or {}
        self.processes[name] = server.start(command, self.logs / f"{name}.log", settings)

    def watch(self) -> None:
        """Start again what has ended; raises UiError when that happens too often."""
        for name, process in self.processes.items():
            if process.poll() is None:
                continue
            self.ends = [end for end in self.ends if time.monotonic() - end < OFTEN_SECONDS] + [time.monotonic()]
            log = self.logs / f"{name}.log"
            if len(self.ends) > OFTEN:
                raise UiError(f"{name} ended, as something did {OFTEN} times before in a short while; see {log}")
            log.replace(self.logs / f"{name}-before.log")
            print(f"ui  {name} ended (its words: {name}-before.log) and is started again", file=sys.stderr, flush=True)
            self.start(name, *self.started[name])

    def end(self) -> None:
        """End all: the worker first, which ends its runs, while there is still a server to tell."""
        for name in ("worker", "mlflow", "prefect"):
            if name not in self.processes:
                continue
            process = self.processes[name]
            process.terminate()
            try:
                process.wait(LAST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def commands(prefect: int, mlflow: int) -> dict[str, list[str]]:
    """What runs first; MLflow's server only where no other one is set."""
    found = {"prefect": server.prefect(prefect)}
    if env.told_store() is None:
        store = ["--backend-store-uri", env.store(), "--default-artifact-root", str(env.project() / "mlruns")]
        serve = [sys.executable, "-m", "mlflow", "server", "--host", server.HOST, "--port", str(mlflow)]
        found["mlflow"] = [*serve, "--workers", "1", *store]
    return found


def worker() -> list[str]:
    """The command that takes runs from the pool and runs each in a process group of its own."""
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", "here"]


def tell_prefect(settings: Mapping[str, str], logs: Path) -> None:
    """Tell the server what prefect.yaml and flows/automations.py say; raises UiError."""
    log = logs / "automations.log"
    with log.open("w") as words:
        command = guard.bound([sys.executable, "-m", "flows.automations"])
        told = subprocess.run(
            command, cwd=env.ROOT, env={**os.environ, **settings}, stdout=words, stderr=words, check=False
        )
    if told.returncode != 0:
        raise UiError(f"Prefect did not take prefect.yaml; see {log}")


def up(running: Running, logs: Path) -> None:
    """Start everything, each as soon as what it needs is there; `running` holds what was started, however this ends."""
    prefect, mlflow = server.free_port(4200), server.free_port(5000)
    try:
        tracking.connect()  # makes the database here, once
    except tracking.away() as trouble:
        raise UiError(f"MLflow at {env.shown_store()} cannot be used ({env.first_line(trouble)})") from None
    page, address = f"http://{server.HOST}:{prefect}", f"http://{server.HOST}:{prefect}/api"
    settings = {"PREFECT_API_URL": address}
    for name, command in commands(prefect, mlflow).items():
        running.start(name, command)
    shown = env.public(env.told_store() or f"http://{server.HOST}:{mlflow}")
    print(f"ui  Prefect  {page}\nui  MLflow   {shown}\nui  coming up, logs are in {logs}", flush=True)
    server.until_it_answers(address, running.processes["prefect"], logs / "prefect.log")
    ledger.write(server.note(), {"prefect": address, "mlflow": shown})
    tell_prefect(settings, logs)
    running.start("worker", worker(), {**settings, "FASHIONVL_ROOT": str(env.ROOT)})
    print("ui  the deployments of prefect.yaml run by the clock from now on; Ctrl-C ends everything", flush=True)


def main() -> int:
    """Run everything until one ends or Ctrl-C -> exit code."""
    env.apply()
    logs = env.work() / "ui"
    logs.mkdir(parents=True, exist_ok=True)
    running = Running(logs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        with guard.turn(env.work() / "ui.lock", "ui"):
            up(running, logs)
            while True:
                time.sleep(0.5)
                running.watch()
    except (server.ServerError, UiError) as error:
        print(f"ui  {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        server.note().unlink(missing_ok=True)
        running.end()


if __name__ == "__main__":
    sys.exit(main())
