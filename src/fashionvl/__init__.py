"""Fashion vision-language models: Kaleido-BERT and its family."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fashionvl.pretrained.face import FashionVL


def load(folder: str | Path, **options: Any) -> "FashionVL":
    """A trained system, ready to match, classify, caption and align.

    folder   build/runs/<system>, around which everything else of its build folder is found, or what
             `save_pretrained` wrote
    options  as `FashionVL` takes them: device, max_megapixels
    """
    from fashionvl.pretrained.face import FashionVL  # here, so that importing the package is cheap

    return FashionVL.from_pretrained(folder, **options)
