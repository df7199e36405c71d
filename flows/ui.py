"""`make ui`: Prefect's server and MLflow's, on this machine only, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import time

from flows import env, ledger, server, tracking


def commands(prefect: int, mlflow: int) -> dict[str, list[str]]:
    """What runs; MLflow's server only where no other one is set."""
    found = {"prefect": server.prefect(prefect)}
    if "MLFLOW_TRACKING_URI" not in os.environ:
        store = ["--backend-store-uri", tracking.store(), "--default-artifact-root", str(env.project() / "mlruns")]
        serve = [sys.executable, "-m", "mlflow", "server", "--host", server.HOST, "--port", str(mlflow)]
        found["mlflow"] = [*serve, "--workers", "1", *store]
    return found


def main() -> int:
    """Run both until one ends or Ctrl-C -> exit code."""
    env.apply()
    prefect, mlflow = server.free_port(4200), server.free_port(5000)
    tracking.connect()  # makes the database here, once
    logs = env.work() / "ui"
    running: list[subprocess.Popen] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        running = [server.start(command, logs / f"{name}.log") for name, command in commands(prefect, mlflow).items()]
        ledger.write(server.note(), {"prefect": f"http://{server.HOST}:{prefect}/api"})
        print(f"ui  Prefect  http://{server.HOST}:{prefect}")
        print(f"ui  MLflow   {os.environ.get('MLFLOW_TRACKING_URI', f'http://{server.HOST}:{mlflow}')}")
        print(f"ui  both are up in some seconds, logs are in {logs}; Ctrl-C ends them", flush=True)
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        print(f"ui  one of them ended; see {logs}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        server.note().unlink(missing_ok=True)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
