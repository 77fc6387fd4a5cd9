"""The page of two compared sweeps: HTML in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from analysis.alt_texts import describe_measures
from analysis.comparison import compare
from analysis.drawing import Drawing, draw_as_panels
from analysis.figures import draw_measures, shown_measures
from analysis.labels import short_metric_label
from analysis.pairing import SIDE
from analysis.palette import describe_colors
from analysis.wording import better_direction, quality, signed

if TYPE_CHECKING:
    from analysis.sweep_comparison import SweepComparison

_TEMPLATES = Path(__file__).parent / "templates"


def render_comparison(result: SweepComparison, *, whole: bool = True) -> str:
    """Render a comparison as HTML that needs no other file.

    Args:
        result: The comparison.
        whole: Whether to render a page; else the part that a notebook shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"signed": signed, "metric": short_metric_label}
    one = result.sides[0]
    drawing = _draw(result) if whole else None
    colors = drawing.colors if drawing else frozenset[str]()

    def judged(metric: str) -> str:
        return better_direction(metric, one.metric, one.mode)

    return environment.get_template("compare.html.j2").render(
        result=result,
        one=one,
        other=result.sides[1],
        whole=whole,
        colors={mode: describe_colors(colors, dark=mode == "dark") for mode in ("light", "dark")},
        better=judged,
        quality=lambda row: quality(row.change, judged(row.metric)),
        rest=[row for row in result.differences if row.metric not in result.chief],
        drawing=drawing,
    )


def _draw(result: SweepComparison) -> Drawing | None:
    """Draw the measures of both sides against the axis; None without pairs."""
    comparison = result.comparison
    if comparison is None or not result.axes or result.identical:
        return None
    both = compare(comparison.trials, [*result.axes, SIDE], comparison.metric, comparison.mode)
    if both.x == SIDE or not shown_measures(both):
        return None
    return draw_as_panels(draw_measures(both), "measures", describe_measures(both))
