"""data/ is the sample, the user's own, or a feed; nothing that lay there is lost on the way from one to another."""

import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.ci]

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, "-m", "flows.data"]
ENSURE = [sys.executable, "-c", "from flows import data; data.ensure()"]


def said(project) -> dict:
    return yaml.safe_load((project.root / "data.dvc").read_text())


def md5(project) -> str:
    return said(project)["outs"][0]["md5"]


def content(project) -> dict[str, str]:
    folder = project.root / "data"
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def own(tmp_path):
    """A catalogue of the user's, outside the checkout."""
    folder = tmp_path / "own"
    (folder / "images").mkdir(parents=True)
    (folder / "catalogue.csv").write_text("product_id,image_path\nmine,images/mine.jpg\n")
    (folder / "images" / "mine.jpg").write_text("mine")
    return folder


def test_a_fresh_clone_has_the_sample_that_data_dvc_names(project, tmp_path):
    project.ok(*ENSURE)
    first = content(project)
    assert first["images/1.jpg"] == "1"
    assert said(project)["meta"]["sample"] == md5(project)
    assert project.ok(sys.executable, "-m", "dvc", "status", "--json", "data.dvc").strip() == "{}"
    project.commit()
    project.ok("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone.ok(*ENSURE)
    assert content(clone) == first
    assert not clone.ok("git", "status", "--porcelain")


def test_a_sample_that_comes_out_otherwise_is_said(project, tmp_path):
    project.ok(*ENSURE)
    project.write("sample.txt", "drawn by another version")
    project.commit()
    project.ok("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    assert f"not {md5(project)} as data.dvc named it" in clone.ok(*ENSURE)
    assert md5(clone) != md5(project)
    assert said(clone)["meta"]["sample"] == md5(clone)


def test_what_lies_in_data_is_left_alone(project):
    project.write("data/catalogue.csv", "by hand")
    project.ok(*ENSURE)
    assert content(project) == {"catalogue.csv": "by hand"}


def test_a_missing_catalogue_comes_back_from_the_cache_and_is_never_replaced_by_the_sample(project, own, tmp_path):
    project.ok(*ENSURE)
    project.ok(*RUN, str(own))
    project.commit()
    project.ok("rm", "-r", "data")
    project.ok(*ENSURE)
    assert content(project)["images/mine.jpg"] == "mine"
    project.ok("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    answer = clone.run(*ENSURE[:1], "-m", "flows.run")
    assert answer.returncode == 1
    assert "neither in DVC's cache nor in a remote" in answer.stderr
    assert not (clone.root / "data").exists() or not content(clone)


def test_a_missing_catalogue_comes_from_a_remote(project, own, tmp_path):
    project.ok(*RUN, str(own))
    project.ok(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.ok(sys.executable, "-m", "dvc", "push", "-q")
    project.commit()
    project.ok("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone.ok(*ENSURE)
    assert content(clone)["images/mine.jpg"] == "mine"


def test_from_sample_to_own_to_sample_and_back_by_hand(project, own):
    project.ok(*ENSURE)
    sample, first = md5(project), content(project)
    project.write("data/images/1.jpg", "changed by hand, in no cache yet")
    words = project.ok(*RUN, str(own))
    assert content(project)["images/mine.jpg"] == "mine"
    assert "images/1.jpg" not in content(project)
    mine = md5(project)
    (own / "images" / "mine.jpg").write_text("the user's folder goes its own way")
    assert content(project)["images/mine.jpg"] == "mine"

    command = next(line for line in words.splitlines() if "is kept" in line).split("`")[1]  # as the user would
    project.ok("sh", "-c", command.replace("dvc checkout", f"{sys.executable} -m dvc checkout --force"))
    assert content(project)["images/1.jpg"] == "changed by hand, in no cache yet"

    project.ok(*RUN, "sample")
    assert md5(project) == sample
    assert content(project) == first
    assert (project.root / ".dvc/cache/files/md5" / mine[:2] / mine[2:]).exists()


def with_reader(project) -> None:
    """The reader that knows which column names a picture."""
    for room in ("catalogue", "config.py"):
        project.ok("cp", "-r", str(ROOT / "src/fashionvl" / room), "src/fashionvl/")
    project.write("params.yaml", (ROOT / "params.yaml").read_text())


def test_a_path_that_leaves_the_catalogue_costs_the_user_no_picture(project, own):
    mine = own / "images" / "mine.jpg"
    rows = f"mine,images/mine.jpg\nabsolute,{mine}\nabove,../own/images/mine.jpg\n"
    (own / "catalogue.csv").write_text(f"product_id,image_path\n{rows}")
    with_reader(project)
    project.ok(*RUN, str(own / "catalogue.csv"))
    assert mine.read_text() == "mine"
    assert set(content(project)) == {"catalogue.csv", "images/mine.jpg"}


def test_a_file_brings_the_pictures_it_names(project, own):
    (own / "images" / "other.jpg").write_text("not named")
    with_reader(project)
    project.ok(*RUN, str(own / "catalogue.csv"))
    assert set(content(project)) == {"catalogue.csv", "images/mine.jpg"}


def test_a_catalogue_that_does_not_pass_changes_nothing(project, tmp_path):
    project.ok(*ENSURE)
    before, named = content(project), md5(project)
    (tmp_path / "empty").mkdir()
    for source in (
        str(tmp_path / "empty"),
        str(tmp_path / "nowhere"),
        "gs://nowhere/at/all",  # s3:// is tested in test_ingest.py
        "http://127.0.0.1:9/x",
        "",
    ):
        answer = project.run(*RUN, source)
        assert answer.returncode == 2, source
        assert len(answer.stderr.strip().splitlines()) <= 2, answer.stderr  # the check's sentence and ours
        assert "Traceback" not in answer.stderr
        assert "gs" not in source or "dvc-gs" in answer.stderr
        assert content(project) == before
        assert md5(project) == named
    assert not list((project.root / ".work/data").glob("incoming*"))


def test_a_feed_is_followed_and_left_again(project, own, tmp_path):
    project.ok(*ENSURE)
    sample = md5(project)
    project.ok(*RUN, "--feed", str(own))
    text = (project.root / "data.dvc").read_text()
    assert str(tmp_path) not in text  # no absolute path of a machine in a tracked file
    assert said(project)["deps"][0]["path"] == "../own"
    assert said(project)["meta"]["sample"] == sample
    assert content(project)["images/mine.jpg"] == "mine"

    (own / "images" / "more.jpg").write_text("more")
    project.ok(sys.executable, "-m", "dvc", "update", "-q", "data.dvc")
    assert content(project)["images/more.jpg"] == "more"

    project.write("data/images/hand.jpg", "put into the feed by hand")
    fed = content(project)
    project.ok(*RUN, str(own))
    assert "deps" not in said(project)
    assert "frozen" not in said(project)
    kept = [file for file in (project.root / ".work/data").glob("*.dvc") if "deps" in file.read_text()]
    project.write("data.dvc", kept[0].read_text())
    project.ok(sys.executable, "-m", "dvc", "checkout", "--force", "data.dvc")
    assert content(project) == fed

    project.ok(*RUN, "sample")
    assert md5(project) == sample
    assert "deps" not in said(project)
