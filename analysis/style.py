"""How every figure looks: type, grid, and the colors of methods."""

from __future__ import annotations

import io
import warnings
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart by color-blind readers too; gray for their black, yellow last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#555555", "#F0E442")
DASHES = ("-", "--", ":")
INK = "#222222"
SMALL = 8.0
"""Size of the smallest text, in points."""

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "text.parse_math": False,  # names are the user's; $ is a character
}


def method_color(place: int) -> str:
    """The color of the method at a place of the sweep's order."""
    return COLORS[place % len(COLORS)]


def method_dashes(place: int) -> str:
    """The line style of the method at a place: another one where the colors begin anew."""
    return DASHES[place // len(COLORS) % len(DASHES)]


def png(figure: Figure) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # drawn as an empty box
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
