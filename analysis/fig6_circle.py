"""Fig 6: the cosine of an embedding and its augmentation's, on the circle."""

from __future__ import annotations

from analysis.figure_data import Drawn, FigureData, Picture, describe_missing
from analysis.histograms import draw_histograms

_CAPTION = (
    "cos(f(x), f(a(x))) of the test samples x and the shared random augmentations a: "
    "1 where an augmentation leaves an embedding where it is. "
)


def draw(data: FigureData) -> Drawn:
    """Draw the histogram of cos(f(x), f(a(x))) for each method."""
    known = data.arrays(f"{data.space}/cosine_shared")
    left_out = describe_missing(data, "The histogram of cosines", known)
    if not known:
        return Drawn([], left_out)
    figure, scales = draw_histograms(data, known)
    return Drawn([Picture("circle", figure, _CAPTION + scales)], left_out)
