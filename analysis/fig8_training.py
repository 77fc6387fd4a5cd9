"""Fig 8: invariance and equivariance over the training."""

from __future__ import annotations

from analysis.figure_data import Drawn, FigureData, Picture, not_measured
from analysis.labels import CURVES
from analysis.learning_curves import draw_over_epochs

_METRICS = ("heldout/alignment", "heldout/gamma")
_CAPTION = (
    "L_inv and γ_f on held-out samples after each epoch. "
    "Thin lines are seeds, thick lines their means."
)


def draw(data: FigureData) -> Drawn:
    """Draw L_inv and γ_f on held-out samples."""
    metrics = [name for name in _METRICS if name in data.curves]
    if not metrics:
        return not_measured("The curves", " and ".join(str(CURVES[name]) for name in _METRICS))
    figure = draw_over_epochs(data.comparison, data.curves, metrics)
    return Drawn([Picture("training", figure, _CAPTION)])
