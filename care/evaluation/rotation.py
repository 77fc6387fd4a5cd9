"""How closely an augmentation acts as a rotation of the embeddings (CARE.md section 2).

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

# Squared distance below which float32 cannot tell whether two points of the sphere differ.
_STILL = 1e-12


def best_rotation(embeddings: Tensor, augmented: Tensor) -> Tensor:
    """R* = argmin over R in SO(d) of ‖R F - F_a‖_F, by the SVD of F_a Fᵀ.

    Args:
        embeddings: f(x_i) as rows, the columns of F, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].

    Returns:
        A rotation, float64 [d,d], for column vectors.
    """
    U, _, Vt = torch.linalg.svd(double(augmented).T @ double(embeddings))
    signs = torch.ones_like(U[0])
    signs[-1] = torch.linalg.det(U @ Vt).sign()
    rotation: Tensor = (U * signs) @ Vt
    return rotation


def wahba(embeddings: Tensor, augmented: Tensor) -> float:
    """The Wahba residual W_f(a) = min over R in SO(d) of ‖R F - F_a‖_F; 0 for a rotation.

    It grows with √N.

    Args:
        embeddings: f(x_i) as rows, [N,d].
        augmented: f(a(x_i)) as rows, [N,d].
    """
    rotated = double(embeddings) @ best_rotation(embeddings, augmented).T
    return float(torch.linalg.matrix_norm(rotated - double(augmented)))


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
    Where the denominator vanishes so does the numerator: an augmentation that moves neither of two
    images by more than float32's rounding (squared distances sum to 1e-12 at most) counts as 0.

    Args:
        embeddings: f(x) of the clean images, [N,d] on the unit sphere, N >= 2.
        augmented: f(a(x)), each a shared by all images, [A,N,d].
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
        ratios.append(ratio.where(denominator > _STILL, 0.0))
    values = torch.cat(ratios)
    return Gamma(float(values.mean()), float(_median(values)))


class RotationMeasures:
    """Wahba residual and γ_f of one feature space, an augmentation at a time.

    Features are normalized to the unit sphere first.
    """

    def __init__(self, features: Tensor, gamma_images: int) -> None:
        """Begin with the un-augmented images.

        Args:
            features: Of the clean images, [N,F].
            gamma_images: γ_f is measured on this many of them, the first ones.
        """
        self._clean = fn.normalize(features, dim=1)
        self._gamma_images = gamma_images
        self._residuals: list[float] = []
        self._augmented: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Take the features [N,F] of the same images under one shared augmentation."""
        augmented = fn.normalize(features, dim=1)
        self._residuals.append(wahba(self._clean, augmented))
        self._augmented.append(augmented[: self._gamma_images])

    def summary(self) -> dict[str, float]:
        """``wahba`` and ``wahba_per_sqrt_n``, means over augmentations, and ``gamma(_median)``."""
        relative = gamma(self._clean[: self._gamma_images], torch.stack(self._augmented))
        residual = sum(self._residuals) / len(self._residuals)
        return {
            "wahba": residual,
            "wahba_per_sqrt_n": residual / math.sqrt(len(self._clean)),
            "gamma": relative.mean,
            "gamma_median": relative.median,
        }


def _squared_distances(points: Tensor) -> Tensor:
    """‖x' - x‖² of all pairs, [N,N], for points [N,d]."""
    norms = points.square().sum(1)
    return norms.unsqueeze(1) + norms - 2 * points @ points.T


def _median(values: Tensor) -> Tensor:
    """The median, which torch gives as the lower of the two middle values."""
    return (values.median() - (-values).median()) / 2
