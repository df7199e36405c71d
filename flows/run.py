"""`make run`: whatever is missing or stale is made, by the Prefect flow over DVC's graph; then, what is there now."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import yaml

from flows import data, env, graph, guard, ledger, notes, overrides, server
from flows.graph import stale

SHOWN = re.compile(r"^val\.|R@1$|\.accuracy$|\.cider$")  # of all that is measured, what the table shows


class RunError(Exception):
    """The run cannot start or did not end well; the message says why and what to do."""


def flow(changed: bool, root: Path = env.ROOT) -> None:
    """Run the Prefect flow; raises RunError when a stage fails or Prefect cannot start.

    changed  DVC has found something to do, so that the flow need not ask it again
    """
    known = {"FLOW_DVC_WAS_ASKED": "yes"} if changed else {}
    print("run  starting Prefect", flush=True)
    try:
        with server.running() as (address, wait):
            command = [sys.executable, "-m", "flows.retrain"]  # Prefect's import takes as long as its server's start
            code = guard.run_group(command, {**os.environ, **known, "PREFECT_API_URL": address}, root, meanwhile=wait)
    except server.ServerError as error:
        raise RunError(f"Prefect cannot be used ({error}); `dvc repro` makes the same without it") from None
    if code != 0:
        raise RunError("run  stopped; what was finished is kept, `make run` goes on from there")


def summary(root: Path = env.ROOT) -> str:
    """What was made, where it is, and how good it is."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    tasks = [f"{system}-{task}" for system in params["run"] for task in params["run_tasks"]]
    systems = [*params["run"], *tasks, *params["run_contrast"], *params["run_clip"]]
    lines = [table(root, systems), ""]
    places = {
        "report": "build/report/index.html  (everything below, on one page)",
        "data report": "build/catalogue/report.html",
        "models": "build/runs/<system>/, build/finetuned/<system>-<task>/  (weights, history, card)",
        "measured": "build/metrics/  (also `dvc metrics show`, `dvc plots show`)",
        "in the browser": "make ui  (MLflow: every run and curve; Prefect: every stage, its time and log)",
    }
    return "\n".join(lines + [f"  {what:<16}{where}" for what, where in places.items()])


def table(root: Path, systems: list[str]) -> str:
    """One column a system, one line a metric."""
    found = {system: _numbers(root / "build" / "metrics" / f"{system}.json") for system in systems}
    names = list(dict.fromkeys(name for metrics in found.values() for name in metrics if SHOWN.search(name)))
    wide = {system: max(10, len(system) + 2) for system in systems}
    head = f"  {'':<24}" + "".join(f"{system:>{wide[system]}}" for system in systems)
    rows = [
        f"  {name:<24}"
        + "".join(f"{found[s][name]:>{wide[s]}.4f}" if name in found[s] else f"{'-':>{wide[s]}}" for s in systems)
        for name in names
    ]
    return "\n".join([head, *rows])


def _numbers(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    return {name: value for name, value in json.loads(file.read_text()).items() if isinstance(value, (int, float))}


def main() -> int:
    """-> 0, or 1 with one sentence."""
    began = time.monotonic()
    env.apply()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        data.ensure()
        _mend()
        changed = stale()
        todo = f"{', '.join(changed)}, and what needs them" if changed else _rest()
        if todo:
            print(f"run  to do: {todo}", flush=True)
            flow(bool(changed))
            print(f"\nrun  done in {time.monotonic() - began:.0f} s\n\n{summary()}", flush=True)
        else:
            print(f"run  nothing to do, everything is up to date\n\n{summary()}", flush=True)
            _catch_up()
    except (RunError, data.DataError, graph.Unclear) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run  stopped by you; what was finished is kept, `make run` goes on from there", file=sys.stderr)
        return 130
    return 0


def _rest(root: Path = env.ROOT) -> str:
    """What there is to do although no stage is stale; empty when nothing is. Asks DVC only where there is a feed."""
    if not notes.is_settled(notes.to_register(root), root):
        return "to register what was made"
    if data.facts(root).get("feed"):
        from flows import ingest

        news = ingest.probe(root)
        if news.refused:
            print(f"run  the feed: {ingest.sentence(news, brought=False)}", file=sys.stderr, flush=True)
        if news.fresh:
            return "what is new in the feed"
    return ""


def _mend() -> None:
    """Take the values of a run that was killed out of params.yaml again, unless a run is at work."""
    if not guard.is_held(env.work() / "flow.lock"):
        sentence = overrides.put_back()
        if sentence:
            print(f"run  {sentence}", flush=True)


def _catch_up() -> None:
    """Tell MLflow of the runs that it was away for, in a process of its own."""
    if ledger.waiting():
        os.execv(sys.executable, [sys.executable, "-m", "flows.tracking", "catch-up"])


if __name__ == "__main__":
    sys.exit(main())
