"""Invariance and equivariance over the training (Fig 8)."""

from __future__ import annotations

from analysis.figures import draw_over_epochs
from analysis.labels import CURVES
from analysis.paper_figures.material import Drawn, Material, Picture, not_measured

_METRICS = ("heldout/alignment", "heldout/gamma")
_CAPTION = (
    "L_inv and γ_f on held-out samples after each epoch. "
    "Thin lines are seeds, thick lines their means."
)


def training(material: Material) -> Drawn:
    """L_inv and γ_f on held-out samples."""
    metrics = [name for name in _METRICS if name in material.curves]
    if not metrics:
        return not_measured("The curves", " and ".join(str(CURVES[name]) for name in _METRICS))
    figure = draw_over_epochs(material.comparison, material.curves, metrics)
    return Drawn([Picture("training", figure, _CAPTION)])
