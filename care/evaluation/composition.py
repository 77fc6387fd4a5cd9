"""Whether augmentations compose as their rotations do (docs/paper.md §1 and §2, Cor 1).

The paper proves R_{a'∘a} = R_{a'} R_a for a perfectly equivariant f and never measures it; how it
is measured and scaled here is ours [A].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from care.evaluation.features import double


class Composition(NamedTuple):
    """How far R_{a'} R_a is from R_{a'∘a}; 0 where augmentations compose as rotations do.

    Attributes:
        matrices: ‖R_{a'∘a} - R_{a'} R_a‖_F / √(2d), which is 1 on average for two unrelated
            rotations of R^d. Directions in which there are hardly any embeddings count like others.
        on_data: ‖(R_{a'∘a} - R_{a'} R_a) F‖_F / √n, in [0, 2]: the same where the embeddings are.
    """

    matrices: float
    on_data: float


def composition_error(clean: Tensor, first: Tensor, second: Tensor, both: Tensor) -> Composition:
    """The error for one pair of augmentations.

    Args:
        clean: f(x_i) as rows, [n,d] on the unit sphere.
        first: R_a, the best rotation for a, float64 [d,d].
        second: R_{a'}.
        both: R_{a'∘a}, for a and then a'.
    """
    difference = both - second @ first
    count, dim = clean.shape
    moved = double(clean) @ difference.T
    return Composition(
        float(torch.linalg.matrix_norm(difference)) / math.sqrt(2 * dim),
        float(torch.linalg.matrix_norm(moved)) / math.sqrt(count),
    )


def spans(embeddings: Tensor) -> bool:
    """Whether embeddings [n,d] span R^d, without which the best rotation is not unique.

    Directions that hold less than float32's rounding of the largest one count as empty.
    """
    rank = torch.linalg.matrix_rank(
        double(embeddings), rtol=max(embeddings.shape) * torch.finfo(torch.float32).eps
    )
    return int(rank) == embeddings.shape[1]
