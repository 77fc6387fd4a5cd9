"""How closely an augmentation acts as a rotation of the embeddings (docs/paper.md §2).

Embeddings are expected on the unit sphere; :class:`RotationMeasures` normalizes features that are
not, as the encoder's. Everything is computed in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from care.evaluation.features import double
from care.evaluation.results import UndefinedError

# Squared distance below which float32 cannot tell whether two points of the sphere differ.
_STILL = 1e-12


class BestRotations(NamedTuple):
    """argmin over R of ‖R F - F_a‖_F, float64 [d,d] for column vectors.

    Unique only where the embeddings span R^d.

    Attributes:
        proper: Over SO(d), as printed.
        orthogonal: Over O(d), of which Prop 1 speaks; the same matrix where its determinant is 1.
    """

    proper: Tensor
    orthogonal: Tensor


def best_rotations(embeddings: Tensor, augmented: Tensor) -> BestRotations:
    """Both by one SVD of F_a Fᵀ.

    Args:
        embeddings: f(x_i) as rows, the columns of F, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].
    """
    U, _, Vt = torch.linalg.svd(double(augmented).T @ double(embeddings))
    orthogonal: Tensor = U @ Vt
    signs = torch.ones_like(U[0])
    signs[-1] = torch.linalg.det(orthogonal).sign()
    return BestRotations((U * signs) @ Vt, orthogonal)


def residual(rotation: Tensor, embeddings: Tensor, augmented: Tensor) -> float:
    """‖R F - F_a‖_F for a rotation [d,d] and embeddings as rows, [N,d]."""
    rotated = double(embeddings) @ rotation.T
    return float(torch.linalg.matrix_norm(rotated - double(augmented)))


def wahba(embeddings: Tensor, augmented: Tensor) -> float:
    """The Wahba residual W_f(a) = min over R in SO(d) of ‖R F - F_a‖_F; 0 for a rotation.

    It grows with √N.

    Args:
        embeddings: f(x_i) as rows, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].
    """
    return residual(best_rotations(embeddings, augmented).proper, embeddings, augmented)


class Gamma(NamedTuple):
    """Relative rotational equivariance; lower is better, 0 if augmentations act as isometries.

    Attributes:
        mean: γ_f, the mean of the ratio over pairs and augmentations, as printed.
        median: Their median. The ratio has no upper bound where a pair hardly moves, so a few
            pairs can carry the mean.
    """

    mean: float
    median: float


def gamma(embeddings: Tensor, augmented: Tensor) -> Gamma:
    """γ_f over all pairs x != x' of the images and all augmentations.

    The ratio is (‖f(a(x'))-f(a(x))‖² - ‖f(x')-f(x)‖²)² / (‖f(a(x'))-f(x')‖² + ‖f(a(x))-f(x)‖²)².
    The ratio is 0/0 where an augmentation moves neither of two images by more than float32's
    rounding (squared distances sum to 1e-12 at most): such a pair is left out.

    Args:
        embeddings: f(x) of the clean images, [N,d] on the unit sphere, N >= 2.
        augmented: f(a(x)), each a shared by all images, [A,N,d].

    Raises:
        UndefinedError: Fewer than half of the pairs move.
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
        ratios.append(ratio[~(denominator <= _STILL)])  # NaN is no pair that does not move
    values, pairs = torch.cat(ratios), len(rows) * len(augmented)
    if 2 * len(values) < pairs:
        still = pairs - len(values)
        raise UndefinedError(
            f"γ_f is not measured: augmentations do not move {still:,} of {pairs:,} pairs (0/0)"
        )
    return Gamma(float(values.mean()), float(_median(values)))


class RotationMeasures:
    """Wahba residuals and γ_f of one feature space, an augmentation at a time.

    Features are normalized to the unit sphere first.

    Attributes:
        residuals: W_f(a) / √N over SO(d), of each augmentation.
        residuals_o: The same over O(d).
    """

    def __init__(self, features: Tensor, gamma_images: int) -> None:
        """Begin with the un-augmented images.

        Args:
            features: Of the clean images, [N,F].
            gamma_images: γ_f is measured on this many of them, the first ones.
        """
        self._clean = fn.normalize(features, dim=1)
        self._gamma_images = gamma_images
        self.residuals: list[float] = []
        self.residuals_o: list[float] = []
        self._augmented: list[Tensor] = []

    def add(self, features: Tensor) -> Tensor:
        """Take the features [N,F] of the same images under one shared augmentation.

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
        """γ_f of each augmentation; NaN where it is not defined."""
        return [self._gamma_of(augmented) for augmented in self._augmented]

    def _gamma_of(self, augmented: Tensor) -> float:
        try:
            return gamma(self._clean[: self._gamma_images], augmented.unsqueeze(0)).mean
        except UndefinedError:
            return math.nan

    def wahba(self) -> dict[str, float]:
        """Means over augmentations.

        Returns:
            ``wahba``, and as multiples of √N ``wahba_per_sqrt_n`` and, over O(d),
            ``wahba_o_per_sqrt_n``.
        """
        residual = sum(self.residuals) / len(self.residuals)
        return {
            "wahba": residual * math.sqrt(len(self._clean)),
            "wahba_per_sqrt_n": residual,
            "wahba_o_per_sqrt_n": sum(self.residuals_o) / len(self.residuals_o),
        }

    def gamma(self) -> dict[str, float]:
        """``gamma`` and ``gamma_median`` over all augmentations.

        Raises:
            UndefinedError: As :func:`gamma`.
        """
        relative = gamma(self._clean[: self._gamma_images], torch.stack(self._augmented))
        return {"gamma": relative.mean, "gamma_median": relative.median}


def _squared_distances(points: Tensor) -> Tensor:
    """‖x' - x‖² of all pairs, [N,N], for points [N,d]."""
    norms = points.square().sum(1)
    return norms.unsqueeze(1) + norms - 2 * points @ points.T


def _median(values: Tensor) -> Tensor:
    """The median, which torch gives as the lower of the two middle values."""
    return (values.median() - (-values).median()) / 2
