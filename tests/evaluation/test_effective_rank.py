"""RankMe against the paper's equations in NumPy, and its closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from care.evaluation.effective_rank import effective_rank
from care.evaluation.results import UndefinedError
from tests.helpers.points import orthogonal, points, sphere


@pytest.mark.parametrize(("count", "dim"), [(40, 7), (7, 40), (30, 30)])
def test_equals_the_paper(count: int, dim: int) -> None:
    features = points(count, dim, 0) * torch.linspace(0.1, 3, dim) + 0.5
    singular = np.linalg.svd(features.numpy(), compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(features) == pytest.approx(expected, rel=1e-9)
    assert effective_rank(features.float()) == pytest.approx(expected, rel=1e-5)


def test_is_the_number_of_equal_singular_values() -> None:
    basis = orthogonal(12, 1)
    for rank in (1, 3, 12):
        assert effective_rank(5 * basis[:, :rank] @ basis[:rank]) == pytest.approx(rank, rel=1e-4)


def test_neither_scale_nor_rotation_matters() -> None:
    features = sphere(50, 8, 2)
    turned = 1e-6 * orthogonal(50, 3) @ features @ orthogonal(8, 4)
    assert effective_rank(turned) == pytest.approx(effective_rank(features), rel=1e-9)


def test_zeros_have_no_rank() -> None:
    with pytest.raises(UndefinedError, match="all features are 0"):
        effective_rank(torch.zeros(4, 3))
