"""Barlow Twins (arXiv 2103.03230): the views' cross-correlation shall be the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from care.config import BarlowTwinsConfig
from care.objectives.base import BaseLoss, BaseObjective
from care.objectives.full_precision import full_precision
from care.objectives.view import View

_EPSILON = 1e-5  # BatchNorm's, which its authors standardize with


@full_precision
def cross_correlation(p1: Tensor, p2: Tensor) -> Tensor:
    """Compute C [d,d] of two projections, each dimension standardized over the batch.

    Args:
        p1: Projections of the first views, [N,d].
        p2: Projections of the second views of the same images, [N,d].

    Returns:
        Correlations in [-1, 1], float32, or float64 if the projections are.

    Example:
        >>> p = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> cross_correlation(p, p).round(decimals=3).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _standardize(p1).T @ _standardize(p2) / len(p1)


@full_precision
def barlow_twins_loss(p1: Tensor, p2: Tensor, off_diagonal: float) -> Tensor:
    """Sum (1 - C_ii)² over i, and off_diagonal · C_ij² over i ≠ j (arXiv 2103.03230, Eq. 1).

    C is the :func:`cross_correlation` of the two projections.

    Args:
        p1: Projections of the first views, [N,d], N >= 2; not normalized.
        p2: Projections of the second views of the same images, [N,d].
        off_diagonal: Weight of the redundancy-reduction term, >= 0.

    Returns:
        A scalar >= 0, in float32, or in float64 if the projections are.

    Example:
        >>> p = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> round(barlow_twins_loss(p, -p, off_diagonal=0.005).item(), 2)  # (1 - -1)², twice
        8.0
    """
    correlation = cross_correlation(p1, p2)
    diagonal = correlation.diagonal()
    redundancy = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * redundancy


class BarlowTwins(BaseObjective[BarlowTwinsConfig]):
    """The Barlow Twins loss of two views."""

    def forward(self, first: View, second: View) -> BaseLoss:
        """Compare the views' projections, before they are normalized to the sphere."""
        one, two = first.embedding, second.embedding
        loss = barlow_twins_loss(one.projection, two.projection, self.config.off_diagonal)
        return BaseLoss(loss, {"barlow_twins": loss}, (one.sphere, two.sphere))


def _standardize(values: Tensor) -> Tensor:
    variance, mean = torch.var_mean(values, dim=0, correction=0)
    return (values - mean) / (variance + _EPSILON).sqrt()
