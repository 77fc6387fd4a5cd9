from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from care.config import TrialConfig
from care.config.equivariant import invariant_part
from care.config.loading import validate
from care.models.projection_head import projection_head
from care.objectives.sie import SIE, split_head
from tests.conftest import TINY
from tests.helpers.layers import Array, double
from tests.helpers.points import points
from tests.helpers.stepping import inputs_of, terms_of, trainer

WEIGHTS = {
    "invariance": 10,
    "prediction": 4.5,
    "variance": 10,
    "prediction_variance": 10,
    "covariance": 1,
}


def missing(p: Array) -> float:
    return float(np.maximum(0, 1 - np.sqrt(p.var(0, ddof=1) + 1e-4)).mean())


def correlated(p: Array) -> float:
    covariance = np.cov(p.T)
    off_diagonal = covariance - np.diag(np.diag(covariance))
    return float((off_diagonal**2).sum() / p.shape[1])


def test_the_loss_is_the_authors() -> None:
    """SIE.forward of its authors' models.py, in float64; 8 of 16 dimensions are equivariant."""
    made = trainer("sie")
    base, inputs, terms = made.objective.base, inputs_of(made), terms_of(made)
    assert isinstance(base, SIE)
    p1, p2 = (double(made.network.embed(inputs[f"view-{i}"]).projection) for i in (1, 2))
    weight, bias = double(base.predictor.layer.weight), double(base.predictor.layer.bias)
    matrices = (double(inputs["difference"]) @ weight.T + bias).reshape(-1, 8, 8)
    predicted = np.stack([m @ x for m, x in zip(matrices, p1[:, 8:], strict=True)])
    expected = {
        "invariance": float(((p1[:, :8] - p2[:, :8]) ** 2).mean()),
        "prediction": float(((predicted - p2[:, 8:]) ** 2).mean()),
        "variance": (missing(p1) + missing(p2)) / 2,
        "prediction_variance": missing(predicted) / 2,
        "covariance": correlated(p1) + correlated(p2),
    }
    for name, value in expected.items():
        assert terms[f"train/{name}"].item() == pytest.approx(value, rel=1e-5), name
    total = sum(WEIGHTS[name] * value for name, value in expected.items())
    assert terms["train/loss"].item() == pytest.approx(total, rel=1e-5)


def test_a_split_head_is_two_heads_side_by_side() -> None:
    head = projection_head(10, 6, 4).double()
    split_head(head, 0.3)
    one, two = (layer for layer in head if isinstance(layer, nn.Linear))
    first, second = one.weight, two.weight
    x = points(16, 10, 0)
    whole = head(x)
    for features, hidden, outputs in (
        (slice(0, 7), slice(0, 4), slice(0, 3)),
        (slice(7, 10), slice(4, 6), slice(3, 4)),
    ):
        part = torch.relu(_standardized(x[:, features] @ first[hidden, features].T))
        alone = part @ second[outputs, hidden].T + two.bias[outputs]
        torch.testing.assert_close(whole[:, outputs], alone)


def _standardized(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def test_each_head_starts_as_wide_as_one_of_its_size() -> None:
    """torch draws weights within 1 / √inputs."""
    torch.manual_seed(0)
    layer = nn.Linear(400, 300)
    split_head(layer, 0.25)
    inside = layer.weight.detach()
    assert inside[:225, :300].abs().max() == pytest.approx(300**-0.5, rel=1e-2)
    assert inside[225:, 300:].abs().max() == pytest.approx(100**-0.5, rel=1e-2)


@pytest.mark.parametrize("equivariance", [0.0, 0.1])
def test_the_heads_stay_apart_through_a_training(equivariance: float) -> None:
    """Also with L_equi, which goes through the whole head, and with weight decay."""
    objective = {"name": "sie", "equivariance": {"weight": equivariance, "splits": 4}}
    made = trainer("sie", objective=objective, optimizer={"weight_decay": 0.01})
    made.run_epoch()
    layers = [layer for layer in made.network.head.modules() if isinstance(layer, nn.Linear)]
    for layer, (rows, columns) in zip(layers, ((16, 48), (8, 16)), strict=True):
        weight = layer.weight
        assert not weight[:rows, columns:].any()
        assert not weight[rows:, :columns].any()
        assert weight[:rows, :columns].all()
        assert weight[rows:, columns:].all()


def test_no_part_may_be_empty(refused: Any) -> None:
    tree = {**TINY, "objective": {"name": "sie", "equivariant_share": 0.02}}
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("objective.equivariant_share", 0.02)
    assert "leaves both parts a dimension of model.head.output 16" in problem.allowed
    assert [invariant_part(512, share) for share in (0.5, 0.25)] == [256, 384]
