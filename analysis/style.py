"""The style of every figure: type, grid, and the colors of methods."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette for color-blind readers, with gray for black and yellow last.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#555555", "#F0E442")
DASHES = ("-", "--", ":")
INK = "#222222"
SMALL = 8.0
"""Size of the smallest text, in points."""

STYLE: Any = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
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
    "text.parse_math": False,  # a user's names may contain $
}

_settings = threading.RLock()


@contextmanager
def use_style(style: Any = STYLE) -> Iterator[None]:
    """Draw in a style, one thread at a time.

    Matplotlib's settings belong to the process: the driver draws the picture for MLflow in one
    thread while it draws the report in another.

    Args:
        style: Values of matplotlib's ``rcParams``; the others stay as they are.
    """
    with _settings, mpl.rc_context(style):
        yield


def method_color(index: int) -> str:
    """Return the color of a method by its index in the sweep."""
    return COLORS[index % len(COLORS)]


def method_dashes(index: int) -> str:
    """Return the line style of a method by its index; it changes where the colors repeat."""
    return DASHES[index // len(COLORS) % len(DASHES)]


def png(figure: Figure, width: int | None = None) -> bytes:
    """Render a figure as PNG; equal figures give equal bytes.

    Args:
        figure: The figure.
        width: Width in pixels; that of the style's resolution when None.
    """
    dpi = STYLE["savefig.dpi"] if width is None else width / figure.get_figwidth()
    buffer = io.BytesIO()
    with use_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # glyphs missing in the font
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
