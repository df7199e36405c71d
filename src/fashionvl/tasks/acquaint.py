"""Let words and patches get acquainted before the encoder is trained: InfoNCE between their embeddings alone.

The paper starts from BERT. Without one, matching stays at chance for thousands of steps, because nothing says which
word has to do with which patch; a linear map on the cached vectors learns that in seconds (docs/log.md).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fashionvl import losses
from fashionvl.models.likeness import means_of
from fashionvl.models.single_stream import SingleStream
from fashionvl.patches.store import Store
from fashionvl.tasks.pairs import Chance, Shop
from fashionvl.tasks.spoil import Desk
from fashionvl.words import rarity_of

EPOCHS, LEAST_STEPS, BATCH, LR, DECAY = 30, 400, 256, 0.002, 0.01
MOST = 20_000  # products; more would say nothing new about single words
FIRST_SCALE = 15.0  # of the cosines
SPREAD = 0.15  # of the word vectors afterwards, so that positions do not drown them


def acquaint(model: SingleStream, desk: Desk, shop: Shop, *, chance: Chance) -> list[float]:
    """Change the word table and the projections of the patches in place -> the mean loss of every epoch."""
    generator = chance(9)
    products = shop.products[torch.randperm(len(shop.products), generator=generator)[:MOST]]
    pictures = torch.cat([shop.first[p] + torch.arange(int(shop.views[p])) for p in products.sort().values])
    means = level_means(desk.store, pictures)
    rarity = rarity_of(desk.texts.ids[products], vocabulary=desk.words.vocabulary, never=desk.words.special())
    scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())
    learned = [model.words.word.weight, *model.patches.project.parameters(), scale]
    said = meet(
        lambda seen: look(model, seen),
        lambda ids: read(model, ids, rarity),
        learned,
        lambda: scale.exp(),
        means=means,
        pictures=pictures,
        products=products,
        ids=desk.texts.ids,
        shop=shop,
        generator=generator,
    )
    with torch.no_grad():
        model.words.word.weight.mul_(SPREAD / model.words.word.weight.std())
    return said


def meet(
    look: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    learned: list[Tensor],
    scale: Callable[[], Tensor],
    *,
    means: Tensor,
    pictures: Tensor,
    products: Tensor,
    ids: Tensor,
    shop: Shop,
    generator: Generator,
) -> list[float]:
    """Bring pictures and texts of the same product near each other by InfoNCE -> the mean loss of every epoch.

    look, read  (B, L, D) means and (B, T) ids -> (B, C), of length 1
    learned     what may change, scale  of the cosines
    means       (n, L, D) of pictures (n,) int64, rising
    products    (m,) int64   that are met, each by one random view an epoch; ids (N, T) int64 of the whole catalogue
    """
    adam = torch.optim.AdamW(learned, lr=LR, weight_decay=DECAY)
    batch = min(BATCH, len(products))
    epochs = max(EPOCHS, LEAST_STEPS // (len(products) // batch))
    said: list[float] = []
    for epoch in range(epochs):
        adam.param_groups[0]["lr"] = LR * (1 - epoch / epochs)
        total = torch.zeros(())
        for some in _batches(products, batch, generator):
            seen = means[torch.searchsorted(pictures, shop.view(some, generator=generator))]
            loss = losses.info_nce(look(seen), read(ids[some]), group=shop.group[some], scale=scale())
            (loss / batch).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
            total += loss.detach()
        said.append(total.item() / (len(products) // batch * batch))
    return said


def read(model: SingleStream, ids: Tensor, rarity: Tensor) -> Tensor:
    """ids (B, T) int64, rarity (V,) -> (B, C) float, of length 1   the mean word, the rare ones first"""
    weight = rarity[ids]
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
    table = model.words.word.weight
    return F.normalize(F.embedding_bag(ids, table, per_sample_weights=weight, mode="sum"), dim=-1)


def look(model: SingleStream, means: Tensor) -> Tensor:
    """means (B, L, D) float -> (B, C) float, of length 1   the sum of the projected levels"""
    levels = [project(means[:, level]) for level, project in enumerate(model.patches.project)]
    return F.normalize(torch.stack(levels).sum(dim=0), dim=-1)


def level_means(store: Store, pictures: Tensor) -> Tensor:
    """pictures (n,) int64 -> (n, L, D) float   the mean clean vector of each of the L levels"""
    return torch.cat([means_of(store.pictures(some), store.layout.spans) for some in pictures.split(BATCH)])


def _batches(products: Tensor, batch: int, generator: Generator) -> list[Tensor]:
    order = products[torch.randperm(len(products), generator=generator)]
    return list(order[: len(order) // batch * batch].split(batch))
