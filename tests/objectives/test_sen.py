from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.objectives.sen import SEN
from care.training.trainer import Trainer
from tests.helpers.layers import Array, contrast, double
from tests.helpers.stepping import inputs_of, terms_of, trainer


def embedded(made: Trainer) -> tuple[Array, Array, Array]:
    """Both views' projections, and the mapped ones of the first."""
    base, inputs = made.objective.base, inputs_of(made)
    assert isinstance(base, SEN)
    p1, p2 = (double(made.network.embed(inputs[f"view-{i}"]).projection) for i in (1, 2))
    weight, bias = double(base.predictor.layer.weight), double(base.predictor.layer.bias)
    matrices = (double(inputs["difference"]) @ weight.T + bias).reshape(-1, 16, 16)
    return p1, p2, np.stack([m @ x for m, x in zip(matrices, p1, strict=True)])


def test_by_default_predictions_are_contrasted_with_embeddings() -> None:
    """SimCLROnlyEqui of SIE's models.py."""
    made = trainer("sen")
    _, p2, mapped = embedded(made)
    expected = contrast(mapped, p2, 0.1)
    assert terms_of(made)["train/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_the_energy_form_is_the_papers_hinge_loss() -> None:
    """contrastive_loss of its authors' model.py, with their hinge 1 and σ 0.5."""
    made = trainer("sen-energy")
    p1, p2, mapped = embedded(made)
    order = double(inputs_of(made)["negatives"]).astype(int)
    assert sorted(order) == list(range(32))
    near = (0.5 / 0.5**2 * ((p1 + mapped - p2) ** 2).sum(1)).mean()
    apart = 0.5 / 0.5**2 * ((p1 - p1[order]) ** 2).sum(1)
    far = np.maximum(0, 1 - apart).mean()
    terms = terms_of(made)
    assert terms["train/prediction"].item() == pytest.approx(near, rel=1e-5)
    assert terms["train/hinge"].item() == pytest.approx(far, rel=1e-5)
    assert terms["train/loss"].item() == pytest.approx(near + far, rel=1e-5)


@pytest.mark.parametrize("name", ["augself", "essl", "sie", "sen", "stl"])
def test_point_clouds_have_no_such_augmentations(name: str, refused: Any) -> None:
    tree = {
        "data": {"name": "proteins"},
        "model": {"encoder": "deep_sets"},
        "objective": {"name": name},
    }
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == ("objective.name", name)
    assert "as 'proteins' are point clouds" in problem.allowed
    assert "vicreg" in problem.allowed
    assert name not in problem.allowed.split(", as")[0].split(", ")
