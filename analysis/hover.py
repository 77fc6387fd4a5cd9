"""Titles of a figure's dots and lines, which a browser shows under the pointer.

matplotlib carries a title to the SVG in the artist's group id; other formats have none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from matplotlib.artist import Artist

from analysis.comparison import Comparison, Point
from analysis.labels import point_name, shorten

_PREFIX = "hover"
_KEPT = "kept"
_DIGITS = 6  # of a trial's identity
_MOST_TRIALS = 600  # with more, titles would outweigh the drawing


def set_titles(artist: Artist, titles: Sequence[str], *, keep_colors: bool = False) -> None:
    """Give an artist a title, or each of its markers one, in their order.

    Args:
        artist: The artist.
        titles: Its titles.
        keep_colors: Whether a dark page shows the artist in its own colors.
    """
    text = json.dumps(list(titles), ensure_ascii=False)
    artist.set_gid((_KEPT if keep_colors else "") + _PREFIX + text)


def keeps_colors(gid: str) -> bool:
    """Check whether a group of an SVG keeps its colors on a dark page."""
    return gid.startswith(_KEPT)


def parse_titles(gid: str) -> list[str]:
    """Return the titles in a group id of an SVG; none if it has none."""
    gid = gid.removeprefix(_KEPT)
    if not gid.startswith(f"{_PREFIX}["):
        return []
    titles: list[str] = json.loads(gid.removeprefix(_PREFIX))
    return titles


class Titles:
    """The titles of a comparison's trials: ``λ=0.1, seed 2: 0.184 · trial 3327d2``."""

    def __init__(self, comparison: Comparison) -> None:
        self._axes = comparison.axes
        self._trials: dict[tuple[Point, int], str] = {}
        if len(comparison.done) > _MOST_TRIALS:
            return
        columns = [*comparison.axes, "seed", "trial_id"]
        for *point, seed, trial in comparison.done[columns].itertuples(index=False, name=None):
            self._trials[tuple(point), int(seed)] = str(trial)[:_DIGITS]

    def __bool__(self) -> bool:
        return bool(self._trials)

    def title(self, point: Point, seed: int, value: float = math.nan) -> str:
        """Return the title of a trial, with a value if there is one."""
        number = "" if math.isnan(value) else f": {value:.4g}".replace("-", "\u2212")
        trial = self._trials.get((point, seed), "")
        name = shorten(point_name(self._axes, point), 60)
        return f"{name}, seed {seed}{number}" + (f" · trial {trial}" if trial else "")
