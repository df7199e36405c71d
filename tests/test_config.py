from pathlib import Path

import pytest
import yaml

from fashionvl import config

PARAMS = Path(__file__).parent.parent / "params.yaml"


def changed(tmp_path, change):
    raw = yaml.safe_load(PARAMS.read_text())
    change(raw)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def regions(kind, **changes):
    return lambda raw: raw["patches"][kind]["regions"].update(changes)


def test_the_table_of_the_project_is_valid():
    assert config.load(PARAMS).systems["kaleido_base"].model.width == 768
    assert config.load(PARAMS).patches[config.load(PARAMS).systems["imagebert_base"].patches].regions.most == 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw["systems"]["kaleido"].update(lernrate=1), r"unknown key 'systems\.kaleido\.lernrate'"),
        (lambda raw: raw["words"].pop("slots"), r"'words\.slots' is missing"),
        (lambda raw: raw["words"].update(slots="64"), r"words\.slots must be of type int, not '64'"),
        (lambda raw: raw["encoder"]["training"].update(lr="5e-4"), r"encoder\.training\.lr must be a number"),
        (lambda raw: raw.update(seed=True), "seed must be of type int, not True"),
        (lambda raw: raw.update(run_tasks=["colour"]), r"run_tasks must be of \['retrieval', .*, not \['colour'\]"),
        (lambda raw: raw["finetune"].update(colour={}), r"unknown key 'finetune\.colour'"),
        (lambda raw: raw.update(systems=[]), "systems must be a table"),
        (lambda raw: raw["systems"]["vlbert"]["model"].update(width=250), r"model\.width must be a multiple of the 4"),
        (
            lambda raw: raw["systems"]["vlbert"]["objectives"].update(moc=-1),
            r"objectives\.moc must be 0 or more, not -1",
        ),
        (
            lambda raw: raw["systems"]["imagebert"].update(
                phases=[{"build": "a", "training": raw["systems"]["imagebert"]["training"] | {"decay": "constant"}}]
            ),
            r"systems\.imagebert\.phases\[0\]\.training\.decay must be one of \['linear', 'cosine'\]",
        ),
        (
            lambda raw: raw["comparison"]["table"]["oscar"].update(
                training=raw["systems"]["oscar"]["training"] | {"decay": "constant"}
            ),
            r"comparison\.table\.oscar\.training\.decay must be one of",
        ),
        (
            lambda raw: raw["systems"]["oscar"].update(
                phases=[{"build": "a", "training": raw["systems"]["oscar"]["training"]}]
            ),
            r"comparison\.table\.oscar\.phases must be \[\], as its budget is one of steps",
        ),
        (
            lambda raw: raw["comparison"].update(once=["retrieval"]),
            r"comparison\.once must be without retrieval, whose ranks are compared over all seeds",
        ),
        (lambda raw: raw["gate"].update(split="train"), r"gate\.split must be val or test, .*, not 'train'"),
        (lambda raw: raw["gate"].update(worst=2), r"gate\.worst must be a share from 0 to below 1, not 2"),
        (lambda raw: raw["gate"].update(candidates=0), r"gate\.candidates must be above 0"),
        (lambda raw: raw["gate"].update(slices=["colour"]), r"gate\.slices must be attributes\.x or one of"),
        (lambda raw: raw["patches"]["fixed"].update(grids=[]), r"patches\.fixed\.grids must be sides .*, not \[\]"),
        (lambda raw: raw["patches"]["fixed"].update(grids=[8, 8]), "each once and rising"),
        (lambda raw: raw["patches"]["fixed"].update(grids=[3, 2]), "each once and rising"),
        (lambda raw: raw["patches"]["fixed"].update(grids=[0, 1]), "from 1 to 16"),
        (lambda raw: raw["patches"]["fixed"].update(grids=[17]), "from 1 to 16"),
        (lambda raw: raw["patches"]["fixed"].update(grids=8), "must be a list"),
        (lambda raw: raw["patches"]["objects"].update(grids=[8]), r"objects\.grids must be \[\] where it has regions"),
        (lambda raw: raw["patches"]["objects"].update(regions=None), r"objects\.grids must be sides"),
        (regions("objects", by="magic"), r"objects\.regions\.by must be one of \['detector', 'segments'\]"),
        (regions("objects", detector=None), r"objects\.regions\.detector must be a detector, not None"),
        (regions("segments", detector="scratch"), r"segments\.regions\.detector must be null without by: detector"),
        (regions("segments", classes=1), r"segments\.regions\.classes must be 2 or more, not 1"),
        (regions("segments", classes=None), r"segments\.regions\.classes must be 2 or more, not None"),
        (regions("objects", classes=8), r"objects\.regions\.classes must be null, a detector has classes of its own"),
        (regions("objects", most=1), r"objects\.regions\.most must be from 2 to 100, not 1"),
        (regions("objects", most=101), r"objects\.regions\.most must be from 2 to 100, not 101"),
        (regions("segments", features="detector"), r"must be one of \['crops', 'pooled'\] with by: segments"),
        (
            lambda raw: raw.update(run_patches=["kaleido", "objects"]),
            r"run_patches must be kinds with grids; .*'objects'",
        ),
        (lambda raw: raw.update(run_regions={"fixed": "encoder"}), "run_regions lists 'fixed', which has grids"),
        (lambda raw: raw.update(run_regions={"objects": "encoder"}), r"run_regions\.objects must be 'detector', as"),
        (lambda raw: raw.update(run_regions={"segments": "detector"}), r"run_regions\.segments must be 'encoder', as"),
        (
            lambda raw: raw.update(run_regions={"objects": "detector"}),
            r"run_detectors must be \[scratch\], whose regions objects has, not \[\]",
        ),
        (
            lambda raw: raw["comparison"].update(regions={"segments": "detector"}),
            r"comparison\.regions\.segments must be 'encoder', as patches\.segments is made from it",
        ),
        (lambda raw: raw.update(run_regions={"boxes": "encoder"}), r"no row 'boxes' under patches"),
        (lambda raw: raw.update(run_patches=["fixed"]), "neither run_patches nor run_regions lists"),
        (lambda raw: raw["comparison"].update(patches=["fixed"]), "and other studies do not list: DVC makes each"),
        (
            lambda raw: raw["feed"].update(withdrawn_limit=50),
            r"feed\.withdrawn_limit must be a share from 0 to 1, not 50",
        ),
        (lambda raw: raw["drift"]["limits"].pop("words"), r"drift\.limits must be a limit for each of \['category'"),
        (lambda raw: raw["drift"].update(level=0), r"drift\.level must be a quantile"),
        (lambda raw: raw["retention"].update(versions=-1), r"retention\.versions must be 0 or more, not -1"),
        (lambda raw: raw["tracking"].update(pictures="some"), r"tracking\.pictures must be one of \['none', 'local'"),
    ],
)
def test_a_wrong_table_is_a_sentence_that_names_the_key(tmp_path, change, says):
    with pytest.raises(config.ConfigError, match=says):
        config.load(changed(tmp_path, change))


def test_kinds_with_regions_are_listed_by_what_they_are_made_from_and_read_by_a_system(tmp_path):
    def change(raw):
        raw["run_regions"] = {"objects": "detector", "segments": "encoder", "named": "encoder"}
        raw["run_detectors"], raw["comparison"]["regions"] = ["scratch"], {}
        named = raw["patches"]["objects"]["regions"] | {"detector": "some/yolos", "features": "detector"}
        raw["patches"]["named"] = raw["patches"]["objects"] | {"regions": named}
        raw["run"]["imagebert"] = "objects"

    loaded = config.load(changed(tmp_path, change))
    assert loaded.patches["named"].regions == config.Regions("detector", "some/yolos", 36, None, "detector")
    assert loaded.patches["kaleido"].regions is None


def test_a_missing_or_broken_file_is_a_sentence(tmp_path):
    with pytest.raises(config.ConfigError, match="does not exist"):
        config.load(tmp_path / "nothing.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(config.ConfigError, match="not valid YAML"):
        config.load(tmp_path / "broken.yaml")


def test_a_row_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(config.ConfigError, match=r"no row 'kalaido' under systems; there are \[.*'kaleido'"):
        config.row(config.load(PARAMS).systems, "kalaido", "systems")
