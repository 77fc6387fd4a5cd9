"""Measures and losses make every tensor on the device of their inputs.

Without a second device at hand, ``meta`` as the default one shows it: a tensor made without a
device would land there, and could neither be mixed with the inputs nor be read.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as fn

from care.evaluation.few_labels import classify_episode
from care.evaluation.knn import knn_accuracy
from care.evaluation.linear_probe import fit_classifier, hue_r2
from care.evaluation.mlp_probe import MlpProbe
from care.evaluation.normalized_wahba import NormalizedWahba
from care.evaluation.ranking import rank_views
from care.evaluation.rotation import RotationMeasures, gamma, wahba
from care.objectives.alignment import alignment, positive_cosine, uniformity
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce

POINTS = fn.normalize(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), dim=1)
MOVED = POINTS.roll(1, 0)
LABELS = torch.arange(12) % 3
HUE = torch.arange(12) / 12


def rotation_summary() -> dict[str, float]:
    measures = RotationMeasures(POINTS, gamma_images=5)
    measures.add(MOVED)
    return {**measures.wahba(), **measures.gamma()}


def normalized_summary() -> dict[str, float]:
    measures = NormalizedWahba(POINTS, pair_images=9)
    measures.add(MOVED, torch.arange(12, device="cpu").roll(5))
    return {name: value for part in measures.measures() for name, value in part().items()}


MEASURES: dict[str, Callable[[], object]] = {
    "infonce": lambda: float(infonce(POINTS, MOVED, 0.5)),
    "equivariance": lambda: float(equivariance_loss(POINTS, MOVED, 3, "authors")),
    "alignment": lambda: float(alignment(POINTS, MOVED)),
    "uniformity": lambda: float(uniformity(POINTS)),
    "positive_cosine": lambda: float(positive_cosine(POINTS, MOVED)),
    "knn": lambda: knn_accuracy(POINTS, LABELS, MOVED, LABELS, 3, 0.5),
    "probe": lambda: fit_classifier(POINTS, LABELS, 1e-3)(MOVED).tolist(),
    "hue": lambda: hue_r2(POINTS, HUE, MOVED, HUE, 1e-3),
    "wahba": lambda: wahba(POINTS, MOVED),
    "gamma": lambda: gamma(POINTS, MOVED.unsqueeze(0)),
    "rotation": rotation_summary,
    "normalized": normalized_summary,
    "ranking": lambda: rank_views(MOVED.view(3, 4, 4), POINTS.view(3, 4, 4)),
    "episode": lambda: float(classify_episode(POINTS.view(3, 4, 4), 1)),
    "perceptron": lambda: MlpProbe(POINTS, MOVED)(POINTS).tolist(),
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_tensor_is_made_where_the_inputs_are(name: str) -> None:
    expected = MEASURES[name]()
    with torch.device("meta"):
        assert MEASURES[name]() == expected
