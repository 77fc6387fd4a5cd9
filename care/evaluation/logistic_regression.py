"""Fit multinomial logistic regression to its minimum by Newton's method with conjugate gradients.

The problem is min over W, b of mean cross-entropy + l2/2 ‖W‖². It is convex, so the minimum does
not depend on the method, and the gradient bounds the distance to it. The method is Newton-CG
(Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.1). Its preconditioner is the
Hessian at zero, (I - 11ᵀ/C)/C ⊗ covariance + l2: features of an encoder correlate so strongly that
methods without one take hundreds of steps. Steps are solved in float32, since any descent direction
suffices, until one fails. Outputs, gradient and step lengths are float64.

Outputs are stored by class, [C,N]: products with the inputs [N,F] and sums over classes are then
several times faster than by sample. Equal inputs give equal bits: no additions are atomic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_STEPS = 50
_MAX_PRODUCTS = 250  # of the Hessian with a vector, per step
# A step is solved to a residual of this share of the gradient, or, nearer the minimum, of
# (gradient / first gradient) ** _TIGHTENING; both chosen on features of CIFAR-10 and digits.
_LOOSEST, _TIGHTENING = 0.2, 0.3
_ENOUGH = 0.5  # of the tolerance: a smaller residual would not pay off
# A line search ends where the slope is at most this share of the initial one.
_FLAT = 0.5
_MAX_LINE_SEARCH_STEPS = 30


def minimize(
    inputs: Tensor,
    labels: Tensor,
    l2: float,
    covariance: Tensor,
    tol: float,
    start: Tensor | None = None,
) -> Tensor:
    """Compute weights and biases at the minimum.

    Args:
        inputs: float64 [N,F], with mean 0.
        labels: Classes, int64 [N], 0 and up.
        l2: Penalty per sample, >= 0; the bias has none. Without a penalty the minimum of separable
            classes is at infinity; the method then stops far out.
        covariance: inputsᵀ inputs / N, float64 [F,F].
        tol: Largest allowed entry of the gradient. 50 steps may not reach it for nearly separable
            classes and l2 of 1e-8 or less.
        start: Weights and biases to start from, [C,F+1], e.g. of another penalty; zeros by default.

    Returns:
        float64 [C,F+1], the biases last.
    """
    classes = int(labels.max()) + 1
    exact, hessian = _Objective(inputs, labels, l2), _Objective(inputs.float(), labels, l2)
    inverse = _inverse_hessian_at_zero(covariance, classes, l2)
    shape = (classes, inputs.shape[1] + 1)
    weights = inputs.new_zeros(shape) if start is None else start.clone()
    outputs = exact.outputs(weights)
    first = None
    for _ in range(_MAX_STEPS):
        probabilities = outputs.softmax(0)
        gradient = exact.gradient(weights, probabilities)
        largest = float(gradient.abs().max())
        if not largest > tol:  # written so that NaN ends the loop, too
            break
        first = first or largest
        share = min(_LOOSEST, (largest / first) ** _TIGHTENING)
        goal = max(share * largest, _ENOUGH * tol)
        step, solved = _newton_step(hessian, gradient, probabilities, inverse, goal)
        if not solved and hessian is not exact:
            hessian = exact  # for all later steps, too, for which float32 does not suffice either
            step, _ = _newton_step(hessian, gradient, probabilities, inverse, goal)
        moved = exact.outputs(step)
        slope = float((gradient * step).sum())
        if not slope < 0:
            break
        curvature = float((exact.penalty(step) * step).sum())
        length = _line_search(outputs, moved, probabilities, slope, curvature)
        weights += length * step
        outputs += length * moved
    return weights


def _inverse_hessian_at_zero(covariance: Tensor, classes: int, l2: float) -> Tensor:
    """Invert the Hessian's block at zero, equal for all classes, float64 [F+1,F+1].

    Directions with less variance than float32's rounding get that much.
    """
    curvature = covariance / classes
    float32 = torch.finfo(torch.float32)
    curvature.diagonal().add_(l2 + float32.eps * curvature.trace() + float32.tiny)
    inverse = covariance.new_zeros(len(covariance) + 1, len(covariance) + 1)
    inverse[:-1, :-1] = torch.cholesky_inverse(torch.linalg.cholesky_ex(curvature).L)
    inverse[-1, -1] = classes  # the bias decouples, as inputs have mean 0
    return inverse


@dataclass(frozen=True)
class _Objective:
    """Derivatives of the minimized function.

    Attributes:
        inputs: float [N,F].
        labels: Classes, int64 [N].
        l2: Penalty per sample.
    """

    inputs: Tensor
    labels: Tensor
    l2: float

    def outputs(self, weights: Tensor) -> Tensor:
        """Compute the outputs [C,N] of ``weights`` [C,F+1]."""
        return torch.addmm(weights[:, -1:], weights[:, :-1], self.inputs.T)

    def gradient(self, weights: Tensor, probabilities: Tensor) -> Tensor:
        """Compute the gradient [C,F+1] at ``weights`` with their ``probabilities`` [C,N]."""
        own = self.labels.unsqueeze(0)
        errors = probabilities.scatter(0, own, probabilities.gather(0, own) - 1)
        return self._mean_over_samples(errors) + self.penalty(weights)

    def curvature(self, direction: Tensor, probabilities: Tensor) -> Tensor:
        """Multiply the Hessian at ``probabilities`` [C,N] with a direction [C,F+1]."""
        weighted = self.outputs(direction).mul_(probabilities)
        weighted -= probabilities * weighted.sum(0)
        return self._mean_over_samples(weighted) + self.penalty(direction)

    def penalty(self, weights: Tensor) -> Tensor:
        """Compute the penalty's gradient [C,F+1]."""
        gradient = self.l2 * weights
        gradient[:, -1] = 0
        return gradient

    def _mean_over_samples(self, values: Tensor) -> Tensor:
        """Average values [C,N] times inputs, and values alone for the bias, [C,F+1]."""
        sums = torch.cat([values @ self.inputs, values.sum(1, keepdim=True)], dim=1)
        return sums / len(self.inputs)


def _newton_step(
    objective: _Objective, gradient: Tensor, probabilities: Tensor, inverse: Tensor, goal: float
) -> tuple[Tensor, bool]:
    """Solve Hessian · step = -gradient in the precision of the objective's inputs.

    Args:
        objective: The minimized function.
        gradient: Gradient at the start of the step, float64 [C,F+1].
        probabilities: Probabilities at the start of the step, [C,N].
        inverse: Preconditioner, float64 [F+1,F+1].
        goal: Largest allowed entry of the residual.

    Returns:
        The step, float64 [C,F+1], always a descent direction; and whether the goal was reached.
    """
    dtype = objective.inputs.dtype
    probabilities, inverse = probabilities.to(dtype), inverse.to(dtype)
    residual = -gradient.to(dtype)
    step, solved = torch.zeros_like(residual), False
    direction = residual @ inverse
    product = (residual * direction).sum()
    for _ in range(_MAX_PRODUCTS):
        curved = objective.curvature(direction, probabilities)
        curvature = (direction * curved).sum()
        if not float(curvature) > 0:  # no curvature left at this precision
            break
        length = product / curvature
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
    outputs: Tensor, moved: Tensor, probabilities: Tensor, slope: float, curvature: float
) -> float:
    """Find the length of a step at which the slope of the convex function nearly vanishes.

    One-dimensional Newton's method, kept inside the interval that contains the minimum. Outputs are
    linear in the weights, so an iteration needs no product with the inputs.

    Args:
        outputs: Outputs at the start of the step, [C,N].
        moved: Change of the outputs over a step of length 1, [C,N].
        probabilities: Probabilities at the start of the step, [C,N].
        slope: Slope at the start of the step, < 0.
        curvature: Second derivative of the penalty.
    """
    count = outputs.shape[1]
    low, high, length = 0.0, math.inf, 1.0
    for _ in range(_MAX_LINE_SEARCH_STEPS):
        current = (outputs + length * moved).softmax(0)
        rest = slope + float(((current - probabilities) * moved).sum()) / count + length * curvature
        if abs(rest) <= _FLAT * abs(slope):
            break
        low, high = (length, high) if rest < 0 else (low, length)
        weighted = current * moved
        variance = float((weighted * moved).sum() - weighted.sum(0).square().sum()) / count
        length -= rest / (variance + curvature) if variance + curvature > 0 else -length
        if not low < length < high:
            length = (low + high) / 2 if high < math.inf else 2 * low
    return length
