"""Collect the measures of rotation, composition and cosines in one feature space."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.composition import (
    Composition,
    composition_error,
    composition_over_movement,
    rotation_movement,
    spans,
)
from care.evaluation.cosine import EDGES, cosine_histogram
from care.evaluation.features import has_directions, is_one_point
from care.evaluation.normalized_wahba import NormalizedWahba
from care.evaluation.results import Results, UndefinedError
from care.evaluation.rotation import RotationMeasures, best_rotations
from care.system.rng import generator

# γ_f compares all pairs: 1,000 images give 499,500 per augmentation.
GAMMA_IMAGES = 1000
NO_DIRECTION = (
    "features of length 0, or too long for float32, have no direction on the sphere: rotation, "
    "composition and cosines are not measured"
)
_ONE_POINT = (
    "all {} held-out embeddings are one point, so how augmentations rotate them is not measured: "
    "collapse"
)


class SpaceMeasures:
    """Accumulates the measures of one feature space, one augmentation after the other."""

    def __init__(self, name: str, clean: Tensor, *, normalized: bool = False) -> None:
        """Start with the samples without augmentation.

        Args:
            name: Name of the space, the prefix of its measures.
            clean: Features [N,F].
            normalized: Also measure what is relative to a model of chance.
        """
        self.name = name
        self.clean = fn.normalize(clean, dim=1)
        self.without_direction = not has_directions(clean)
        self.shared = RotationMeasures(clean, GAMMA_IMAGES)
        self.named = RotationMeasures(clean, GAMMA_IMAGES)
        self.cosines = np.zeros(len(EDGES) - 1, dtype=np.int64)
        self.rotations: list[Tensor] = []
        self.compositions: list[Composition] = []
        self.movements: list[float] = []
        # One point has no principal axes.
        measurable = normalized and not self.without_direction and not is_one_point(self.clean)
        self.normalized = NormalizedWahba(self.clean, GAMMA_IMAGES) if measurable else None

    def add(self, features: Tensor) -> None:
        """Add the features [N,F] under the next random augmentation."""
        self.without_direction |= not has_directions(features)
        self.rotations.append(self.shared.add(features))
        self.cosines += cosine_histogram(self.clean, features)
        if self.normalized is not None:
            rng = generator(0, "pairing", len(self.shared.residuals))
            pairing = torch.from_numpy(rng.permutation(len(features)))
            self.normalized.add(fn.normalize(features, dim=1), pairing)

    def compose(self, both: Tensor) -> None:
        """Add the features under the first and then the last augmentation since the last call."""
        composed = best_rotations(self.clean, fn.normalize(both, dim=1)).proper
        pair = self.rotations[0], self.rotations[-1]
        self.compositions.append(composition_error(self.clean, *pair, composed))
        self.movements.append(sum(rotation_movement(self.clean, rotation) for rotation in pair))
        self.rotations = []

    def results(self) -> Results:
        """Return all defined measures with their details, and notes on the undefined ones."""
        if self.without_direction:
            return Results(notes=[f"{self.name}: {NO_DIRECTION}"])
        results = Results(details={f"{self.name}/cosine_shared": self.cosines})
        if is_one_point(self.clean):
            results.notes.append(f"{self.name}: {_ONE_POINT.format(len(self.clean))}")
            return results
        results.measures |= {f"{self.name}/{name}": v for name, v in self.shared.wahba().items()}
        results.measure(self.name, self.shared.gamma)
        results.measure(self.name, self._composition)
        if self.normalized is not None:
            for compute in (*self.normalized.measures(), self._composition_over_movement):
                results.measure(self.name, compute)
            for name, values in self.normalized.details().items():
                results.details[f"{self.name}/{name}"] = values
        details = {
            "wahba": np.array(self.shared.residuals),
            "wahba_o": np.array(self.shared.residuals_o),
            "named_wahba": np.array(self.named.residuals),
            "named_wahba_o": np.array(self.named.residuals_o),
            "named_gamma": np.array(self.named.gammas()),
        }
        results.details |= {f"{self.name}/{name}": values for name, values in details.items()}
        return results

    def _composition(self) -> dict[str, float]:
        if not spans(self.clean):
            raise UndefinedError(_not_identifiable(*self.clean.shape))
        return {
            "composition": _mean([error.matrices for error in self.compositions]),
            "composition_on_data": _mean([error.on_data for error in self.compositions]),
        }

    def _composition_over_movement(self) -> dict[str, float]:
        if not spans(self.clean):  # noted by the composition error
            return {}
        errors = [error.on_data for error in self.compositions]
        return {"composition_over_movement": composition_over_movement(errors, self.movements)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _not_identifiable(count: int, dim: int) -> str:
    return (
        f"the {count} held-out embeddings do not span all {dim} dimensions, so the best "
        "rotation is not unique: its residual is valid, composition is not measured"
    )
