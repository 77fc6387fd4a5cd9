from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care.config import TrialConfig
from care.config.loading import validate
from care.objectives.augself import AugSelf
from care.training.trainer import Trainer
from tests.conftest import TINY
from tests.helpers.layers import contrast, double, through
from tests.helpers.stepping import inputs_of, terms_of, trainer

COLUMNS = {"crop": (0, 4), "flip": (4, 5), "color": (5, 9), "blur": (9, 10)}


def by_hand(made: Trainer) -> dict[str, float]:
    """SSObjective of its authors' trainers.py, symmetric, in float64."""
    inputs, base = inputs_of(made), made.objective.base
    assert isinstance(base, AugSelf)
    one, two = (made.network.embed(inputs[f"view-{i}"]) for i in (1, 2))
    y1, y2 = double(one.features), double(two.features)
    features = np.concatenate([np.hstack([y1, y2]), np.hstack([y2, y1])])
    names = ("forward_difference", "backward_difference")
    target = np.concatenate([double(inputs[name]) for name in names])
    terms = {"infonce": contrast(double(one.projection), double(two.projection), 0.2)}
    for kind, predictor in base.predictors.items():
        predicted, wanted = through(predictor, features), target[:, slice(*COLUMNS[kind])]
        if kind == "flip":
            chance = 1 / (1 + np.exp(-predicted))
            right = wanted * np.log(chance) + (1 - wanted) * np.log(1 - chance)
            terms[kind] = float(-right.mean())
        else:
            terms[kind] = float(((np.tanh(predicted) - wanted) ** 2).mean())
    return terms


def test_every_term_is_the_authors() -> None:
    made = trainer("augself")
    terms, expected = terms_of(made), by_hand(made)
    assert set(expected) == {"infonce", *COLUMNS}
    for name, value in expected.items():
        assert terms[f"train/{name}"].item() == pytest.approx(value, rel=1e-5), name


def test_weights_choose_what_is_predicted() -> None:
    objective = {"name": "augself", "hidden": 16, "crop": 0.5, "color": 2.0}
    made = trainer("augself", objective=objective)
    terms, expected = terms_of(made), by_hand(made)
    assert set(expected) == {"infonce", "crop", "color"}
    total = expected["infonce"] + 0.5 * expected["crop"] + 2 * expected["color"]
    assert terms["train/loss"].item() == pytest.approx(total, rel=1e-5)


def test_a_predictor_starts_alike_whatever_else_is_predicted() -> None:
    both = trainer("augself").objective.state_dict()
    alone = trainer("augself", objective={"name": "augself", "hidden": 16, "crop": 0.0})
    for name, value in alone.objective.state_dict().items():
        assert value.equal(both[name])


@pytest.mark.parametrize(
    ("kind", "augmentation"),
    [
        ("crop", {"crop": {"scale": [1.0, 1.0], "ratio": [1.0, 1.0]}}),
        ("color", {"color_jitter": {"probability": 0.0}}),
        (
            "color",
            {
                "color_jitter": {
                    "brightness": 0.0,
                    "contrast": 0.0,
                    "saturation": 0.0,
                    "hue": 0.0,
                }
            },
        ),
        ("flip", {"horizontal_flip": 1.0}),
        ("blur", {"gaussian_blur": {"probability": 0.0}}),
    ],
)
def test_what_never_varies_is_not_predicted(
    kind: str, augmentation: dict[str, Any], refused: Any
) -> None:
    objective = {"name": "augself", "crop": 0.0, "color": 0.0, kind: 0.5}
    tree = {**TINY, "objective": objective, "augmentation": augmentation}
    problem = refused(validate, TrialConfig, tree, "test")
    assert (problem.field, problem.value) == (f"objective.{kind}", 0.5)
    assert f"0, as no {kind} of augmentation." in problem.allowed


def test_augself_without_a_prediction_is_refused(refused: Any) -> None:
    objective = {"name": "augself", "crop": 0.0, "color": 0.0}
    problem = refused(validate, TrialConfig, {**TINY, "objective": objective}, "test")
    assert problem.field == "objective.crop"
    assert "greater than 0 for one of crop, color, flip, blur" in problem.allowed
