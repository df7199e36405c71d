"""DVC sees files, not imports: what dvc.yaml lists is held against what the stages import."""

import ast
import re
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
APART = ("ablations/dvc.yaml", "trials/dvc.yaml", "compare/dvc.yaml")  # asked for by name
STAGES = {
    f"{file}:{name}" if file in APART else name: body.get("do", body)
    for file in ("dvc.yaml", *APART)
    for name, body in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("fashionvl", cache_dir=None)


def paths(stage: dict, kind: str) -> list[str]:
    """The paths of a stage's deps, outs, metrics or plots, whether or not they carry options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(kind, [])]


def code_of(graph: grimp.ImportGraph, module: str) -> set[str]:
    """Every file that runs when a module runs: its own, what it imports, and the packages around them."""
    used = {module} | graph.find_upstream_modules(module)
    used |= {name.rsplit(".", depth)[0] for name in used for depth in range(1, name.count(".") + 1)}
    files = set()
    for name in used:
        base = ROOT / "src" / name.replace(".", "/")
        file = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if any(not isinstance(line, ast.Expr) for line in ast.parse(file.read_text()).body):  # more than a docstring
            files.add(str(file.relative_to(ROOT)))
    return files


@pytest.mark.parametrize("name", STAGES)
def test_dvc_knows_every_file_a_stage_imports_and_no_other(name, imports):
    module = "fashionvl.stages." + STAGES[name]["cmd"].split()[4]
    listed = {path for path in paths(STAGES[name], "deps") if path.startswith("src/")}
    used = code_of(imports, module)
    assert listed == used, f"add to {name} in dvc.yaml: {sorted(used - listed)}; take out: {sorted(listed - used)}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_one_command_through_the_guard(name):
    # With one command the shell makes way for it, so that the stage's parent is DVC and dies with it.
    assert re.fullmatch(r"exec python -m flows\.stage \w+( (\w+\.)?\$\{(item|key)\}| \w+)?", STAGES[name]["cmd"])


@pytest.mark.parametrize("name", STAGES)
def test_watching_a_stage_makes_nothing_stale(name):
    assert not [path for path in paths(STAGES[name], "deps") if path.startswith(("flows", "dvc", "Makefile"))]


@pytest.mark.parametrize("name", STAGES)
def test_no_output_outlives_a_change_of_its_inputs(name):
    # `persist` was seen to leave an old model recorded against new data.
    outputs = [entry for kind in ("outs", "metrics", "plots") for entry in STAGES[name].get(kind, [])]
    assert not [entry for entry in outputs if isinstance(entry, dict) and "persist" in next(iter(entry.values()))]


def test_everything_a_stage_makes_lies_in_build_and_is_made_once():
    made = [path for stage in STAGES.values() for kind in ("outs", "metrics", "plots") for path in paths(stage, kind)]
    assert all(path.startswith("build/") for path in made)
    assert "/build/" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_parameter_that_dvc_follows_exists():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in STAGES.values():
        for name in stage.get("params", []):
            table = values
            for part in re.sub(r"\$\{[^}]+\}", "$", name).split("."):
                assert part in table or part == "$", name
                table = next(iter(table.values())) if part.startswith("$") else table[part]


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith(APART)])
def test_a_stage_of_another_file_runs_where_params_yaml_is(name):
    assert STAGES[name]["wdir"] == ".."
