from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from care.evaluation.cosine import EDGES, cosine_histogram, mean_cosine


def pairs(angles: list[float]) -> tuple[Tensor, Tensor]:
    """Vectors of different lengths with these angles between them."""
    one = torch.tensor([[float(index + 1), 0.0] for index in range(len(angles))])
    other = torch.tensor([[3 * math.cos(angle), 3 * math.sin(angle)] for angle in angles])
    return one, other


def test_each_pair_is_counted_in_its_bin() -> None:
    angles = [0.0, 0.1, 0.1, 1.0, 2.0, math.pi]
    counts = cosine_histogram(*pairs(angles))
    assert counts.sum() == len(angles)
    for angle in angles:
        cosine = math.cos(angle)
        place = min(int((cosine + 1) / 2 * len(counts)), len(counts) - 1)
        assert counts[place] >= 1
    assert counts[-1] == 3  # 1, 0.995, 0.995
    assert counts[0] == 1
    assert (EDGES[0], EDGES[-1], len(EDGES)) == (-1, 1, len(counts) + 1)


def test_rounding_beyond_one_is_counted() -> None:
    same = torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    assert cosine_histogram(same, 1e-3 * same)[-1] == 500


def test_mean() -> None:
    angles = [0.0, 1.0, 2.0]
    expected = sum(map(math.cos, angles)) / 3
    assert mean_cosine(*pairs(angles)) == pytest.approx(expected)
