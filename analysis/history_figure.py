"""The figure of a search's history: a panel for each metric, and one for the hypervolume."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures import TITLE_WIDTH, add_legend, panel_grid
from analysis.hover import set_titles
from analysis.labels import short_metric_label, shorten
from analysis.search_history import History
from analysis.style import use_style

_BEST = "#D55E00"
_LOOKS: dict[str, dict[str, Any]] = {
    "finished": {"color": "#0072B2", "marker": "o", "ms": 4.5, "mew": 0},
    "collapsed": {"color": "#444444", "marker": "o", "ms": 4.5, "mfc": "white", "mew": 0.9},
    "stopped": {"color": "#777777", "marker": "v", "ms": 4.5, "mew": 0},
    "failed": {"color": "#777777", "marker": "x", "ms": 5, "mew": 1.2},
}
_WORDS = {
    "finished": "finished",
    "collapsed": "nearly collapsed",
    "stopped": "stopped early",
    "failed": "failed or without a value",
}


def draw_history(history: History) -> Figure:
    """Draw each suggestion's value and the best so far; failed ones are at the lower edge."""
    count = len(history.objectives)
    states = {one.state for one in history.suggestions}
    with use_style():
        figure, panels = panel_grid(count + bool(history.hypervolume), 4.4, 2.9)
        for index, axes in enumerate(panels[:count]):
            _draw_metric(axes, history, index)
        if history.hypervolume:
            numbers = [one.number for one in history.suggestions]
            axes = panels[count]
            axes.step(numbers, history.hypervolume, where="post", color=_BEST, lw=1.6)
            axes.set_title("hypervolume of the front (↑)")
            axes.set_ylim(bottom=0)
            _dress(axes, history)
        handles = [
            Line2D([], [], ls="none", label=_WORDS[state], **look)
            for state, look in _LOOKS.items()
            if state in states
        ]
        handles.append(Line2D([], [], color=_BEST, lw=1.6, label="best so far"))
        add_legend(figure, handles)
    return figure


def _draw_metric(axes: Axes, history: History, index: int) -> None:
    objective, best = history.objectives[index], history.best[index]
    for state, look in _LOOKS.items():
        dots = [one for one in history.suggestions if one.state == state]
        known = [one for one in dots if one.values]
        if known:
            xs, ys = [one.number for one in known], [one.values[index] for one in known]
            (drawn,) = axes.plot(xs, ys, ls="none", alpha=0.85, zorder=3, **look)
            set_titles(
                drawn,
                [f"{one.number}: {one.name}: {one.values[index]:.4g}" for one in known],
            )
        if lost := [one for one in dots if not one.values]:
            (drawn,) = axes.plot(
                [one.number for one in lost],
                [0.02] * len(lost),
                ls="none",
                transform=axes.get_xaxis_transform(),
                **look,
            )
            set_titles(drawn, [f"{one.number}: {one.name}: {_WORDS[state]}" for one in lost])
    steps = [
        (one.number, value)
        for one, value in zip(history.suggestions, best, strict=True)
        if not math.isnan(value)
    ]
    axes.step(*zip(*steps, strict=True), where="post", color=_BEST, lw=1.6)
    arrow = "↑" if objective.mode == "max" else "↓"
    axes.set_title(shorten(f"{short_metric_label(objective.metric)} ({arrow})", TITLE_WIDTH))
    _dress(axes, history)


def _dress(axes: Axes, history: History) -> None:
    axes.set_xlim(0, len(history.suggestions) + 1)
    axes.set_xlabel("suggestion")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.08)


def describe_history(history: History) -> list[str]:
    """Describe each panel for a reader who does not see it."""
    texts = []
    for objective, best in zip(history.objectives, history.best, strict=True):
        last = best[-1]
        first = best.index(last) + 1
        texts.append(
            f"{short_metric_label(objective.metric)} of {len(history.suggestions)} suggestions in "
            f"their order: the best, {last:.3g}, is number {first}."
        )
    if history.hypervolume:
        texts.append(
            f"Hypervolume of the front after each suggestion: {history.hypervolume[-1]:.3g} at the "
            f"end, half of it after suggestion {_half(history.hypervolume)}."
        )
    return texts


def _half(volumes: tuple[float, ...]) -> int:
    return next(index for index, one in enumerate(volumes, 1) if one >= volumes[-1] / 2)


def explain_history(history: History) -> str:
    """Explain the figure's dots, and the corner of the hypervolume."""
    text = (
        "A dot is a suggestion, the mean over its seeds; those that are stopped, nearly collapsed "
        "or failed do not count as the best."
    )
    if history.reference:
        corner = ", ".join(
            f"{short_metric_label(one.metric)} {value:.4g}"
            for one, value in zip(history.objectives, history.reference, strict=True)
        )
        text += (
            f" The hypervolume is the part of the metrics' space that a point so far beats, up to "
            f"the corner ({corner}): a tenth of each metric's range beyond its worst value here. "
            "Volumes of two searches are not comparable."
        )
    return text
