"""VICReg (arXiv 2105.04906): pull views together, keep dimensions spread and uncorrelated."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as fn

from care.config import VicregConfig
from care.objectives.base import BaseLoss, BaseObjective, weighted_sum
from care.objectives.full_precision import full_precision
from care.objectives.view import View

_EPSILON = 1e-4  # inside the square root, as its authors have it


@full_precision
def missing_variance(p: Tensor) -> Tensor:
    """Average how far the standard deviation of each dimension is below 1.

    v = mean over j of max(0, 1 - √(Var p_j + 10⁻⁴)), arXiv 2105.04906, Eq. 1; unbiased variance.

    Args:
        p: Projections, [N,d], N >= 2; not normalized.

    Returns:
        A scalar in [0, 1).

    Example:
        >>> p = torch.tensor([[0.0, 3.0], [0.0, -3.0]])  # one dimension is constant
        >>> round(missing_variance(p).item(), 4)  # (0.99 + 0) / 2
        0.495
    """
    return fn.relu(1 - (p.var(0) + _EPSILON).sqrt()).mean()


@full_precision
def covariance_energy(p: Tensor) -> Tensor:
    """Sum the squared covariances of different dimensions, over d.

    c = Σ_{i≠j} C_ij² / d, C = Cov p with N - 1 in its denominator; arXiv 2105.04906, Eqs. 3 and 4.

    Args:
        p: Projections, [N,d], N >= 2; not normalized.

    Returns:
        A scalar >= 0.

    Example:
        >>> p = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])  # C is 2 everywhere
        >>> covariance_energy(p).item()  # (2² + 2²) / 2
        4.0
    """
    centered = p - p.mean(0)
    covariance = centered.T @ centered / (len(p) - 1)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal / p.shape[1]


def vicreg_loss(
    p1: Tensor, p2: Tensor, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Add the three terms of VICReg as its authors' code weighs them.

    invariance · MSE(p1, p2) + variance · (v(p1) + v(p2)) / 2 + covariance · (c(p1) + c(p2)), with
    v the :func:`missing_variance` and c the :func:`covariance_energy`. Eq. 6 of arXiv 2105.04906
    sums the first term over dimensions and halves nothing: there λ = invariance / d and
    μ = variance / 2.

    Args:
        p1: Projections of the first views, [N,d], N >= 2; not normalized.
        p2: Projections of the second views of the same images, [N,d].
        invariance: Weight >= 0, 25 in the code.
        variance: Weight >= 0, 25 in the code.
        covariance: Weight >= 0, 1 in the code.

    Returns:
        A scalar >= 0, in float32, or in float64 if the projections are.

    Example:
        >>> p = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
        >>> vicreg_loss(p, p + 1, invariance=25, variance=25, covariance=1).item()  # moved by 1
        25.0
    """
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return weighted_sum(vicreg_terms(p1, p2), weights)


def vicreg_terms(p1: Tensor, p2: Tensor) -> dict[str, Tensor]:
    """Compute ``invariance``, ``variance`` and ``covariance`` of two views' projections [N,d]."""
    return {"invariance": mean_squared_error(p1, p2), **regularizers(p1, p2)}


def regularizers(p1: Tensor, p2: Tensor) -> dict[str, Tensor]:
    """Compute ``variance`` and ``covariance`` of two views' projections [N,d]."""
    return {
        "variance": (missing_variance(p1) + missing_variance(p2)) / 2,
        "covariance": covariance_energy(p1) + covariance_energy(p2),
    }


mean_squared_error = full_precision(fn.mse_loss)


class VICReg(BaseObjective[VicregConfig]):
    """The loss of VICReg for two views, on the head's output before the sphere."""

    def forward(self, first: View, second: View) -> BaseLoss:
        """Compare the views' projections, before they are normalized to the sphere."""
        one, two = first.embedding, second.embedding
        terms = vicreg_terms(one.projection, two.projection)
        loss = weighted_sum(terms, self.config.weights)
        return BaseLoss(loss, terms, (one.sphere, two.sphere))
