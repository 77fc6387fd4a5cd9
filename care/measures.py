"""The names of everything that a trial reports, so that a sweep cannot ask for a misspelt one."""

from __future__ import annotations

EPOCH_METRICS = (
    "train/loss",
    "train/infonce",
    "train/barlow_twins",
    "train/byol",
    "train/alignment",
    "train/uniformity",
    "train/equimod",
    "train/equivariance",
    "train/positive_cosine",
    "learning_rate",
    "heldout/gamma",
    "heldout/gamma_median",
    "heldout/alignment",
    "heldout/uniformity",
    "heldout/positive_cosine",
    "heldout/equivariance",
)
"""Reported after every epoch."""

FINAL_MEASURES = tuple(
    f"{space}/{measure}"
    for space in ("encoder", "head")
    for measure in (
        "knn_accuracy",
        "probe_accuracy",
        "hue_r2",
        "wahba",
        "wahba_per_sqrt_n",
        "gamma",
        "gamma_median",
    )
)
"""Measured once, at the end, from frozen features of the head's input and of its output."""
