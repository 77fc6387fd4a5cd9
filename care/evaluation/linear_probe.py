"""Fit linear probes of frozen, standardized features: classification and regression.

Both are fitted in float64 to the minimum of a convex problem, without learning rate, random numbers
or epochs. Features come from eval-mode BatchNorm (docs/paper.md §3: that of the authors' probe
drifts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from care.evaluation.features import double
from care.evaluation.logistic_regression import minimize
from care.evaluation.results import UndefinedError

# A feature whose deviation is below float32's rounding of its mean carries no signal.
_RELATIVE_NOISE = 1e-6
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Standardization:
    """Scaling to mean 0 and variance 1 on the training features; constant features become 0.

    Attributes:
        mean: Mean of each feature, float64 [F].
        inverse_std: 1 / standard deviation, float64 [F]; 0 for a constant feature.
    """

    mean: Tensor
    inverse_std: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Self:
        """Fit the standardization of features, float64 [N,F]."""
        std, mean = torch.std_mean(features, dim=0, correction=0)
        constant = std <= _RELATIVE_NOISE * mean.abs()
        return cls(mean, torch.where(constant, 0.0, 1 / std))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardize features [N,F] of any float type, to float64."""
        return (double(features) - self.mean) * self.inverse_std


@dataclass(frozen=True)
class LinearProbe:
    """A linear map of standardized features.

    Attributes:
        standardization: Standardization of the training features.
        weight: float64 [outputs,F].
        bias: float64 [outputs].
    """

    standardization: Standardization
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Compute logits or regression values, float64 [N,outputs], of features [N,F]."""
        return self.standardization(features) @ self.weight.T + self.bias


class ProbeInputs:
    """Training features, standardized once for several probes.

    Attributes:
        standardization: Standardization of the features.
        values: Standardized features, float64 [N,F].
    """

    def __init__(self, features: Tensor) -> None:
        """Standardize float features [N,F]."""
        self.standardization = Standardization.fit(double(features))
        self.values = self.standardization(features)

    @cached_property
    def covariance(self) -> Tensor:
        """Covariance of the standardized features, float64 [F,F]."""
        return self.values.T @ self.values / len(self.values)

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues [F] of the covariance, 0 below rounding, and its eigenvectors [F,F]."""
        values, vectors = torch.linalg.eigh(self.covariance)
        rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
        return torch.where(values > rounding, values, 0.0), vectors

    def ridge(self, right: Tensor, l2: float) -> Tensor:
        """Solve (covariance + l2) · x = right, [F,outputs]; with least norm for l2 = 0."""
        values, vectors = self._axes
        damped = values + l2
        inverse = torch.where(damped > 0, 1 / damped, 0.0)
        return vectors @ (inverse.unsqueeze(1) * (vectors.T @ right))

    def probe(self, weight: Tensor, bias: Tensor) -> LinearProbe:
        """Build a probe of these features."""
        return LinearProbe(self.standardization, weight, bias)


def fit_classifier(
    features: Tensor | ProbeInputs, labels: Tensor, l2: float, tolerance: float = _TOLERANCE
) -> LinearProbe:
    """Fit multinomial logistic regression: min over W, b of mean cross-entropy + l2/2 ‖W‖².

    The result is that of scikit-learn's ``LogisticRegression(C=1 / (l2 * N))`` on standardized
    features. Newton steps end when no entry of the gradient exceeds ``tolerance``, or after 50. The
    optimum of separable classes without a penalty is at infinity; the fit then stops far out.

    Args:
        features: Features of a frozen network, float [N,F].
        labels: Classes, int64 [N], 0 and up.
        l2: Penalty per sample, >= 0; the bias has none.
        tolerance: Largest allowed entry of the gradient.

    Returns:
        A probe, which maps features [M,F] to logits, float64 [M,classes].

    Example:
        >>> features, classes = torch.eye(2), torch.tensor([1, 0])
        >>> fit_classifier(features, classes, l2=0.01)(features).argmax(1).tolist()
        [1, 0]
    """
    inputs = _to_inputs(features)
    labels = labels.to(inputs.values.device)
    weights = minimize(inputs.values, labels, l2, inputs.covariance, tolerance)
    return inputs.probe(weights[:, :-1], weights[:, -1])


def fit_regression(features: Tensor | ProbeInputs, targets: Tensor, l2: float) -> LinearProbe:
    """Fit ridge regression in closed form: min over W, b of mean ½‖y - Wx - b‖² + l2/2 ‖W‖².

    The result is that of scikit-learn's ``Ridge(alpha=l2 * N)`` on standardized features.

    Args:
        features: Float [N,F].
        targets: Float [N,outputs].
        l2: Penalty per sample, >= 0; the bias has none. With l2 = 0 and dependent features the
            solution has least norm.
    """
    inputs = _to_inputs(features)
    targets = double(targets).to(inputs.values.device)
    bias = targets.mean(0)
    cross_covariance = inputs.values.T @ (targets - bias) / len(targets)
    return inputs.probe(inputs.ridge(cross_covariance, l2).T, bias)


def _to_inputs(features: Tensor | ProbeInputs) -> ProbeInputs:
    return features if isinstance(features, ProbeInputs) else ProbeInputs(features)


def hue_r2(
    train: Tensor | ProbeInputs, train_hue: Tensor, test: Tensor, test_hue: Tensor, l2: float
) -> float:
    """Measure how well a linear map predicts the hue: test R², mean over its cosine and sine.

    Args:
        train: Features [N,F].
        train_hue: Hue in turns of the color circle [N].
        test: Features [M,F].
        test_hue: Hue in turns [M], not all equal.
        l2: Penalty, see :func:`fit_regression`.

    Returns:
        At most 1; 0 for a constant prediction of the mean, negative for a worse one.

    Raises:
        UndefinedError: The hue's cosine or sine is constant over the test samples.
    """
    # Cosine and sine have no jump between the hues 1 and 0.
    outputs = fit_regression(train, _to_circle(train_hue), l2)(test)
    return r2(outputs, _to_circle(test_hue).to(outputs.device), "hue")


def r2(predicted: Tensor, targets: Tensor, of: str = "target") -> float:
    """Compute R² = 1 - SSE / SST, as the mean over the columns of the targets.

    Args:
        predicted: Float [M,outputs].
        targets: Float [M,outputs].
        of: Name of the targets, for the error.

    Raises:
        UndefinedError: A column is constant, so that SST is 0.
    """
    errors = (targets - predicted).square().sum(0)
    spread = (targets - targets.mean(0)).square().sum(0)
    if not bool((spread > 0).all()):
        raise UndefinedError(
            f"R² of the {of} is not measured: the {of} is constant over the test samples"
        )
    return float((1 - errors / spread).mean())


def _to_circle(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * double(turns)
    return torch.stack([angle.cos(), angle.sin()], dim=1)
