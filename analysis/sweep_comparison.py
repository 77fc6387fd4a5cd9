"""Two sweeps compared, trial by trial: differences with intervals, and what is not comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from analysis.collect import tabulate
from analysis.comparison import Comparison, Point, compare
from analysis.effects import Axis
from analysis.findings import HEADLINES
from analysis.labels import axis_label, point_name, short_metric_label
from analysis.levels import to_column
from analysis.pairing import (
    LETTERS,
    SIDE,
    Candidate,
    Pairing,
    list_circumstances,
    list_differing,
    pair_sides,
)
from analysis.side import Side
from analysis.statistics import Estimate, estimate
from analysis.wording import better_direction, expected_by_chance, judge
from care.config.metrics import COLLAPSE_METRIC
from care.trials.state import State

_ALL = "all points"


@dataclass(frozen=True)
class Difference:
    """A measure at one point, or over all points, on both sides.

    Attributes:
        point: Levels of the axes; empty over all points.
        name: The point's name.
        metric: The measure.
        one: Mean of the first side over the pairs.
        other: Mean of the second side over the pairs.
        change: The second minus the first, paired by seed.
        verdict: The difference in words.
        collapsed: Whether a trial there is nearly collapsed; such points are not in ``all points``.
    """

    point: Point
    name: str
    metric: str
    one: Estimate
    other: Estimate
    change: Estimate
    verdict: str
    collapsed: bool = False


@dataclass(frozen=True)
class SweepComparison:
    """Two sweeps compared.

    Attributes:
        sides: The first and the second sweep.
        axes: The axes with equal values within a pair.
        pairs: Number of pairs.
        equal: Number of pairs with equal numbers, bit for bit.
        settings: (field, first, second) of the settings that differ.
        circumstances: (fact, first, second) of how the trials were run.
        differences: A row for each measure over all points, and for each point and measure.
        chief: The measures that most questions are about, the sweeps' metrics first.
        not_compared: (reason, the trials that it holds for).
        comparison: The pairs' trials by side and point; None without pairs.
    """

    sides: tuple[Side, Side]
    axes: list[str]
    pairs: int
    equal: int
    settings: list[tuple[str, str, str]]
    circumstances: list[tuple[str, str, str]]
    differences: list[Difference]
    chief: list[str]
    not_compared: list[tuple[str, str]]
    comparison: Comparison | None

    @property
    def shown(self) -> list[Difference]:
        """The rows of the chief measures."""
        return [row for row in self.differences if row.metric in self.chief]

    @property
    def brief(self) -> list[Difference]:
        """The rows of the first sweep's metric, and of the others those over all points."""
        rows = self.shown
        several = {row.metric for row in rows if not row.point}
        first = self.chief[0] if self.chief else ""
        return [
            row for row in rows if row.metric not in several or not row.point or row.metric == first
        ]

    @staticmethod
    def describe_chance(rows: Sequence[Difference]) -> str:
        """Return a sentence on the number of comparisons among rows; empty without any."""
        return expected_by_chance(sum(row.change.n > 1 for row in rows))

    @property
    def identical(self) -> bool:
        """Whether every pair has equal numbers, bit for bit."""
        return 0 < self.pairs == self.equal

    @property
    def pairing(self) -> str:
        """A sentence on how the trials are paired."""
        if not self.pairs:
            return "No two trials can be compared."
        axes = " and ".join([*(f"equal {axis_label(axis)}" for axis in self.axes), "seed"])
        number = "all" if self.identical else f"{self.equal} of them"
        same = f"; {number} with equal numbers, bit for bit" if self.equal else ""
        alike = "" if self.settings else ": no setting differs"
        return f"{self.pairs} pairs of {axes}{alike}{same}."

    def table(self) -> pd.DataFrame:
        """Make a row for each point and measure, and for all points.

        Returns:
            Columns: the axes (``all points`` in the rows over them), ``metric``, ``one`` and
            ``other`` (means of the pairs), ``difference`` with ``low``, ``high`` and ``n``,
            ``verdict``, ``collapsed``.
        """
        rows = [
            {
                "point": row.name,
                **dict(zip(self.axes, row.point or [_ALL] * len(self.axes), strict=True)),
                "metric": row.metric,
                "one": row.one.mean,
                "other": row.other.mean,
                "difference": row.change.mean,
                "low": row.change.low,
                "high": row.change.high,
                "n": row.change.n,
                "verdict": row.verdict,
                "collapsed": row.collapsed,
            }
            for row in self.differences
        ]
        table = pd.DataFrame(rows)
        return table.assign(**{a: to_column(table[a].tolist()) for a in self.axes if a in table})

    def __repr__(self) -> str:
        one, other = self.sides
        lines = [f"A: {one.label}, B: {other.label}", self.pairing]
        lines += [f"{name}: {a} | {b}" for name, a, b in self.settings]
        lines += [
            f"{row.name}: {short_metric_label(row.metric)} {row.verdict}"
            for row in self.shown
            if not row.point
        ]
        lines += [f"not compared: {reason}: {where}" for reason, where in self.not_compared]
        return "\n  ".join(lines)

    def to_html(self) -> str:
        """Render a page that needs no other file."""
        from analysis.compare_page import render_comparison  # figures take a second

        return render_comparison(self)

    def _repr_html_(self) -> str:
        from analysis.compare_page import render_comparison

        return render_comparison(self, whole=False)


def compare_sweeps(one: Side, other: Side, by: Sequence[str] = ()) -> SweepComparison:
    """Compare two sweeps by the pairs of :func:`analysis.pairing.pair_sides`.

    Args:
        one: The first side.
        other: The second side; differences are it minus the first.
        by: The axes that pairs share; every axis by default.
    """
    pairing = pair_sides(one, other, by)
    comparison = _make_comparison(pairing, one)
    rows, chief = [], []
    if comparison is not None:
        metrics = _metrics(comparison, (one, other), pairing)
        chief = [name for name in [one.metric, other.metric, *HEADLINES] if name in metrics]
        chief = list(dict.fromkeys(chief))
        order = list(dict.fromkeys([*chief, *metrics]))
        rows = [row for metric in order for row in _differences(comparison, metric, one)]
    equal = sum(
        len(pair.sides[0]) == len(pair.sides[1]) == 1
        and pair.sides[0][0].values == pair.sides[1][0].values
        for pair in pairing.pairs
    )
    return SweepComparison(
        (one, other),
        pairing.axes,
        len(pairing.pairs),
        equal,
        list_differing(pairing),
        list_circumstances(pairing),
        rows,
        chief,
        pairing.remarks(),
        comparison,
    )


def _make_comparison(pairing: Pairing, one: Side) -> Comparison | None:
    if not pairing.pairs:
        return None
    rows = [
        {
            "trial_id": f"{letter}:{pair.sides[index][0].trial.trial_id}",
            SIDE: letter,
            **dict(zip(pairing.axes, pair.key, strict=True)),
            "seed": pair.seed,
            "state": State.FINISHED.value,
            **_mean_values(pair.sides[index]),
        }
        for index, letter in enumerate(LETTERS)
        for pair in pairing.pairs
    ]
    axes = [SIDE, *pairing.axes]
    return compare(tabulate(rows, axes), axes, one.metric, one.mode, SIDE)


def _mean_values(candidates: list[Candidate]) -> dict[str, float]:
    """Average the values that all candidates have; of the collapse metric, take the largest."""
    names = set.intersection(*(set(each.values) for each in candidates)) - {"epoch", "step"}
    values = {name: fmean(each.values[name] for each in candidates) for name in sorted(names)}
    if COLLAPSE_METRIC in values:
        values[COLLAPSE_METRIC] = max(each.values[COLLAPSE_METRIC] for each in candidates)
    return values


def _metrics(comparison: Comparison, sides: tuple[Side, Side], pairing: Pairing) -> list[str]:
    """List the measures that both sides have; record the others."""
    own = [side.metric for side in sides if comparison.has_values(side.metric)]
    names = list(dict.fromkeys([*own, COLLAPSE_METRIC, *comparison.measured()]))
    done, shared = comparison.done, []
    for name in names:
        if name not in done:
            continue
        having = [bool(done.loc[done[SIDE] == letter, name].notna().any()) for letter in LETTERS]
        if all(having):
            shared.append(name)
        elif any(having):
            missing = LETTERS[having.index(False)]
            pairing.leave_out(f"not measured in {missing}", name)
    return shared


def _differences(comparison: Comparison, metric: str, one: Side) -> list[Difference]:
    """Compare a metric over all points and at each one; ``one`` declares the better direction."""
    first, second = LETTERS
    better = better_direction(metric, one.metric, one.mode)
    effect = Axis(comparison, SIDE).effect(first, second, metric)
    rows = []
    axes = comparison.axes[1:]
    keys = list(dict.fromkeys(point[1:] for point in comparison.points()))
    if len(keys) > 1 and effect.change.n:
        rows = [
            Difference(
                (),
                _ALL,
                metric,
                effect.at_baseline,
                effect.at_level,
                effect.change,
                judge(effect.change, better),
            )
        ]
    for key in keys:
        points = (first, *key), (second, *key)
        change = comparison.difference(points[1], metric)
        if change.n:
            collapsed = any(comparison.collapsed_seeds(point) for point in points)
            values = [comparison.values(point, metric) for point in points]
            seeds = values[0].index.intersection(values[1].index)
            means = [estimate(each[seeds].tolist()) for each in values]
            name = point_name(axes, key) or _ALL
            verdict = judge(change, better)
            before, after = means
            rows.append(Difference(key, name, metric, before, after, change, verdict, collapsed))
    return rows
