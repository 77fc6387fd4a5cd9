from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from care.config import MocoConfig
from care.models import Network
from care.objectives.moco import MoCo, queue_infonce
from care.objectives.view import View
from care.system.rng import generator
from care.training.trainer import Trainer
from tests.helpers.points import points, shuffled, sphere
from tests.helpers.stepping import BATCH, QUEUE, inputs_of, terms_of, trainer

COUNTS = {"count": st.integers(1, 5), "kept": st.integers(1, 6), "seed": st.integers(0, 1000)}


def brute_force(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> float:
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):

        def similarity(other: list[float], query: list[float] = query) -> float:
            inner = sum(a * b for a, b in zip(query, other, strict=True))
            return math.exp(inner / temperature)

        negatives = sum(similarity(other) for other in queue.tolist())
        total -= math.log(similarity(key) / (similarity(key) + negatives))
    return total / len(queries)


def moco(made: Trainer) -> MoCo:
    assert isinstance(made.objective.base, MoCo)
    return made.objective.base


@settings(deadline=None)
@given(**COUNTS, temperature=st.floats(0.05, 2.0))
def test_equals_the_formula(count: int, kept: int, seed: int, temperature: float) -> None:
    queries, keys, queue = sphere(count, 3, seed), sphere(count, 3, seed + 1), sphere(kept, 3, 7)
    loss = queue_infonce(queries, keys, queue, temperature)
    assert float(loss) == pytest.approx(brute_force(queries, keys, queue, temperature), rel=1e-10)


@settings(deadline=None)
@given(**COUNTS)
def test_no_order_matters(count: int, kept: int, seed: int) -> None:
    queries, keys, queue = sphere(count, 3, seed), sphere(count, 3, seed + 1), sphere(kept, 3, 7)
    batch, old = shuffled(count, seed), shuffled(kept, seed)
    loss = queue_infonce(queries, keys, queue, 0.1)
    assert float(queue_infonce(queries[batch], keys[batch], queue[old], 0.1)) == pytest.approx(
        float(loss), rel=1e-12
    )


def test_a_steps_keys_replace_the_oldest() -> None:
    made = trainer("moco")
    base = moco(made)
    expected = base.queue.clone()
    for step in range(QUEUE // BATCH + 1):  # the last one begins anew
        keys = base.encoder.network(inputs_of(made, step)["view-2"])
        terms_of(made, step)
        made.objective.after_step(made.network, 0.1)
        start = step * BATCH % len(expected)
        expected[start : start + BATCH] = keys
        torch.testing.assert_close(base.queue, expected)


def test_negatives_begin_as_points_of_the_sphere_and_the_seed_decides() -> None:
    queues = [moco(trainer("moco", seed=seed)).queue for seed in (0, 0, 1)]
    torch.testing.assert_close(queues[0].norm(dim=1), torch.ones(QUEUE))
    assert torch.equal(queues[0], queues[1])
    assert not torch.equal(queues[0], queues[2])


def test_the_encoder_is_the_moving_average() -> None:
    made = trainer("moco")
    start = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    average = {name: value.double() for name, value in start.items()}
    for step in range(4):
        with torch.no_grad():
            for parameter in made.network.parameters():
                parameter.add_(torch.ones_like(parameter) * (step + 1))
        terms_of(made, step)
        made.objective.after_step(made.network, 0.1)
        for name, p in made.network.named_parameters():
            average[name] = 0.99 * average[name] + 0.01 * p.detach().double()
    for name, p in moco(made).encoder.network.named_parameters():
        assert not p.requires_grad
        torch.testing.assert_close(p.double(), average[name], rtol=1e-5, atol=1e-6)


class Centered(nn.Module):
    """Subtracts the batch's mean, as BatchNorm does: who is in the batch shows."""

    feature_dim = 3

    def forward(self, images: Tensor) -> Tensor:
        features = images.mean((2, 3))
        return features - features.mean(0)


def test_shuffled_groups_have_statistics_of_their_own() -> None:
    network = Network(Centered(), nn.Linear(3, 4, bias=False))
    made = MoCo(MocoConfig(queue=8, shuffle_groups=2), network, seed=0)
    images = points(8, 3 * 4, 0).reshape(8, 3, 2, 2).float()
    order = generator(0, "shuffle").permutation(8)
    keys = made._embed_keys(View(images, network), torch.from_numpy(order))
    for group in (order[:4], order[4:]):
        torch.testing.assert_close(keys[group], network(images[group]))
    assert not torch.allclose(keys, network(images))
