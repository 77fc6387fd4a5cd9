"""The paper's figures in the paper's layout: a module and a line here for each.

One word names a figure in ``analysis/figN_<word>.py``, in ``experiments/paper/figN-<word>.yaml``,
as the key ``reproduces.figure`` there, and in the report's files, ``figures/paper-<word>.png``.
"""

from __future__ import annotations

from analysis import (
    fig3_trajectories,
    fig4_axis,
    fig5_wahba,
    fig6_circle,
    fig7_lambda,
    fig8_training,
    fig9_flowers,
    fig10_losses,
    fig11_positives,
)
from analysis.figure_data import Draw

FIGURES: dict[str, Draw] = {
    "trajectories": fig3_trajectories.draw,
    "axis": fig4_axis.draw,
    "wahba": fig5_wahba.draw,
    "circle": fig6_circle.draw,
    "lambda": fig7_lambda.draw,
    "training": fig8_training.draw,
    "flowers": fig9_flowers.draw,
    "losses": fig10_losses.draw,
    "positives": fig11_positives.draw,
}
"""Draws a sweep that reproduces a figure; the key ``table`` has no picture."""
