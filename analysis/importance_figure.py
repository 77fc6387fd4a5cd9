"""The figure of the axes' importance: a panel for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from analysis.figures import TITLE_WIDTH, panel_grid
from analysis.hover import set_titles
from analysis.importance import Ranking
from analysis.labels import short_metric_label, shorten
from analysis.style import STYLE, use_style

_COLOR = "#0072B2"
_ROW, _FRAME = 0.34, 0.95  # height of an axis and of what is around the panel, inches
_LONGEST = 24
_ENDS = (-0.03, 1.03)


def draw_importances(rankings: Sequence[Ranking]) -> Figure:
    """Draw each axis's importance as a dot with its interval, the most important on top."""
    most = max(len(ranking.rows) for ranking in rankings)
    with use_style({**STYLE, "axes.grid.axis": "x"}):
        figure, panels = panel_grid(len(rankings), 4.6, _FRAME + _ROW * most)
        for axes, ranking in zip(panels, rankings, strict=True):
            for height, row in enumerate(reversed(ranking.rows)):
                if not math.isnan(row.low):
                    ends = [row.low, row.high]
                    axes.plot(ends, [height] * 2, color=_COLOR, lw=1.6, alpha=0.7)
                (dot,) = axes.plot([row.share], [height], "o", color=_COLOR, ms=6, mew=0)
                set_titles(dot, [f"{row.label}: {row.share:.2f} ({row.interval})"])
            labels = [shorten(row.label, _LONGEST) for row in reversed(ranking.rows)]
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(-0.6, len(labels) - 0.4)
            axes.set_xlim(*_ENDS)
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel(f"importance, {ranking.method.name}")
            axes.set_title(shorten(short_metric_label(ranking.metric), TITLE_WIDTH))
    return figure


def describe_importances(rankings: Sequence[Ranking]) -> list[str]:
    """Describe each panel for a reader who does not see it."""
    return [
        f"Importance of the axes for {short_metric_label(ranking.metric)} by "
        f"{ranking.method.name}, with 95 % intervals: "
        + "; ".join(f"{row.label} {row.share:.2f} ({row.interval})" for row in ranking.rows)
        + "."
        for ranking in rankings
    ]
