"""The names of everything that a trial reports, so that a sweep cannot ask for a misspelt one."""

from __future__ import annotations

from care.registry import DATA, TREE

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

_SPACE_MEASURES = (
    "knn_accuracy",
    "probe_accuracy",
    "probe_top5",
    "hue_r2",
    "color_r2",
    "color_following",
    "axis_error",
    "wahba",
    "wahba_per_sqrt_n",
    "wahba_o_per_sqrt_n",
    "gamma",
    "gamma_median",
    "composition",
    "composition_on_data",
    "positive_cosine",
)
_ENCODER_MEASURES = (
    *(
        f"{protocol}_probe_{score}"
        for protocol in ("paper", "authors")
        for score in ("accuracy", "top5", "spread")
    ),
    *(
        f"transfer_{name}"
        for name, source in DATA.items()
        if source.kind == "images" and name != TREE
    ),
)

FINAL_MEASURES = (
    *(f"{space}/{measure}" for space in ("encoder", "head") for measure in _SPACE_MEASURES),
    *(f"encoder/{measure}" for measure in _ENCODER_MEASURES),
    "head/circularity",
)
"""Measured once, at the end, from frozen features of the head's input and of its output.

Which of them a trial has depends on its data and on ``evaluation``.
"""

COLLAPSE_METRIC = "heldout/uniformity"
"""What collapse is judged by, after the last epoch."""
COLLAPSE = 0.9
"""Uniformity from which on embeddings count as next to collapse.

log E exp(f(x)·f(x')) is 1 for one point and 1/(2d) for embeddings spread evenly. At 0.9 the mean
squared distance of two embeddings is between 0.2 and 0.44 (chord and Jensen bounds of exp), of 2
when spread evenly. Untrained networks lie above it, and every objective that avoids collapse falls
below it within two epochs on digits (docs/method.md has the numbers).
"""


def is_collapsed(uniformity: float | None) -> bool:
    """Whether embeddings of that uniformity are next to collapse; not where it is not known."""
    return uniformity is not None and uniformity >= COLLAPSE


def is_final_measure(name: str) -> bool:
    """Return whether ``name`` is a measure of the end: one above, or a transfer to a tree.

    A tree of images is named by its place: ``encoder/transfer_images_photos``.
    """
    return name in FINAL_MEASURES or name.startswith(f"encoder/transfer_{TREE}_")
