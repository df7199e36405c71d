"""Whether the user's pictures may leave is said once, and obeyed."""

from pathlib import Path

import pytest
import yaml

from flows import ledger

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("may", "server", "goes"),
    [
        ("all", True, True),
        ("all", False, True),
        ("local", True, False),
        ("local", False, True),
        ("none", False, False),
        ("none", True, False),
        (None, False, False),
    ],
)
def test_pages_with_pictures_go_to_mlflow_only_where_they_may(tmp_path, monkeypatch, may, server, goes):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger.env, "work", lambda: tmp_path / ".work")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    Path("params.yaml").write_text(yaml.safe_dump({"tracking": {"pictures": may}} if may else {}))
    place = Path("build/catalogue")
    place.mkdir(parents=True)
    for name in ("card.json", "report.html"):
        (place / name).write_text("{}")
    entry = ledger.Entry("catalogue", None).close(0)
    assert (entry / "card.json").exists()
    assert (entry / "report.html").exists() == goes


def test_every_file_that_goes_and_shows_the_users_pictures_is_known():
    """A page is written by `write_page`; one that goes to MLflow holds pictures unless this says why not."""
    pages = {name for name in ledger.KEPT if name.endswith((".html", ".png", ".jpg"))}
    assert pages - set(ledger.PICTURED) == {"confusion.png"}  # numbers and names alone (stages/confusion.py)
