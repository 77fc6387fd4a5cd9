"""Losses, one method a module.

Exported here are the pure functions: tensors in, a scalar out, no state and no configuration. They
need nothing else of this project; docs/your-own-loop.md adds two of them to a plain PyTorch loop.
Autocast is off inside of them, and half-precision embeddings are widened to float32.

The functions ``alignment`` and ``infonce`` hide their modules as attributes of this package.
``from care.objectives.alignment import …`` works as usual.
"""

from __future__ import annotations

from care.objectives.alignment import alignment, negatives_energy, positive_cosine, uniformity
from care.objectives.barlow_twins import barlow_twins_loss, cross_correlation
from care.objectives.byol import byol_loss
from care.objectives.equivariance import equivariance_loss
from care.objectives.infonce import infonce
from care.objectives.moco import queue_infonce
from care.objectives.vicreg import covariance_energy, missing_variance, vicreg_loss

__all__ = [
    "alignment",
    "barlow_twins_loss",
    "byol_loss",
    "covariance_energy",
    "cross_correlation",
    "equivariance_loss",
    "infonce",
    "missing_variance",
    "negatives_energy",
    "positive_cosine",
    "queue_infonce",
    "uniformity",
    "vicreg_loss",
]
