"""The flow that retrains: look for new data, let DVC bring everything up to date, register what came out, promote it if
it is better, and say what happened. `make run` is this flow, and so is what prefect.yaml runs by the clock.

One run at a time in a checkout: a second one waits for `.work/flow.lock` and says who holds it.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.context import get_run_context
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows import automations, bell, env, graph, guard, ledger, notes, overrides, parent, serve, server, snapshot, tell
from flows.pipeline import AT_ONCE, StageFailed, broken, pipeline

BY_HAND = ("by hand", "make run")  # somebody looks at what happens
FEED, DRIFT = "feed", "drift"
MEASURING = re.compile(
    r"^(evaluate|evaluate_contrast|evaluate_clip|probe|probe_clip|examine|yardsticks|compare|two_stage|report)(@|$)"
)


class Stopped(Exception):
    """The run cannot go on; the message says why."""


@task(task_run_name="probe", cache_policy=NO_CACHE)
def probe(root: Path, reason: str) -> dict[str, Any]:
    """Bring in what the feed has that data/ has not, for `drift` only once it has moved too far -> the news."""
    from flows import ingest

    news = ingest.probe(root) if reason == DRIFT else ingest.take(root)
    if reason == DRIFT and news.drift.get("drifted"):
        news = ingest.take(root)
    return dataclasses.asdict(news)


@task(task_run_name="register {system}", cache_policy=NO_CACHE)
def register(system: str, root: Path, experiment: str | Exception) -> tuple[Any, Any]:
    """-> the version of what is in build/, made if it is not there, and the champion, None before the first.

    experiment  what it can be had back from: the version names it, and so it is kept as long as the version
    """
    from flows import registry

    version = registry.register(system, root)
    if isinstance(experiment, str) and experiment:
        registry.note(version, {"dvc.experiment": experiment})
    return version, registry.champion(system)


@task(task_run_name="gate {system}", cache_policy=NO_CACHE)
def judge(system: str, challenger: Any, champion: Any, root: Path) -> Any:
    """-> the gate's verdict."""
    from flows import gate

    return gate.judge(system, challenger, champion, root)


@task(task_run_name="promote {system}", cache_policy=NO_CACHE)
def promote(system: str, version: Any) -> None:
    """Make a version the champion, once what is served here can be had."""
    from flows import registry

    serve.bring(system, version)
    registry.promote(system, version)


@task(task_run_name="serve {system}", cache_policy=NO_CACHE)
def take_over(system: str, root: Path) -> None:
    """Let the service that runs beside have the champion, and the index of today."""
    serve.refresh(system, root)


@task(task_run_name="keep", cache_policy=NO_CACHE)
def keep(root: Path) -> str:
    """Keep what was made as an experiment of DVC -> its name."""
    return snapshot.keep(root)[0]


@flow(name=automations.FLOW, task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))  # type: ignore[arg-type]
def retrain(
    system: str | None = None, overrides: dict[str, Any] | None = None, reason: str = BY_HAND[0], after: str = ""
) -> State:
    """New data, stages, registry, gate.

    system     a row of `run` in params.yaml; None for all of them
    overrides  values for this run in place of those of params.yaml: {"systems.kaleido.training.epochs": 20}
    reason     who asked: "by hand", "make run", "schedule", "feed" (ends at once without news), "drift" (ends at once
               unless the feed has moved further than `drift.limits` in params.yaml allow); both finish what an earlier
               run left undone
    after      the run that crashed and is gone on with; an automation says it
    """
    story = tell.Story(_run_id(), reason, overrides=overrides or {}, after=after)
    with _alone(f"retrain, {reason}") as end:
        if end is not None:
            return end
        return _told(story, lambda: _retrain(story, system))


@flow(name="evaluate", task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))  # type: ignore[arg-type]
def evaluate(system: str | None = None) -> State:
    """Measure everything again, although nothing changed, and judge what is in build/ against the champion."""
    story = tell.Story(_run_id(), "evaluation")
    with _alone("evaluate"):
        return _told(story, lambda: _evaluate(story, system))


@flow(name="clean")
def clean(dry_run: bool = False) -> State:
    """Delete what is older than the policy of flows/retention.py allows, or say what that would be."""
    from flows import retention

    with _alone("clean"):
        gone = retention.clean(env.ROOT, None, dry_run)
    for line in gone:
        get_run_logger().info(line)
    return Completed(message=f"{len(gone)} things {'would be' if dry_run else 'were'} deleted")


def _run_id() -> str:
    run = get_run_context().flow_run  # type: ignore[union-attr]
    return str(run.id) if run else ""


@contextmanager
def _alone(name: str) -> Iterator[State | None]:
    """Wait for the run that is at work in this checkout; gives how this one must end at once, None if it may go on."""
    env.apply()  # a worker elsewhere need not have been told
    logger = get_run_logger()

    def say(line: str) -> None:
        print(line, flush=True)
        logger.info(line)

    run = get_run_context().flow_run  # type: ignore[union-attr]
    if run and run.deployment_id:
        guard.end_with_parent()  # a run that outlives its worker could not be cancelled by anyone
    end = automations.look_around(run) if run else None
    if end is not None:
        yield end
        return
    with guard.turn(env.work() / "flow.lock", name, say):
        yield None


def _told(story: tell.Story, work: Any) -> State:
    """Do the work, tell of it however it ended -> the state that the run ends in, always one of a usual name."""
    try:
        with overrides.applied(story.overrides, say=story.notes.append):
            message = work()
        state = Completed(message=message or story.sentence())
    except (Stopped, StageFailed, graph.Unclear, overrides.Refused) as trouble:
        story.trouble = str(trouble)
        state = Failed(message=story.trouble)
    bell.settle()  # what is told has links to MLflow's runs
    tell.tell(story)
    parent.finish(ledger.folder(), story.run)
    if said := bell.settle():
        print(said, file=sys.stderr, flush=True)
    return state


def _retrain(story: tell.Story, system: str | None, root: Path = env.ROOT) -> str | None:
    """The work of `retrain` -> what to say of it, where the story does not."""
    systems = _systems(system, root)
    story.news = _done(probe(root, story.reason, return_state=True))
    if story.news["refused"]:
        if story.reason not in BY_HAND:
            raise Stopped(f"the feed was refused: {story.news['refused']}")
        print(f"feed  refused: {story.news['refused']}; data/ is as it was", flush=True)
    calls = {FEED: story.news["fresh"], DRIFT: story.news["drift"].get("drifted")}.get(story.reason, True)
    if not calls and not graph.stale(root) and notes.is_settled(systems, root):  # nor did a run stop half way
        quiet = {FEED: "nothing new", DRIFT: "the feed has not drifted"}[story.reason]
        return quiet if story.news["feed"] else "no feed is followed"
    _make(story, root)
    changed = any(outcome.state != "Cached" for outcome in story.outcomes)
    if not changed and notes.is_settled(systems, root):
        return f"{story.sentence()}, nothing is new"
    if story.news["feed"] or story.overrides:
        kept = keep(root, return_state=True)
        story.experiment = kept.result(raise_on_failure=False)  # what was trained is worth registering all the same
    for name in systems:
        _settle(story, name, root)
        if serve.pointer(name).exists():
            _done(take_over(name, root, return_state=True))
    notes.settle(systems, root)
    return None


def _evaluate(story: tell.Story, system: str | None, root: Path = env.ROOT) -> None:
    systems = _systems(system, root)
    settled = notes.is_settled(systems, root)
    _make(story, root, MEASURING)
    for name in systems:
        _settle(story, name, root, may_promote=False)
    if settled:  # what was measured anew was registered before
        notes.settle(systems, root)


def _systems(system: str | None, root: Path) -> list[str]:
    """The rows to register; raises Stopped for one that is not trained."""
    rows = notes.to_register(root)
    if system is not None and system not in rows:
        raise Stopped(f"{system!r} is no row of `run` in params.yaml ({', '.join(rows)}): nothing trains it")
    return rows if system is None else [system]


def _make(story: tell.Story, root: Path, again: re.Pattern[str] | None = None) -> None:
    """The stages; raises StageFailed with all that did not end well."""
    story.outcomes = pipeline(root, again)
    bad = broken(story.outcomes)
    if bad:
        raise StageFailed(", ".join(f"{outcome.stage} {outcome.state}" for outcome in bad))


def _settle(story: tell.Story, system: str, root: Path, *, may_promote: bool = True) -> None:
    """Register what was made of a system, judge it, and promote it where it is better."""
    one = tell.Judged(system)
    story.judged.append(one)
    one.version, one.champion = _done(register(system, root, story.experiment, return_state=True))
    if may_promote and one.version.settled:  # it was judged, and what the gate said was done
        return
    one.verdict = _done(judge(system, one.version, one.champion, root, return_state=True))
    if may_promote and one.verdict.promote:
        _done(promote(system, one.version, return_state=True))
        one.promoted = True


def _done(state: State) -> Any:
    """What a task gave; raises Stopped with what went wrong."""
    if state.is_completed():
        return state.result()
    trouble = state.result(raise_on_failure=False)
    raise Stopped(f"{type(trouble).__name__}: {trouble}" if not str(trouble) else str(trouble))


def main(reason: str = BY_HAND[1]) -> int:
    """Run the flow in this process for all systems -> 0, or 1 with what stopped it."""
    server.until_it_answers(os.environ["PREFECT_API_URL"])
    with tags(automations.TAG):
        state = retrain(system=None, reason=reason, return_state=True)
    print(f"run  {state.message}" if state.message else f"run  {state.name}", flush=True)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
