"""One vector for a picture, a text, or both: the pooled [CLS], with the other side missing (specification 1.6)."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fashionvl.models.single_stream import SingleStream
from fashionvl.tasks.recognition import Desk, one_column

ROWS_AT_ONCE = 256


@torch.inference_mode()
def embed(
    model: SingleStream, desk: Desk, pictures: NDArray[np.int64], products: NDArray[np.int64], column: str
) -> NDArray[np.float32]:
    """What [CLS] says of rows of which one column is shown.

    pictures (n,), products (n,)   of the text; column `image` reads no text, `text` sees no picture, `both` both
    -> (n, C) float32   unit length

    No loss of Kaleido-BERT makes the vector of a text comparable with that of a picture.
    """
    device = next(model.parameters()).device
    found = [np.empty((0, model.pooler.out_features), np.float32)]
    for at in range(0, len(pictures), ROWS_AT_ONCE):
        some = slice(at, at + ROWS_AT_ONCE)
        batch = one_column(desk, pictures[some], products[some], column).to(device)
        states = model(batch, torch.zeros(len(batch.words), 1, dtype=torch.int64, device=device))
        found.append(F.normalize(model.pooled(states), dim=1).cpu().numpy())
    return np.concatenate(found)
