"""The real server, worker and automations of `make ui`: what runs by the clock runs, what is cancelled ends, and what
was killed goes on without a person.

Unit tests would all pass with a Prefect whose server cannot schedule (SQLAlchemy 2.1) or take a deployment (fastapi
0.151).
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import Project, checkout, furnish

EVERY_MINUTE = '"0 2 * * *", timezone: UTC, active: false', '"* * * * *", timezone: UTC, active: true'
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
STEPS = "systems.kaleido.steps"


class Ui:
    """`make ui` in a checkout of its own, and what its Prefect says."""

    def __init__(self, shop: Project):
        self.shop = shop
        self.log = shop.root.parent / "ui.log"
        with self.log.open("w") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.ui"],
                cwd=shop.root,
                env=shop.environment,
                stdout=words,
                stderr=words,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        address = json.loads(self.shop.read(".work/ui.json"))["prefect"]
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"}, method=method)
        for _ in range(20):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    said = answer.read()
                return json.loads(said) if said else None
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its database is busy; Prefect's own client asks again too
                    raise
                time.sleep(1)
        pytest.fail(f"{path} was answered with 503 for 20 s")

    def deployment(self, name: str = "retrain-nightly", flow: str = "retrain") -> dict:
        return self.ask(f"/deployments/name/{flow}/{name}")

    def begin(self, **parameters) -> str:
        """Run the nightly deployment now -> the id of the run."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ask(f"/deployments/{self.deployment()['id']}/create_flow_run", body)["id"]

    def run(self, run: str) -> dict:
        return self.ask(f"/flow_runs/{run}")

    def runs(self) -> list[dict]:
        """All runs that were due, the newest first."""
        found = self.ask("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"})
        return [run for run in found if run["state_name"] != "Scheduled"]

    def quiet(self) -> None:
        """Take every schedule away, and what it had planned."""
        for flow, name in (("retrain", "retrain-nightly"), ("retrain", "watch-feed"), ("evaluate", "evaluate-weekly")):
            deployment = self.deployment(name, flow)
            for schedule in deployment["schedules"]:
                path = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
                self.ask(path, {"active": False}, "PATCH")
        for run in self.ask("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}):
            self.ask(f"/flow_runs/{run['id']}", method="DELETE")

    def commands(self, *words: str) -> dict[int, str]:
        """The processes in the checkout whose command has one of these words."""
        return {k: said for k, said in self.shop.processes().items() if any(word in said for word in words)}

    def trains(self, steps: int, so_far: int = 0) -> bool:
        """True when the training of so many steps has come further than `so_far`."""
        history = self.shop.root / f".work/pretrain-kaleido/{steps:04d}/history.jsonl"
        return history.exists() and len(history.read_text().splitlines()) > so_far


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Iterator[Ui]:
    """`make ui`, whose nightly run comes every minute until a test makes it quiet."""
    shop = furnish(checkout(tmp_path_factory.mktemp("ui") / "checkout"))
    still = shop.read("prefect.yaml").replace("active: true", "active: false")  # whatever hour it is
    shop.write("prefect.yaml", still.replace(*EVERY_MINUTE))
    shop.commit()
    ui = Ui(shop)
    yield ui
    if ui.process.poll() is None:
        ui.process.kill()
        ui.process.wait()


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_by_the_clock_goes_to_its_end(ui, until):
    def finished() -> list[dict]:
        assert ui.process.poll() is None, ui.log.read_text()
        return [run for run in ui.runs() if run["auto_scheduled"] and run["state_type"] in ENDED]

    until("Prefect's server is up", lambda: (ui.shop.root / ".work/ui.json").exists(), 300)
    until("a run that the clock began has ended", finished, 600)
    ui.quiet()
    run = finished()[-1]
    assert run["state_name"] == "Completed", run["state"]
    assert run["state"]["message"] == "1/4 cached; kaleido v1 promoted"
    assert run["parameters"]["reason"] == "schedule"
    assert (ui.shop.root / "build/compared").exists()

    tasks = ui.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    states = {task["name"]: task["state_name"] for task in tasks}
    assert states["data.dvc"] == "Cached"
    assert states["pretrain@kaleido"] == states["gate kaleido"] == states["promote kaleido"] == "Completed"
    made = ui.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    told = {artifact["key"]: artifact["data"] for artifact in made}
    assert {"retrain-summary", "retrain-metrics", "retrain-mlflow"} <= set(told)
    assert float(told["progress-pretrain-kaleido"]) == 100
    assert "pretrain@kaleido: [http://127.0.0.1" in told["retrain-summary"]

    deployment = ui.deployment()
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert str(ui.shop.root) not in json.dumps(deployment)
    names = [automation["name"] for automation in ui.ask("/automations/filter", {})]
    assert sorted(names) == ["crash-zombies", "feed-changed", "rerun-crashed"]


@pytest.mark.slow
@pytest.mark.ci
def test_whoever_fills_the_feed_may_start_a_run(ui, until):
    event = {"event": "fashionvl.feed.changed", "resource": {"prefect.resource.id": "fashionvl.feed.shop"}}
    ui.ask("/events", [{"id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), **event}])

    def ended() -> list[dict]:
        return [run for run in ui.runs() if run["parameters"].get("reason") == "feed" and run["state_type"] in ENDED]

    until("the event has started a run, and it ended", ended, 300)
    assert ended()[0]["state"]["message"] == "no feed is followed"


@pytest.mark.slow
@pytest.mark.ci
def test_a_second_run_waits_and_cancelling_the_first_ends_all_that_it_started(ui, until):
    first = ui.begin(reason="by hand", overrides={STEPS: 5000})
    until("the first run trains", lambda: ui.trains(5000), 300)
    assert "steps: 5000" in ui.shop.read("params.yaml")
    second = ui.begin(reason="by hand", overrides={})
    until("the second waits", lambda: ui.run(second)["state_name"] in ("AwaitingConcurrencySlot", "Late"), 300)
    bars = ui.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [first]}}})
    assert [bar["key"] for bar in bars] == ["progress-pretrain-kaleido"]
    assert 0 < float(bars[0]["data"]) < 100

    ui.ask(f"/flow_runs/{first}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    until("it is cancelled", lambda: ui.run(first)["state_name"] == "Cancelled", 300)
    until("its stage is gone", lambda: not ui.commands("stages.pretrain kaleido") or ui.run(second)["start_time"], 120)
    until("the second begins by itself and ends", lambda: ui.run(second)["state_type"] == "COMPLETED", 600)
    assert "steps: 20" in ui.shop.read("params.yaml")
    assert ui.run(second)["state"]["message"] == "4/4 cached, nothing is new"
    assert not ui.commands("flows.stage", "flows.ready", "fashionvl.stages")
    assert [run["state_name"] for run in ui.runs() if run["id"] in (first, second)] == ["Completed", "Cancelled"]


def kill(ui: Ui, *words: str) -> None:
    found = ui.commands(*words)
    assert found
    for number in found:
        os.kill(number, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_whose_engine_was_killed_goes_on_where_it_was(ui, until):
    crashed = ui.begin(reason="by hand", overrides={STEPS: 1500})
    until("it trains", lambda: ui.trains(1500, 30), 300)
    kill(ui, "prefect.engine")
    cause = f"the crash of {crashed}"

    def again() -> list[dict]:
        return [run for run in ui.runs() if run["parameters"].get("after") == cause]

    # The event may come twice; then the second run is cancelled.
    until("it is started again and ends", lambda: "COMPLETED" in [run["state_type"] for run in again()], 600)
    assert ui.run(crashed)["state_name"] == "Crashed"
    assert again()[-1]["parameters"] == {**ui.run(crashed)["parameters"], "after": cause}
    assert again()[-1]["parameters"]["overrides"] == {STEPS: 1500}
    assert again()[-1]["parameters"]["system"] is None
    lines = (ui.shop.root / "build/runs/kaleido/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 1501))

    def starts() -> list[str]:
        log = ui.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [again()[-1]["id"]]}}, "limit": 200})
        return [line["message"] for line in log if line["message"].startswith("pretrain  from step")]

    until("its log, which comes a little later, says where it went on", starts, 60)
    assert int(starts()[0].split()[-1]) >= 30


@pytest.mark.slow
def test_a_run_whose_every_process_was_killed_goes_on_without_a_person(ui, until):
    crashed = ui.begin(reason="by hand", overrides={STEPS: 2500})
    until("it trains", lambda: ui.trains(2500, 30), 300)
    kill(ui, "prefect worker", "prefect.engine", "flows.ready", "flows.stage", "fashionvl.stages")
    cause = f"the crash of {crashed}"
    until(
        "it is missed, started again and ends",
        lambda: [
            run for run in ui.runs() if run["parameters"].get("after") == cause and run["state_type"] == "COMPLETED"
        ],
        400,
    )
    assert ui.run(crashed)["state_name"] == "Crashed"
    assert "worker ended" in ui.log.read_text()


@pytest.mark.slow
@pytest.mark.ci
def test_ctrl_c_ends_everything_even_in_the_middle_of_a_run(ui, until):
    ui.begin(reason="by hand", overrides={STEPS: 5001})
    until("it trains", lambda: ui.trains(5001), 300)
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(120) == 0
    until("everything ends", lambda: not ui.shop.processes(), 300)
    assert not (ui.shop.root / ".work/ui.json").exists()
    assert "Traceback" not in ui.log.read_text()


# What the flow asks before it goes on after a crash, on runs as the API gives them.


def made(number: int, state: str, after: str = "") -> SimpleNamespace:
    from prefect.client.schemas.objects import StateType

    return SimpleNamespace(
        id=UUID(int=number),
        created=number,
        deployment_id=UUID(int=100),
        state_type=StateType[state],
        parameters={"reason": "schedule", "after": after},
    )


@pytest.fixture
def look(monkeypatch):
    """look_around() of a run among others."""
    from contextlib import nullcontext

    from flows import automations

    def ask(run, others):
        client = SimpleNamespace(read_flow_runs=lambda **_: others)
        monkeypatch.setattr(automations, "get_client", lambda **_: nullcontext(client))
        return automations.look_around(run)

    return ask


def test_a_crash_is_gone_on_from_once_although_its_event_came_twice(look):
    crash = "the crash of 1"
    crashed, first, twin = made(1, "CRASHED"), made(2, "RUNNING", crash), made(3, "RUNNING", crash)
    assert look(first, [twin, first, crashed]) is None
    assert look(twin, [twin, first, crashed]).name == "Cancelled"


def test_what_crashes_again_and_again_is_left_to_a_person_until_it_ended_well_once(look):
    runs = [made(number, "CRASHED", f"the crash of {number - 1}") for number in (3, 2, 1)]
    last = made(4, "RUNNING", "the crash of 3")
    end = look(last, [last, *runs])
    assert end.name == "Failed"
    assert "3 times in a row" in end.message
    assert look(last, [last, *runs[:2], made(0, "COMPLETED")]) is None
    assert look(made(5, "RUNNING"), [last, *runs]) is None  # by the clock: tried each time
