"""Effective rank of features: RankMe (Garrido et al., ICML 2023, arXiv 2210.02885)."""

from __future__ import annotations

import torch
from torch import Tensor

from care.evaluation.features import double
from care.evaluation.results import UndefinedError

_EPSILON = 1e-7  # the paper's, equation 2


def effective_rank(features: Tensor) -> float:
    """Compute RankMe: exp of the entropy of the singular values, divided by their sum.

    Equations 1 and 2 of the paper, in float64. Features are neither centered nor scaled. A value
    compares only encoders of one width, on one number of samples.

    Args:
        features: Features of a frozen network, float [N,F].

    Returns:
        1 if all features are multiples of one; at most min(N, F), for equal singular values.

    Raises:
        UndefinedError: All features are 0.

    Example:
        >>> round(effective_rank(torch.eye(4)), 4)
        4.0
    """
    values = double(features)
    rows, columns = values.shape
    gram = values @ values.T if rows < columns else values.T @ values
    spectrum = torch.linalg.eigvalsh(gram)
    rounding = len(gram) * torch.finfo(spectrum.dtype).eps * spectrum[-1]
    singular = torch.where(spectrum > rounding, spectrum, 0.0).sqrt()
    total = singular.sum()
    if not bool(total > 0):
        raise UndefinedError("the effective rank is not measured: all features are 0")
    shares = singular / total + _EPSILON
    return float((-shares * shares.log()).sum().exp())
