import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fashionvl.tasks import probes

CLASSES = ["dress", "shoe", "hat"]
OWN = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def embed(texts):
    """A text is what class it names, as loud as it is long."""
    return torch.stack([OWN[[name in text for name in CLASSES].index(True)] * len(text) for text in texts])


def pictures(rows, seed, spread=0.1):
    draw = np.random.default_rng(seed)
    answer = draw.integers(3, size=rows)
    noise = torch.from_numpy(draw.normal(size=(rows, 8)).astype(np.float32))
    return F.normalize(OWN[torch.from_numpy(answer)] + spread * noise, dim=1), answer


@pytest.mark.parametrize("name", probes.PROMPTS)
def test_a_class_is_the_mean_of_its_prompts(name):
    vectors = probes.class_vectors(CLASSES, probes.PROMPTS[name], embed)
    assert torch.allclose(vectors, OWN, atol=1e-6)


def test_every_prompt_weighs_the_same_however_long_its_vector():
    sides = {"a x": torch.tensor([10.0, 0.0]), "b x": torch.tensor([0.0, 1.0])}
    vectors = probes.class_vectors(["x"], ["a {}", "b {}"], lambda texts: torch.stack([sides[text] for text in texts]))
    assert torch.allclose(vectors, torch.full((1, 2), 0.5**0.5))


def test_the_nearest_class_is_named():
    seen, answer = pictures(50, 1)
    assert (probes.zero_shot(seen, OWN) == answer).all()


def test_a_linear_layer_tells_apart_what_is_apart():
    (seen, answer), (held, their), (asked, right) = pictures(60, 1), pictures(30, 2), pictures(30, 3)
    said, strength = probes.linear_probe(seen, answer, held, their, asked)
    assert (said == right).mean() > 0.95
    assert strength in probes.STRENGTHS


def test_the_strength_is_chosen_on_other_rows():
    """Noise in training asks for a weak layer, and only held-out rows can tell."""
    (seen, answer), (held, their) = pictures(60, 1, spread=0.3), pictures(200, 2, spread=0.3)
    answer = np.where(np.random.default_rng(4).random(60) < 0.4, (answer + 1) % 3, answer)
    said, strength = probes.linear_probe(seen, answer, held, their, held)
    accuracies = {}
    for each in probes.STRENGTHS:
        layer = probes.LogisticRegression(C=each, max_iter=probes.ROUNDS).fit(seen.numpy(), answer)
        accuracies[each] = (layer.predict(held.numpy()) == their).mean()
    assert accuracies[strength] == max(accuracies.values()) == (said == their).mean()
    assert strength < max(probes.STRENGTHS)


def test_one_class_cannot_be_told_apart():
    with pytest.raises(ValueError, match="two classes"):
        probes.linear_probe(
            torch.ones(3, 2), np.zeros(3, dtype=np.int64), torch.ones(1, 2), np.zeros(1), torch.ones(1, 2)
        )
