"""What a run has to say: a page of markdown and a table, in Prefect and as files in `.work/flow/<run>/`.

The files are there whether or not a server is; links and pictures need the address of an MLflow server.
"""

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import env, ledger, notes, server

EXPERIMENT = "fashionvl"
ANSWER_SECONDS = 10.0
PICTURES = (".png", ".jpg")
REPORT = "build/report/index.html"


@dataclass
class Judged:
    """One system: the version that came out, the champion that it met, and what the gate said."""

    system: str
    version: Any = None
    champion: Any = None
    verdict: Any = None
    promoted: bool = False

    def sentence(self) -> str:
        """What became of it, in a few words."""
        if self.version is None:
            return f"{self.system}: not registered"
        name = f"{self.system} v{self.version.version}"
        if self.promoted:
            return f"{name} promoted"
        if self.champion is not None and self.champion.version == self.version.version:
            return f"{name} is champion still"
        return f"{name} kept back"


@dataclass
class Story:
    """All that is known of a run when it ends."""

    run: str
    reason: str
    news: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    after: str = ""
    notes: list[str] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    experiment: str | Exception = ""
    trouble: str = ""

    def sentence(self) -> str:
        """The message of the run's state."""
        cached = sum(outcome.state == "Cached" for outcome in self.outcomes)
        stages = [f"{cached}/{len(self.outcomes)} cached"] if self.outcomes else []
        return "; ".join([*stages, *(one.sentence() for one in self.judged)])


def folder(run: str) -> Path:
    """Where the files of a run lie; made if it is not there."""
    place = notes.folder() / (run or "without-a-run")
    place.mkdir(parents=True, exist_ok=True)
    return place


def page(story: Story, address: str | None) -> str:
    """The whole story as markdown."""
    why = f"{story.reason}{f', after {story.after}' if story.after else ''}"
    parts = [f"# {story.sentence() or 'nothing was done'}", f"Why it ran: {why}.", *story.notes]
    if story.trouble:
        parts.append(f"**Stopped:** {story.trouble}")
    if story.overrides:
        parts.append("Parameters of this run: " + ", ".join(f"`{k}` = {v}" for k, v in story.overrides.items()))
    parts += _news(story.news)
    parts += [part for one in story.judged for part in _judgement(one)]
    if story.outcomes:
        rows = [f"| {o.stage} | {o.state} | {_cell(o.said)} |" for o in story.outcomes]
        parts.append("\n".join(["## Stages", "", "| stage | ended | |", "|---|---|---|", *rows]))
    if isinstance(story.experiment, Exception):
        parts.append(f"**Not kept as an experiment:** {story.experiment}")
    elif story.experiment:
        parts.append(
            f"Kept as the experiment `{story.experiment}` (`dvc exp apply {story.experiment}` brings it back)."
        )
    parts += _links(story.run, address)
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].replace("|", "\\|")[:200] if lines else ""


def _news(news: dict[str, Any]) -> list[str]:
    if not news.get("feed"):
        return []
    if news.get("refused"):
        return [f"## Feed\n\nRefused: {news['refused']}. data/ is as it was."]
    if not news.get("fresh"):
        return ["## Feed\n\nNothing new."]
    said = f"{news['new']} new, {news['changed']} changed, {news['withdrawn']} withdrawn; data/ is now {news['md5']}."
    return [f"## Feed\n\n{said}", *_drift(news.get("drift") or {})]


def _drift(found: dict[str, Any]) -> list[str]:
    """Every distance beside what random parts of the older state differ by, and what is allowed."""
    rows = []
    for name, one in found.get("measures", {}).items():
        numbers = " | ".join(_number(one.get(each)) for each in ("value", "level", "limit"))
        rows.append(f"| {name} | {numbers} | {'drifted' if one.get('exceeded') else ''} |")
    head = ["### Drift", "", "| | distance | level | limit | |", "|---|--:|--:|--:|---|"]
    return ["\n".join([*head, *rows])] if rows else []


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _cell(str(value))


def _judgement(one: Judged) -> list[str]:
    said = [f"## {one.sentence()}"]
    if one.verdict is not None:
        said.append(one.verdict.markdown or "\n".join(f"- {reason}" for reason in one.verdict.reasons))
    return said


def _links(run: str, address: str | None) -> list[str]:
    """What can be looked at: the report, and where an MLflow server is known, its runs of this flow, their pictures."""
    lines = [f"- report: `{REPORT}`"]
    pictures = []
    for found in runs(run, address):
        lines.append(f"- {found['name']}: [{found['link']}]({found['link']})")
        pictures += [f"![{found['name']} {path}]({link})" for path, link in found["pictures"].items()]
    return ["## To look at\n\n" + "\n".join(lines), *pictures]


def mlflow_address() -> str | None:
    """The address of an MLflow server that a browser can open, None where none is known."""
    told = env.told_store() or ""
    if told.startswith(("http://", "https://")):
        return env.public(told).rstrip("/")
    note = json.loads(server.note().read_text()) if server.note().exists() else {}
    return None if told else note.get("mlflow")


def runs(run: str, address: str | None) -> list[dict[str, Any]]:
    """MLflow's runs of a run of the flow: name, link, and the links of their pictures; empty where MLflow is away."""
    if not address or not run:
        return []
    try:
        asked = {"experiment_name": EXPERIMENT}
        experiment = _ask(address, "experiments/get-by-name", asked)["experiment"]["experiment_id"]
        body = {"experiment_ids": [experiment], "filter": f"tags.`prefect.flow_run_id` = '{run}'"}
        found = _ask(address, "runs/search", body=body).get("runs", [])
        return [_run(address, experiment, one["info"]) for one in found]
    except (OSError, ValueError, KeyError):  # away, or of another kind
        return []


def _run(address: str, experiment: str, info: dict[str, Any]) -> dict[str, Any]:
    files = _ask(address, "artifacts/list", {"run_id": info["run_id"]}).get("files", [])
    pictures = [file["path"] for file in files if file["path"].endswith(PICTURES)]
    get = f"{address}/get-artifact?run_uuid={info['run_id']}&path="
    return {
        "name": info.get("run_name", info["run_id"]),
        "link": f"{address}/#/experiments/{experiment}/runs/{info['run_id']}",
        "pictures": {path: get + urllib.parse.quote(path) for path in pictures},
    }


def _ask(address: str, what: str, query: dict[str, str] | None = None, body: Any = None) -> dict[str, Any]:
    """One call of MLflow's REST interface; in place of its library, whose import takes longer than all calls."""
    url = f"{address}/api/2.0/mlflow/{what}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **_credentials()})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        return json.load(answer)


def _credentials() -> dict[str, str]:
    """What MLflow's own client would show a server: a token, or a name and a password, of the address or beside it."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    told = urllib.parse.urlsplit(env.told_store() or "")
    name = os.environ.get("MLFLOW_TRACKING_USERNAME") or urllib.parse.unquote(told.username or "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or urllib.parse.unquote(told.password or "")
    if not name:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def tell(story: Story) -> None:
    """Say it all, in files and, in a flow, in Prefect."""
    from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

    address = mlflow_address()
    place, text = folder(story.run), page(story, address)
    (place / "summary.md").write_text(text, encoding="utf-8")
    table = [row for one in story.judged if one.verdict is not None for row in one.verdict.table]
    ledger.write(place / "table.json", table)
    create_markdown_artifact(text, key="retrain-summary", description=story.sentence())
    if table:
        create_table_artifact(table, key="retrain-metrics", description="every metric against the champion's")
    if address:
        create_link_artifact(address, link_text="MLflow", key="retrain-mlflow", description="runs, curves, versions")
    report = env.ROOT / REPORT
    if report.exists():
        create_link_artifact(report.as_uri(), link_text="report", key="retrain-report", description="on this machine")
