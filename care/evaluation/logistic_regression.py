"""Multinomial logistic regression to its minimum, by Newton steps from conjugate gradients.

The problem is min over W, b of mean cross-entropy + l2/2 ‖W‖². It is convex, so its minimum does
not depend on how it is found, and a gradient says how near it is. The method is Newton-CG (Nocedal
and Wright, Numerical Optimization, 2nd ed., algorithm 7.1). Its preconditioner is the Hessian at
zero, (I - 11ᵀ/C)/C ⊗ covariance + l2: features of an encoder correlate so strongly that methods
without one take hundreds of steps. Steps are found in float32, as any direction downhill will do,
until one cannot be; outputs, gradient and the lengths of steps are float64.

Outputs are kept by class, [C,N]: products with the inputs [N,F] and sums over classes are then
several times as fast as by sample. Equal inputs give equal bits: no additions are atomic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_STEPS = 50
_MAX_PRODUCTS = 250  # of the Hessian with a vector, for a step
# A step's equations are solved up to this share of the gradient, or, nearer the minimum, to
# (gradient / first gradient) ** _TIGHTENING; both chosen on features of CIFAR-10 and digits.
_LOOSEST, _TIGHTENING = 0.2, 0.3
_ENOUGH = 0.5  # of the tolerance: to solve them any better would be in vain
# A line search ends where the slope is at most this share of what it was.
_FLAT = 0.5
_MAX_TRIALS = 30


def minimize(inputs: Tensor, labels: Tensor, l2: float, covariance: Tensor, tol: float) -> Tensor:
    """Weights and biases at the minimum.

    Args:
        inputs: float64 [N,F], of mean 0.
        labels: Classes, int64 [N], 0 and up.
        l2: Penalty per sample, >= 0; the bias has none. Without one the minimum of separable
            classes lies at infinity; this stops far out.
        covariance: inputsᵀ inputs / N, float64 [F,F].
        tol: No entry of the gradient is larger, unless 50 steps do not suffice, as may be for
            classes that are nearly separable with next to no penalty (l2 of 1e-8 and less).

    Returns:
        float64 [C,F+1], the biases last.
    """
    classes = int(labels.max()) + 1
    exact, hessian = _Objective(inputs, labels, l2), _Objective(inputs.float(), labels, l2)
    inverse = _inverse_hessian_at_zero(covariance, classes, l2)
    weights = inputs.new_zeros(classes, inputs.shape[1] + 1)
    outputs = exact.outputs(weights)
    first = None
    for _ in range(_MAX_STEPS):
        probabilities = outputs.softmax(0)
        gradient = exact.gradient(weights, probabilities)
        largest = float(gradient.abs().max())
        if not largest > tol:  # so that NaN ends it, too
            break
        first = first or largest
        share = min(_LOOSEST, (largest / first) ** _TIGHTENING)
        goal = max(share * largest, _ENOUGH * tol)
        step, solved = _newton_step(hessian, gradient, probabilities, inverse, goal)
        if not solved and hessian is not exact:
            hessian = exact  # for good: float32 will not do for the steps to come, either
            step, _ = _newton_step(hessian, gradient, probabilities, inverse, goal)
        moved = exact.outputs(step)
        slope = float((gradient * step).sum())
        if not slope < 0:
            break
        bend = float((exact.penalty(step) * step).sum())
        length = _line_search(outputs, moved, probabilities, slope, bend)
        weights += length * step
        outputs += length * moved
    return weights


def _inverse_hessian_at_zero(covariance: Tensor, classes: int, l2: float) -> Tensor:
    """For each class the same, float64 [F+1,F+1].

    Directions in which the inputs vary by no more than float32's rounding count as if by that.
    """
    curvature = covariance / classes
    float32 = torch.finfo(torch.float32)
    curvature.diagonal().add_(l2 + float32.eps * curvature.trace() + float32.tiny)
    inverse = covariance.new_zeros(len(covariance) + 1, len(covariance) + 1)
    inverse[:-1, :-1] = torch.cholesky_inverse(torch.linalg.cholesky_ex(curvature).L)
    inverse[-1, -1] = classes  # inputs have mean 0, so that the bias is apart
    return inverse


@dataclass(frozen=True)
class _Objective:
    """The function that is minimized, by its derivatives.

    Attributes:
        inputs: float [N,F].
        labels: int64 [N].
        l2: Penalty.
    """

    inputs: Tensor
    labels: Tensor
    l2: float

    def outputs(self, weights: Tensor) -> Tensor:
        """Linear in ``weights`` [C,F+1]; [C,N]."""
        return torch.addmm(weights[:, -1:], weights[:, :-1], self.inputs.T)

    def gradient(self, weights: Tensor, probabilities: Tensor) -> Tensor:
        """[C,F+1]; ``probabilities`` [C,N] are those of ``weights``."""
        own = self.labels.unsqueeze(0)
        errors = probabilities.scatter(0, own, probabilities.gather(0, own) - 1)
        return self._mean_over_samples(errors) + self.penalty(weights)

    def curvature(self, direction: Tensor, probabilities: Tensor) -> Tensor:
        """The Hessian at ``probabilities`` times a direction [C,F+1]."""
        weighted = self.outputs(direction).mul_(probabilities)
        weighted -= probabilities * weighted.sum(0)
        return self._mean_over_samples(weighted) + self.penalty(direction)

    def penalty(self, weights: Tensor) -> Tensor:
        """The penalty's gradient [C,F+1]."""
        found = self.l2 * weights
        found[:, -1] = 0
        return found

    def _mean_over_samples(self, values: Tensor) -> Tensor:
        """Values [C,N] times inputs, and alone for the bias, [C,F+1]."""
        sums = torch.cat([values @ self.inputs, values.sum(1, keepdim=True)], dim=1)
        return sums / len(self.inputs)


def _newton_step(
    objective: _Objective, gradient: Tensor, probabilities: Tensor, inverse: Tensor, goal: float
) -> tuple[Tensor, bool]:
    """Solve Hessian · step = -gradient, computing as the objective's inputs do.

    Args:
        objective: What is minimized.
        gradient: Where the step begins, float64 [C,F+1].
        probabilities: Likewise, [C,N].
        inverse: Preconditioner, float64 [F+1,F+1].
        goal: Reached where no entry of the residual is larger.

    Returns:
        The step, float64 [C,F+1], downhill in any case; and whether the goal was reached.
    """
    dtype = objective.inputs.dtype
    probabilities, inverse = probabilities.to(dtype), inverse.to(dtype)
    residual = -gradient.to(dtype)
    step, solved = torch.zeros_like(residual), False
    direction = residual @ inverse
    product = (residual * direction).sum()
    for _ in range(_MAX_PRODUCTS):
        curved = objective.curvature(direction, probabilities)
        bend = (direction * curved).sum()
        if not float(bend) > 0:  # flat as far as can be seen in this precision
            break
        length = product / bend
        step += length * direction
        residual -= length * curved
        solved = float(residual.abs().max()) <= goal
        if solved:
            break
        conditioned = residual @ inverse
        before, product = product, (residual * conditioned).sum()
        direction = conditioned + product / before * direction
    return step.double(), solved


def _line_search(
    outputs: Tensor, moved: Tensor, probabilities: Tensor, slope: float, bend: float
) -> float:
    """How far to go along a step: where the slope of the convex function has nearly vanished.

    Outputs are linear in the weights, so a trial costs no product with the inputs. Newton's method
    in one dimension, kept inside what is known to hold the minimum.

    Args:
        outputs: Where the step begins, [C,N].
        moved: By how much the whole step moves them, [C,N].
        probabilities: Where it begins, [C,N].
        slope: Likewise, < 0.
        bend: Second derivative of the penalty.
    """
    count = outputs.shape[1]
    low, high, length = 0.0, math.inf, 1.0
    for _ in range(_MAX_TRIALS):
        there = (outputs + length * moved).softmax(0)
        here = slope + float(((there - probabilities) * moved).sum()) / count + length * bend
        if abs(here) <= _FLAT * abs(slope):
            break
        low, high = (length, high) if here < 0 else (low, length)
        weighted = there * moved
        variance = float((weighted * moved).sum() - weighted.sum(0).square().sum()) / count
        length -= here / (variance + bend) if variance + bend > 0 else -length
        if not low < length < high:
            length = (low + high) / 2 if high < math.inf else 2 * low
    return length
