"""How close positive pairs are: at the end, and over the training (Figs 11 to 16)."""

from __future__ import annotations

from analysis.figures import draw_over_epochs
from analysis.labels import CURVES
from analysis.paper_figures.histograms import histograms
from analysis.paper_figures.material import Drawn, Material, Picture, not_measured, without

_METRIC = "heldout/positive_cosine"
_PAIRS = "The cosine of two independently augmented views of a test sample, after the training. "
_MEANS = "Its mean after each epoch. Thin lines are seeds, thick lines their means."


def positives(material: Material) -> Drawn:
    """The histogram of positive pairs' cosines for each loss, and the curve of their mean."""
    known = material.arrays(f"{material.space}/cosine_positive")
    pictures = []
    if known:
        figure, scales = histograms(material, known)
        pictures.append(Picture("positives-histogram", figure, _PAIRS + scales))
    left_out = without(material, "The histogram of positive pairs' cosines", known)
    if _METRIC in material.curves:
        curves = draw_over_epochs(material.comparison, material.curves, (_METRIC,))
        pictures.append(Picture("positives-curves", curves, _MEANS))
    else:
        left_out += not_measured("The curve", str(CURVES[_METRIC])).left_out
    return Drawn(pictures, left_out)
