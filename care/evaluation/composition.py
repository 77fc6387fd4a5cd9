"""Measure whether rotations compose as their augmentations do (docs/paper.md §1 and §2, Cor 1).

The paper proves R_{a'∘a} = R_{a'} R_a for a perfectly equivariant f and does not measure it. The
measure and its scale are ours [A].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from care.evaluation.features import double
from care.evaluation.results import UndefinedError

# Mean squared distance below which float32 cannot distinguish two points of the sphere.
_STILL = 1e-12


class Composition(NamedTuple):
    """Distance of R_{a'} R_a from R_{a'∘a}; 0 where rotations compose as augmentations do.

    Attributes:
        matrices: ‖R_{a'∘a} - R_{a'} R_a‖_F / √(2d), which is 1 on average for two unrelated
            rotations of R^d. All directions count equally, even those without embeddings.
        on_data: ‖(R_{a'∘a} - R_{a'} R_a) F‖_F / √n, in [0, 2]. Only directions with embeddings
            count.
    """

    matrices: float
    on_data: float


def composition_error(clean: Tensor, first: Tensor, second: Tensor, both: Tensor) -> Composition:
    """Compare the rotation of two augmentations with the product of their rotations.

    Args:
        clean: f(x_i) as rows, [n,d] on the unit sphere.
        first: R_a, the best rotation for a, float64 [d,d].
        second: R_{a'}, the best rotation for a', float64 [d,d].
        both: R_{a'∘a}, the best rotation for a and then a', float64 [d,d].

    Best rotations: :func:`care.evaluation.rotation.best_rotations`.

    Example:
        >>> clean = torch.eye(2)
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> composition_error(clean, turn, turn, turn @ turn)
        Composition(matrices=0.0, on_data=0.0)
    """
    difference = both - second @ first
    count, dim = clean.shape
    moved = double(clean) @ difference.T
    return Composition(
        float(torch.linalg.matrix_norm(difference)) / math.sqrt(2 * dim),
        float(torch.linalg.matrix_norm(moved)) / math.sqrt(count),
    )


def rotation_movement(clean: Tensor, rotation: Tensor) -> float:
    """Compute the mean squared distance by which a rotation moves embeddings, in [0, 4].

    Args:
        clean: f(x_i) as rows, [n,d] on the unit sphere.
        rotation: float64 [d,d].

    Example:
        >>> rotation_movement(torch.eye(2), -torch.eye(2, dtype=torch.float64))
        4.0
    """
    points = double(clean)
    return float((points @ rotation.T - points).square().sum()) / len(points)


def composition_over_movement(errors: Sequence[float], movements: Sequence[float]) -> float:
    """Divide the squared composition errors by how far the composed rotations move embeddings.

    An invariant encoder has R_a = I, so its rotations compose without error. This ratio does not
    reward it.

    Args:
        errors: ``on_data`` of each pair, see :class:`Composition`.
        movements: Sum of :func:`rotation_movement` of R_a and R_{a'} of each pair.

    Returns:
        0 where rotations compose; about 1 where R_{a'∘a} has no relation to R_{a'} R_a.

    Raises:
        UndefinedError: No rotation moves an embedding.
    """
    moved = sum(movements)
    if moved <= _STILL * len(movements):
        raise UndefinedError(
            "composition relative to movement is not measured: augmentations do not move the "
            "embeddings (0/0)"
        )
    return sum(error**2 for error in errors) / moved


def spans(embeddings: Tensor) -> bool:
    """Check whether embeddings [n,d] span R^d; otherwise the best rotation is not unique.

    Directions below float32's rounding of the largest one count as empty.

    Example:
        >>> spans(torch.eye(3)), spans(torch.eye(3)[:2])
        (True, False)
    """
    rank = torch.linalg.matrix_rank(
        double(embeddings), rtol=max(embeddings.shape) * torch.finfo(torch.float32).eps
    )
    return int(rank) == embeddings.shape[1]
