"""Linear probes of frozen, standardized features: a class, and a hue.

Both are fitted in float64 to the minimum of a convex problem, so they have no learning rate, no
random number and no last epoch. Features come from eval-mode BatchNorm (CARE.md section 3: the
authors' probe lets it drift).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import double

# A feature that varies by less than float32's rounding of its mean carries rounding, no signal.
_RELATIVE_NOISE = 1e-6
_MAX_ITERATIONS = 1000


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


def fit_classifier(features: Tensor, labels: Tensor, l2: float) -> LinearProbe:
    """Multinomial logistic regression: min over W, b of mean cross-entropy + l2/2 ‖W‖².

    scikit-learn's ``LogisticRegression(C=1 / (l2 * N))`` on standardized features. Full-batch LBFGS
    from zero until no entry of the gradient exceeds 1e-6, or for 1,000 iterations. Without a
    penalty the optimum of separable classes lies at infinity; it then stops far out.

    Args:
        features: Float [N,F].
        labels: Classes, int64 [N], 0 and up.
        l2: Penalty per sample, >= 0; the bias has none.
    """
    standardization = Standardization.fit(double(features))
    inputs = standardization(features)
    labels = labels.to(inputs.device)
    classes = int(labels.max()) + 1
    weight = inputs.new_zeros(classes, inputs.shape[1], requires_grad=True)
    bias = inputs.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_MAX_ITERATIONS,
        tolerance_grad=1e-6,
        tolerance_change=1e-12,
        history_size=100,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = fn.cross_entropy(inputs @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return LinearProbe(standardization, weight.detach(), bias.detach())


def fit_regression(features: Tensor, targets: Tensor, l2: float) -> LinearProbe:
    """Ridge regression: min over W, b of mean ½‖y - Wx - b‖² + l2/2 ‖W‖², in closed form.

    scikit-learn's ``Ridge(alpha=l2 * N)`` on standardized features.

    Args:
        features: Float [N,F].
        targets: Float [N,outputs].
        l2: Penalty per sample, >= 0; the bias has none. Without one and with dependent features
            it is the solution of least norm.
    """
    standardization = Standardization.fit(double(features))
    inputs = standardization(features)
    targets = double(targets).to(inputs.device)
    bias = targets.mean(0)
    covariance = inputs.T @ inputs / len(inputs)
    covariance.diagonal().add_(l2)
    inverse = torch.linalg.pinv(covariance, hermitian=True)
    weight = (inverse @ (inputs.T @ (targets - bias)) / len(inputs)).T
    return LinearProbe(standardization, weight, bias)


def hue_r2(train: Tensor, train_hue: Tensor, test: Tensor, test_hue: Tensor, l2: float) -> float:
    """How well a linear map reads the hue: R² on the test set, mean over its cosine and sine.

    Args:
        train: Features [N,F].
        train_hue: Hue in turns of the color circle [N], which has no jump from 1 to 0.
        test: Features [M,F].
        test_hue: Likewise [M], not all equal.
        l2: As in :func:`fit_regression`.

    Returns:
        At most 1; 0 for a map that says the mean always, below for a worse one.
    """
    outputs = fit_regression(train, _on_circle(train_hue), l2)(test)
    return r2(outputs, _on_circle(test_hue).to(outputs.device))


def r2(predicted: Tensor, targets: Tensor) -> float:
    """1 - SSE / SST for each column of ``targets`` [M,outputs], then the mean over columns."""
    errors = (targets - predicted).square().sum(0)
    spread = (targets - targets.mean(0)).square().sum(0)
    return float((1 - errors / spread).mean())


def _on_circle(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * double(turns)
    return torch.stack([angle.cos(), angle.sin()], dim=1)
