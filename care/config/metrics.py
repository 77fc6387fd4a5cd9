"""List the names of all metrics and measures, so that a sweep cannot name a misspelt one."""

from __future__ import annotations

from care.config.objective import settings_of
from care.registry import DATA, MEASURES, MONITORED, OBJECTIVES, SUITES

_TRAINING = ("train/equimod", "train/equivariance", "train/positive_cosine", "learning_rate")


def epoch_metrics() -> tuple[str, ...]:
    """List the metrics that a trial may report after an epoch."""
    terms = (term for name in OBJECTIVES for term in settings_of(name).terms)
    return (
        "train/loss",
        *dict.fromkeys(f"train/{term}" for term in terms),
        *_TRAINING,
        *monitored_metrics(),
    )


def monitored_metrics() -> tuple[str, ...]:
    """List the metrics of ``evaluation.monitor``, whether a trial measures them or not."""
    return tuple(metric for entry in MONITORED.values() for metric in entry.names)


def final_measures() -> tuple[str, ...]:
    """List the final measures, computed once from the frozen network.

    A trial has those that its data and ``evaluation`` admit. Transfers to data sets without a fixed
    path are left out; see :func:`is_final_measure`.
    """
    measures = (name for entry in MEASURES.values() for name in entry.names)
    transfers = (
        f"encoder/transfer_{name}"
        for name, data in DATA.items()
        if data.kind == "images" and not data.needs_path
    )
    return (*measures, *transfers, *(f"encoder/transfer_{suite}" for suite in SUITES))


def is_final_measure(name: str) -> bool:
    """Check whether ``name`` is a final measure.

    The transfer to a data set without a fixed path has the path in its name:
    ``encoder/transfer_images_photos``.
    """
    if name in final_measures():
        return True
    located = (data for data, entry in DATA.items() if entry.needs_path)
    return name.startswith(tuple(f"encoder/transfer_{data}_" for data in located))


COLLAPSE_METRIC = "heldout/uniformity"
"""Metric of the last epoch that detects collapse."""
COLLAPSE = 0.9
"""Uniformity from which on embeddings count as nearly collapsed.

log E exp(f(x)·f(x')) is 1 for one point and 1/(2d) for evenly spread embeddings. At 0.9 the mean
squared distance of two embeddings is between 0.2 and 0.44 (chord and Jensen bounds of exp), against
2 for evenly spread ones. Untrained networks lie above 0.9. Every objective that avoids collapse
falls below it within two epochs on digits (docs/method.md has the numbers).
"""


def is_collapsed(uniformity: float | None) -> bool:
    """Check whether embeddings of this uniformity are nearly collapsed; False if unknown."""
    return uniformity is not None and uniformity >= COLLAPSE
