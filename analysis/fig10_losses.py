"""Fig 10: the accuracy of the linear probe for each loss of the ablation."""

from __future__ import annotations

from analysis.bars import draw_bars
from analysis.figure_data import Drawn, FigureData


def draw(data: FigureData) -> Drawn:
    """Draw a bar for each combination of losses."""
    return draw_bars(data, "losses")
