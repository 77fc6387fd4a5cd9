"""Figs 11 to 16: cosines of positive pairs, at the end and over the training."""

from __future__ import annotations

from analysis.figure_data import Drawn, FigureData, Picture, describe_missing, not_measured
from analysis.histograms import draw_histograms
from analysis.labels import CURVES
from analysis.learning_curves import draw_over_epochs

_METRIC = "heldout/positive_cosine"
_PAIRS = "The cosine of two independently augmented views of a test sample, after the training. "
_MEANS = "Its mean after each epoch. Thin lines are seeds, thick lines their means."


def draw(data: FigureData) -> Drawn:
    """Draw the histogram of the cosines for each loss, and the curve of their mean."""
    known = data.arrays(f"{data.space}/cosine_positive")
    pictures = []
    if known:
        figure, scales = draw_histograms(data, known)
        pictures.append(Picture("positives-histogram", figure, _PAIRS + scales))
    left_out = describe_missing(data, "The histogram of positive pairs' cosines", known)
    if _METRIC in data.curves:
        curves = draw_over_epochs(data.comparison, data.curves, (_METRIC,))
        pictures.append(Picture("positives-curves", curves, _MEANS))
    else:
        left_out += not_measured("The curve", str(CURVES[_METRIC])).left_out
    return Drawn(pictures, left_out)
