"""A checkout with the real library and edge, and a tiny system that DVC says it has made."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import tiny
import torch
import yaml

from fashionvl import checkpoint

CLASSES = ["hat", "top"]
GATE = {"candidates": 1, "queries": 50, "slices": ["category"], "least_slice": 4}
RUN = "build/runs/kaleido"
MADE = {  # what the stages of dvc.yaml leave
    "words": ["build/words"],
    "encoder": ["build/encoder/model.safetensors"],
    "patches": ["build/patches/kaleido"],
    "pretrain": [f"{RUN}/model.safetensors", f"{RUN}/card.json"],
    "finetune-retrieval": ["build/finetuned/kaleido-retrieval/model.safetensors"],
    "finetune-category": ["build/finetuned/kaleido-category/model.safetensors"],
}


class Checkout:
    """Runs commands as a user would, and changes what was trained."""

    def __init__(self, root: Path):
        self.root = root
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
        kept.pop("PYTHONPATH", None)
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"  # DVC and MLflow look `python` up
        git = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        self.environment = {**kept, **git, "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *words]
        env = {**self.environment, **environment}
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, check=False, timeout=900)

    def ok(self, *words: str, **environment: str) -> str:
        answer = self.run(*words, **environment)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, *words], cwd=self.root, env=self.environment, text=True)

    def ask(self, code: str) -> dict:
        """What code says as JSON on its last line; `client` is MLflow's."""
        head = "import json; from flows import env; env.apply(); from flows import registry, tracking\n"
        return json.loads(self.ok("-c", f"{head}client, experiment = tracking.connect()\n{code}").splitlines()[-1])

    def known(self) -> dict:
        """What the registry holds: versions, aliases, the MLflow models behind."""
        return self.ask(
            "versions = client.search_model_versions(\"name='fashionvl-kaleido'\")\n"
            "models = client.search_registered_models(\"name='fashionvl-kaleido'\")\n"
            "logged = client.search_logged_models([experiment])\n"
            "print(json.dumps({'versions': sorted(int(each.version) for each in versions),"
            " 'tags': {each.version: each.tags for each in versions},"
            " 'sources': {each.version: each.source for each in versions},"
            " 'said': {each.version: each.description for each in versions},"
            " 'aliases': {a: int(v) for a, v in models[0].aliases.items()} if models else {},"
            " 'logged': {each.model_id: [str(each.status), each.artifact_location] for each in logged}}))"
        )

    def learn(self, seed: int, *, part: str = "finetuned/kaleido-retrieval") -> None:
        """Put other weights in place of some, as a new training would."""
        card = json.loads((self.root / RUN / "card.json").read_text())
        self._put(part, tiny.stream(card["model"], seed).state_dict())

    def spoil(self, part: str = "finetuned/kaleido-retrieval") -> None:
        """Weights of zero, for which every pair is as likely as any other."""
        weights = checkpoint.load(self.root / "build" / part)[0]
        self._put(part, {name: torch.zeros_like(weight) for name, weight in weights.items()})

    def _put(self, part: str, weights: dict) -> None:
        checkpoint.write_tensors(self.root / "build" / part / "model.safetensors", weights)
        self.ok("-m", "dvc", "commit", "--force", "--quiet")


def make(root: Path) -> Checkout:
    """Make the checkout, with a system whose retrieval and whose heads were never trained."""
    run = tiny.build(root, products=24, aligned=False)
    products = pd.read_parquet(root / "build/catalogue/products.parquet")
    group = [f"g{number}" for number in range(len(products))]
    products = products.assign(category=(CLASSES * 12)[: len(products)], split="test", group_id=group)
    products.to_parquet(root / "build/catalogue/products.parquet")
    tiny.fine_tune(run, "retrieval", 2)
    tiny.fine_tune(run, "category", 4, CLASSES)
    (root / "build/metrics").mkdir()
    checkpoint.write_json(root / "build/metrics/kaleido-retrieval.json", {"sampled.tir.R@1": 0.25, "sampled.SumR": 9})
    for name in ("flows", "src/fashionvl"):
        shutil.copytree(tiny.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(tiny.ROOT / name, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["gate"] |= GATE
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    stages = {name: {"cmd": f"echo {name}", "outs": outs} for name, outs in MADE.items()}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (root / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "0123.dir", "path": "data"}]}))
    made = Checkout(root)
    for words in (["init", "-q", "."], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=root, env=made.environment, check=True)
    made.ok("-m", "dvc", "commit", "--force", "--quiet")
    return made


def copy(of: Checkout, root: Path) -> Checkout:
    """Another checkout just like it."""
    shutil.copytree(of.root, root, symlinks=True)
    return Checkout(root)
