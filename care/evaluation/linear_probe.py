"""Linear probes of frozen, standardized features: a class, and a hue.

Both are fitted in float64 to the minimum of a convex problem, so they have no learning rate, no
random number and no last epoch. Features come from eval-mode BatchNorm (docs/paper.md §3: the
authors' probe lets it drift).
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

# A feature that varies by less than float32's rounding of its mean carries rounding, no signal.
_RELATIVE_NOISE = 1e-6
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Standardization:
    """Mean 0 and variance 1 on the training features; constant features become 0 everywhere.

    Attributes:
        mean: float64 [F].
        inverse_std: 1 / standard deviation, float64 [F]; 0 for a constant feature.
    """

    mean: Tensor
    inverse_std: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Self:
        """The standardization of float64 ``features`` [N,F]."""
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
        standardization: Of the features it was fitted to.
        weight: float64 [outputs,F].
        bias: float64 [outputs].
    """

    standardization: Standardization
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Outputs, float64 [N,outputs], for features [N,F]: logits, or a regression's values."""
        return self.standardization(features) @ self.weight.T + self.bias


class ProbeInputs:
    """Training features, standardized once for all probes that are fitted to them.

    Attributes:
        standardization: Of the features.
        values: Standardized, float64 [N,F].
    """

    def __init__(self, features: Tensor) -> None:
        """Take float features [N,F]."""
        self.standardization = Standardization.fit(double(features))
        self.values = self.standardization(features)

    @cached_property
    def covariance(self) -> Tensor:
        """float64 [F,F]."""
        return self.values.T @ self.values / len(self.values)

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """The covariance's eigenvalues [F], 0 below their rounding, and eigenvectors [F,F]."""
        values, vectors = torch.linalg.eigh(self.covariance)
        rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
        return torch.where(values > rounding, values, 0.0), vectors

    def ridge(self, right: Tensor, l2: float) -> Tensor:
        """The solution of (covariance + l2) · x = right [F,outputs]; of least norm for l2 = 0."""
        values, vectors = self._axes
        damped = values + l2
        inverse = torch.where(damped > 0, 1 / damped, 0.0)
        return vectors @ (inverse.unsqueeze(1) * (vectors.T @ right))

    def probe(self, weight: Tensor, bias: Tensor) -> LinearProbe:
        """A probe of the same features."""
        return LinearProbe(self.standardization, weight, bias)


def fit_classifier(features: Tensor | ProbeInputs, labels: Tensor, l2: float) -> LinearProbe:
    """Fit multinomial logistic regression: min over W, b of mean cross-entropy + l2/2 ‖W‖².

    The result is that of scikit-learn's ``LogisticRegression(C=1 / (l2 * N))`` on standardized
    features. Newton steps end when no entry of the gradient exceeds 1e-8, or after 50 of them.
    Without a penalty the optimum of separable classes lies at infinity; the fit then stops far out.

    Args:
        features: Features of a frozen network, float [N,F].
        labels: Classes, int64 [N], 0 and up.
        l2: Penalty per sample, >= 0; the bias has none.

    Returns:
        A probe, which maps features [M,F] to logits, float64 [M,classes].

    Example:
        >>> features, classes = torch.eye(2), torch.tensor([1, 0])
        >>> fit_classifier(features, classes, l2=0.01)(features).argmax(1).tolist()
        [1, 0]
    """
    inputs = _prepared(features)
    labels = labels.to(inputs.values.device)
    found = minimize(inputs.values, labels, l2, inputs.covariance, _TOLERANCE)
    return inputs.probe(found[:, :-1], found[:, -1])


def fit_regression(features: Tensor | ProbeInputs, targets: Tensor, l2: float) -> LinearProbe:
    """Ridge regression: min over W, b of mean ½‖y - Wx - b‖² + l2/2 ‖W‖², in closed form.

    scikit-learn's ``Ridge(alpha=l2 * N)`` on standardized features.

    Args:
        features: Float [N,F].
        targets: Float [N,outputs].
        l2: Penalty per sample, >= 0; the bias has none. Without one and with dependent features
            it is the solution of least norm.
    """
    inputs = _prepared(features)
    targets = double(targets).to(inputs.values.device)
    bias = targets.mean(0)
    against = inputs.values.T @ (targets - bias) / len(targets)
    return inputs.probe(inputs.ridge(against, l2).T, bias)


def _prepared(features: Tensor | ProbeInputs) -> ProbeInputs:
    return features if isinstance(features, ProbeInputs) else ProbeInputs(features)


def hue_r2(
    train: Tensor | ProbeInputs, train_hue: Tensor, test: Tensor, test_hue: Tensor, l2: float
) -> float:
    """How well a linear map reads the hue: R² on the test set, mean over its cosine and sine.

    Args:
        train: Features [N,F].
        train_hue: Hue in turns of the color circle [N], which has no jump from 1 to 0.
        test: Features [M,F].
        test_hue: Likewise [M], not all equal.
        l2: As in :func:`fit_regression`.

    Returns:
        At most 1; 0 for a map that says the mean always, below for a worse one.

    Raises:
        UndefinedError: The hue's cosine or sine is the same in all test samples.
    """
    outputs = fit_regression(train, _on_circle(train_hue), l2)(test)
    return r2(outputs, _on_circle(test_hue).to(outputs.device), "hue")


def r2(predicted: Tensor, targets: Tensor, of: str = "target") -> float:
    """1 - SSE / SST for each column of ``targets`` [M,outputs], then the mean over columns.

    Args:
        predicted: Float [M,outputs].
        targets: Float [M,outputs].
        of: The targets' name, for the reason.

    Raises:
        UndefinedError: A column does not vary, so that SST is 0.
    """
    errors = (targets - predicted).square().sum(0)
    spread = (targets - targets.mean(0)).square().sum(0)
    if not bool((spread > 0).all()):
        raise UndefinedError(
            f"R² of the {of} is not measured: the {of} is the same in all test samples"
        )
    return float((1 - errors / spread).mean())


def _on_circle(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * double(turns)
    return torch.stack([angle.cos(), angle.sin()], dim=1)
