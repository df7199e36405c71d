"""Stage `alignment`: build/alignment/* -> build/metrics/alignment.json, how well the words of every kind point."""

from pathlib import Path

from fashionvl import checkpoint, config
from fashionvl.stages import options, run


def main(*, params: Path = Path("params.yaml"), data: Path = Path("data"), build: Path = Path("build")) -> None:
    """Gather the metrics of the kinds of patches that DVC runs."""
    kinds = config.load(params).run_patches
    found = {kind: checkpoint.read_card(build / "alignment" / kind)["metrics"] for kind in kinds}
    checkpoint.write_json(build / "metrics" / "alignment.json", found)
    for kind, metrics in found.items():
        words = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name.endswith("3x3.skill"))
        print(f"alignment  {kind}: {words or 'nothing is judged'}", flush=True)


if __name__ == "__main__":
    run(lambda: main(**vars(options(__doc__).parse_args())))
