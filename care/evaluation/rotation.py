"""Measure how closely an augmentation acts as a rotation of the embeddings (docs/paper.md §2).

Embeddings are expected on the unit sphere. :class:`RotationMeasures` normalizes features that are
not, such as the encoder's. Everything is computed in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import double
from care.evaluation.results import UndefinedError

# Squared distance below which float32 cannot distinguish two points of the sphere.
_STILL = 1e-12


class BestRotations(NamedTuple):
    """Minimizers of ‖R F - F_a‖_F, float64 [d,d], to be multiplied with column vectors.

    They are unique only if the embeddings span R^d.

    Attributes:
        proper: The minimizer in SO(d), as the paper prints it.
        orthogonal: The minimizer in O(d), as in Proposition 1; equal to ``proper`` if its
            determinant is 1.
    """

    proper: Tensor
    orthogonal: Tensor


def best_rotations(embeddings: Tensor, augmented: Tensor) -> BestRotations:
    """Solve Wahba's problem over SO(d) and O(d) by one SVD of F_a Fᵀ.

    With F_a Fᵀ = U Σ Vᵀ they are U diag(1, …, 1, det U · det V) Vᵀ and U Vᵀ (docs/paper.md §2).

    Args:
        embeddings: f(x_i) as rows, the columns of F, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].

    Example:
        >>> f = torch.eye(2)
        >>> quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> best_rotations(f, f @ quarter_turn.T).proper.round(decimals=6).tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    U, _, Vt = torch.linalg.svd(double(augmented).T @ double(embeddings))
    orthogonal: Tensor = U @ Vt
    signs = torch.ones_like(U[0])
    signs[-1] = torch.linalg.det(orthogonal).sign()
    return BestRotations((U * signs) @ Vt, orthogonal)


def residual(rotation: Tensor, embeddings: Tensor, augmented: Tensor) -> float:
    """Compute ‖R F - F_a‖_F.

    Args:
        rotation: R, float64 [d,d].
        embeddings: f(x_i) as rows, the columns of F, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].

    Returns:
        The residual, >= 0; on the unit sphere at most 2 √N.

    Example:
        >>> f = torch.eye(2)
        >>> residual(torch.eye(2, dtype=torch.float64), f, f)
        0.0
    """
    rotated = double(embeddings) @ rotation.T
    return float(torch.linalg.matrix_norm(rotated - double(augmented)))


def wahba(embeddings: Tensor, augmented: Tensor) -> float:
    """Compute the Wahba residual W_f(a) = min over R in SO(d) of ‖R F - F_a‖_F.

    It grows with √N: divide by √N to compare sets of different size (docs/paper.md §2).

    Args:
        embeddings: f(x_i) as rows, the columns of F, [N,d] on the unit sphere.
        augmented: f(a(x_i)) as rows, under one augmentation a for all images, [N,d].

    Returns:
        The residual in [0, 2 √N]; 0 where a acts as a rotation.

    Example:
        >>> f = torch.eye(3)
        >>> round(wahba(f, f.roll(1, dims=1)), 6)  # a permutation of even sign is a rotation
        0.0
        >>> round(wahba(f, -f), 6)  # in three dimensions -1 is none; two axes can be turned
        2.0
    """
    return residual(best_rotations(embeddings, augmented).proper, embeddings, augmented)


class Gamma(NamedTuple):
    """Relative rotational equivariance; lower is better, 0 if augmentations act as isometries.

    Attributes:
        mean: γ_f, the mean of the ratio over pairs and augmentations, as printed.
        median: Median of the ratio. A pair that hardly moves has an unbounded ratio, so a few pairs
            can dominate the mean.
    """

    mean: float
    median: float


def gamma(embeddings: Tensor, augmented: Tensor) -> Gamma:
    """Average γ_f's ratio over all pairs x != x' of the images and all augmentations.

    The ratio is (‖f(a(x'))-f(a(x))‖² - ‖f(x')-f(x)‖²)² / (‖f(a(x'))-f(x')‖² + ‖f(a(x))-f(x)‖²)²
    (docs/paper.md §2). It is 0/0 where an augmentation moves neither image by more than float32's
    rounding. Such a pair, whose squared distances sum to 1e-12 at most, is left out.

    Args:
        embeddings: f(x) of the clean images, [N,d] on the unit sphere, N >= 2.
        augmented: f(a(x)), each a shared by all images, [A,N,d].

    Raises:
        UndefinedError: Fewer than half of the pairs move.

    Example:
        >>> f = torch.eye(3)
        >>> gamma(f, f.roll(1, dims=1).unsqueeze(0)).mean  # a rotation keeps all distances
        0.0
        >>> collapsed = f[:1].expand(3, 3)  # an augmentation that moves all to one point
        >>> round(gamma(f, collapsed.unsqueeze(0)).mean, 4)  # 1, 1 and (2 / 4)²
        0.75
    """
    clean = double(embeddings)
    rows, columns = torch.triu_indices(len(clean), len(clean), 1, device=clean.device)
    distances = _squared_distances(clean)[rows, columns]
    ratios = []
    for moved in double(augmented):
        shift = (moved - clean).square().sum(1)
        denominator = shift[rows] + shift[columns]
        numerator = _squared_distances(moved)[rows, columns] - distances
        ratio = (numerator / denominator).square()
        ratios.append(ratio[~(denominator <= _STILL)])  # keeps NaN, which must not be hidden
    values, pairs = torch.cat(ratios), len(rows) * len(augmented)
    if 2 * len(values) < pairs:
        still = pairs - len(values)
        raise UndefinedError(
            f"γ_f is not measured: augmentations do not move {still:,} of {pairs:,} pairs (0/0)"
        )
    return Gamma(float(values.mean()), float(_median(values)))


class RotationMeasures:
    """Accumulates Wahba residuals and γ_f of one feature space, one augmentation after the other.

    Features are normalized to the unit sphere first.

    Attributes:
        residuals: W_f(a) / √N over SO(d), for each augmentation.
        residuals_o: W_f(a) / √N over O(d), for each augmentation.
    """

    def __init__(self, features: Tensor, gamma_images: int) -> None:
        """Start with the images without augmentation.

        Args:
            features: Features of the clean images, [N,F].
            gamma_images: Number of images, the first ones, on which γ_f is measured.
        """
        self._clean = fn.normalize(features, dim=1)
        self._gamma_images = gamma_images
        self.residuals: list[float] = []
        self.residuals_o: list[float] = []
        self._augmented: list[Tensor] = []

    def add(self, features: Tensor) -> Tensor:
        """Add the features [N,F] of these images under one shared augmentation.

        Returns:
            The best rotation in SO(F), float64 [F,F].
        """
        augmented = fn.normalize(features, dim=1)
        best, root = best_rotations(self._clean, augmented), math.sqrt(len(augmented))
        self.residuals.append(residual(best.proper, self._clean, augmented) / root)
        self.residuals_o.append(residual(best.orthogonal, self._clean, augmented) / root)
        self._augmented.append(augmented[: self._gamma_images])
        return best.proper

    def gammas(self) -> list[float]:
        """Compute γ_f of each augmentation; NaN if undefined."""
        return [self._gamma_of(augmented) for augmented in self._augmented]

    def _gamma_of(self, augmented: Tensor) -> float:
        try:
            return gamma(self._clean[: self._gamma_images], augmented.unsqueeze(0)).mean
        except UndefinedError:
            return math.nan

    def wahba(self) -> dict[str, float]:
        """Compute the mean residuals over augmentations.

        Returns:
            ``wahba``; divided by √N ``wahba_per_sqrt_n`` and, over O(d), ``wahba_o_per_sqrt_n``.
        """
        residual = sum(self.residuals) / len(self.residuals)
        return {
            "wahba": residual * math.sqrt(len(self._clean)),
            "wahba_per_sqrt_n": residual,
            "wahba_o_per_sqrt_n": sum(self.residuals_o) / len(self.residuals_o),
        }

    def gamma(self) -> dict[str, float]:
        """Compute ``gamma`` and ``gamma_median`` over all augmentations.

        Raises:
            UndefinedError: See :func:`gamma`.
        """
        relative = gamma(self._clean[: self._gamma_images], torch.stack(self._augmented))
        return {"gamma": relative.mean, "gamma_median": relative.median}


def _squared_distances(points: Tensor) -> Tensor:
    """Compute ‖x' - x‖² of all pairs, [N,N], for points [N,d]."""
    norms = points.square().sum(1)
    return norms.unsqueeze(1) + norms - 2 * points @ points.T


def _median(values: Tensor) -> Tensor:
    """Compute the median; torch's is the lower of two middle values."""
    return (values.median() - (-values).median()) / 2
