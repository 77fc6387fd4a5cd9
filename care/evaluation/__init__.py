"""Measures of a frozen network: class and color readout, rotation, composition, pose.

Networks run in eval mode without gradients. All randomness is fixed and no network is changed, so
one network gives equal numbers, bit for bit.

Exported here are the functions of tensors alone, which measure embeddings from any training loop
(docs/your-own-loop.md). :func:`care.evaluation.evaluate.evaluate` measures a whole trial.
"""

from __future__ import annotations

from care.evaluation.composition import Composition, composition_error, spans
from care.evaluation.cosine import mean_cosine
from care.evaluation.effective_rank import effective_rank
from care.evaluation.knn import knn_accuracy, knn_predict
from care.evaluation.linear_probe import LinearProbe, fit_classifier
from care.evaluation.normalized_wahba import equivariance_over_random, wahba_over_movement
from care.evaluation.pose import circularity
from care.evaluation.ranking import Ranking, rank_views
from care.evaluation.results import UndefinedError
from care.evaluation.rotation import (
    BestRotations,
    Gamma,
    best_rotations,
    gamma,
    residual,
    wahba,
)

__all__ = [
    "BestRotations",
    "Composition",
    "Gamma",
    "LinearProbe",
    "Ranking",
    "UndefinedError",
    "best_rotations",
    "circularity",
    "composition_error",
    "effective_rank",
    "equivariance_over_random",
    "fit_classifier",
    "gamma",
    "knn_accuracy",
    "knn_predict",
    "mean_cosine",
    "rank_views",
    "residual",
    "spans",
    "wahba",
    "wahba_over_movement",
]
