from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from care.evaluation import knn
from care.evaluation.knn import knn_accuracy, knn_predict


def draw(count: int, dim: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64)


def brute_force(train: Tensor, labels: Tensor, query: Tensor, k: int, temperature: float) -> int:
    def cosine(other: Tensor) -> float:
        return float(query @ other) / math.sqrt(float(query @ query) * float(other @ other))

    ranked = sorted(((cosine(x), int(y)) for x, y in zip(train, labels, strict=True)), reverse=True)
    votes = [0.0] * (int(labels.max()) + 1)
    for similarity, label in ranked[:k]:
        votes[label] += math.exp(similarity / temperature)
    return votes.index(max(votes))


@settings(deadline=None)
@given(
    count=st.integers(3, 12),
    k=st.integers(1, 15),
    temperature=st.floats(0.05, 1.0),
    seed=st.integers(0, 1000),
)
def test_equals_the_loop(count: int, k: int, temperature: float, seed: int) -> None:
    """Also where k is larger than the number of samples, which then all vote."""
    train, test = draw(count, 3, seed), draw(5, 3, seed + 1)
    labels = torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))
    expected = [brute_force(train, labels, query, k, temperature) for query in test]
    assert knn_predict(train, labels, test, k, temperature).tolist() == expected


def test_near_neighbors_weigh_more_than_many_far_ones() -> None:
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[1.0, 0.1]])
    assert knn_predict(train, labels, query, 3, temperature=0.1).item() == 0
    assert knn_predict(train, labels, query, 3, temperature=10.0).item() == 1


def test_small_temperature_does_not_overflow() -> None:
    train, labels = torch.eye(3), torch.tensor([2, 0, 1])
    assert knn_predict(train, labels, torch.eye(3), 3, temperature=1e-4).tolist() == [2, 0, 1]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = draw(20, 4, 0), draw(11, 4, 1)
    labels = torch.arange(20) % 4
    whole = knn_predict(train, labels, test, 5, 0.5)
    monkeypatch.setattr(knn, "_CHUNK", 3)
    assert torch.equal(knn_predict(train, labels, test, 5, 0.5), whole)


def test_accuracy_is_the_share_of_right_predictions() -> None:
    train, labels = torch.eye(4), torch.arange(4)
    wrong_at_one = torch.tensor([0, 1, 2, 0])
    assert knn_accuracy(train, labels, torch.eye(4), wrong_at_one, 1, 0.5) == 0.75
