"""One measure against an axis, in the size and type of a paper's figure."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.figure import Figure

from analysis.comparison import Comparison
from analysis.figures import Positions, add_legend, draw_panel, make_line_handles
from analysis.labels import CURVES, Label, axis_label, measure_label, short_metric_label
from analysis.style import COLORS, STYLE, png, use_style
from care.errors import ConfigError, Problem, nearest
from care.registry import SPACES

WIDTHS = {"single": 3.3, "double": 6.8}
"""Widths of a paper's one and two columns, inches."""

Width = Literal["single", "double"]

_POINTS = 8  # size of all text
_ASPECT = {"single": 0.72, "double": 0.45}  # height by width
_TYPE: Any = {
    **STYLE,
    "font.size": _POINTS,
    "axes.labelsize": _POINTS,
    "xtick.labelsize": _POINTS,
    "ytick.labelsize": _POINTS,
    "legend.fontsize": _POINTS,
}
_FILE: Any = {"pdf.fonttype": 42, "ps.fonttype": 42}  # fonts that journals accept


class PaperFigure(Figure):
    """A matplotlib figure that a notebook shows, and whose PDF embeds its fonts as TrueType."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure, with the arguments of matplotlib."""
        with use_style(_FILE):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        return png(self)


def plot_measure(
    comparison: Comparison, metric: str, width: str = "single", *, difference: bool = False
) -> PaperFigure:
    """Plot a measure against the axis on x: dots are seeds, a line the means.

    Bars are 95 % t-intervals over seeds. Hollow dots are nearly collapsed trials.

    Args:
        comparison: The trials.
        metric: The measure.
        width: ``single`` for 3.3 inches, ``double`` for 6.8 inches.
        difference: Whether to plot the paired difference to the first level instead.

    Raises:
        ConfigError: The width is unknown.
    """
    if width not in WIDTHS:
        allowed = "allowed: single (3.3 inches), double (6.8 inches)"
        raise ConfigError("plot", [Problem("width", width, allowed, nearest(str(width), WIDTHS))])
    positions = Positions(comparison)
    with use_style(_TYPE):
        inches = WIDTHS[width]
        figure = PaperFigure(figsize=(inches, inches * _ASPECT[width]))
        axes = figure.subplots()
        if difference:
            axes.axhline(0, color="#555555", lw=0.8)
        seeds, mean = (
            (comparison.differences, comparison.difference)
            if difference
            else (comparison.values, comparison.mean)
        )
        draw_panel(axes, comparison, positions, {metric: COLORS[0]}, seeds, mean)
        positions.dress(axes, axis_label(comparison.x))
        axes.set_ylabel(_title(metric, difference=difference))
        if handles := make_line_handles(comparison):
            add_legend(figure, handles)
    return figure


def _title(metric: str, *, difference: bool) -> str:
    space, _, measure = metric.partition("/")
    label = measure_label(measure) if space in SPACES else CURVES.get(metric, Label(metric))
    name = short_metric_label(metric).removesuffix(f" ({label.better})")
    better = f" ({label.better})" if label.better else ""
    return f"{'Δ ' if difference else ''}{name}{better}"
