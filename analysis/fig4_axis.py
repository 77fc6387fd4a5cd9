"""Fig 4: the error of a protein's first principal axis, predicted from its embedding."""

from __future__ import annotations

from analysis.bars import draw_bars
from analysis.figure_data import Drawn, FigureData


def draw(data: FigureData) -> Drawn:
    """Draw a bar for each method."""
    return draw_bars(data, "axis")
