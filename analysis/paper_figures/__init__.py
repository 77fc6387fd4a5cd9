"""The paper's figures in the paper's layout: a module and a line below for each."""

from __future__ import annotations

from analysis.paper_figures.bars import bars
from analysis.paper_figures.circle import circle
from analysis.paper_figures.material import Draw, Drawn, Material, Picture
from analysis.paper_figures.positives import positives
from analysis.paper_figures.readout import readout
from analysis.paper_figures.retrieval import retrieval
from analysis.paper_figures.training import training
from analysis.paper_figures.trajectories import trajectories
from analysis.paper_figures.wahba import wahba

FIGURES: dict[str, Draw] = {
    "trajectories": trajectories,
    "bars": bars,
    "wahba": wahba,
    "cosine_histogram": circle,
    "sweep": readout,
    "curves": training,
    "retrieval": retrieval,
    "cosine_curves": positives,
}
"""How a sweep that reproduces a figure is drawn; ``table`` has no picture."""

__all__ = ["FIGURES", "Drawn", "Material", "Picture"]
