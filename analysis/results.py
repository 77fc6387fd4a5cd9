"""The results of a sweep for Python and notebooks: the report's tables, answers and figures."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from analysis.choice import choose_axis, choose_level, choose_metric
from analysis.collect import collect, select_finished, with_typed_axes
from analysis.comparison import Comparison, Point, compare
from analysis.comparison_tables import build_paired_table, build_summary_table
from analysis.effects import Axis, build_effect_table
from analysis.findings import answer
from analysis.importance import (
    LEAST_OF_GRID,
    Evaluate,
    rank_by_importance,
    tabulate_importances,
)
from analysis.labels import axis_label, metric_label, point_name, short_metric_label, value_label
from analysis.side import distinguish, make_side
from analysis.statistics import Estimate, estimate
from analysis.summary import SweepSummary
from analysis.sweep_comparison import SweepComparison, compare_sweeps
from care.errors import CareError
from care.registry import SPACES
from care.trials.state import State
from care.trials.trial_files import StoreFiles

if TYPE_CHECKING:
    from analysis.paper_plot import PaperFigure

_MOST_ROWS = 24  # of a notebook's table
_LEFT_OUT = (State.STALE, State.FAILED, State.DAMAGED)


@dataclass(frozen=True)
class Best:
    """The best point of a sweep by its metric.

    Attributes:
        point: Dotted axis to value.
        name: Its name, e.g. ``λ=0.1``.
        metric: The sweep's metric.
        estimate: Its mean over the seeds that all compared points have, with its interval.
        trials: Identity of its trial by seed; :func:`care.load` takes one.
    """

    point: dict[str, Any]
    name: str
    metric: str
    estimate: Estimate
    trials: dict[int, str]

    def __str__(self) -> str:
        mean = self.estimate
        return f"{self.name}: {metric_label(self.metric)} {mean.value} ({mean.interval})"


class SweepResults:
    """The results of a sweep at one moment, from its trials' files.

    Means, intervals and differences are those of the report: over finished trials, without stale,
    failed and damaged ones; nearly collapsed ones are marked and never the best. ``care.sweep``
    makes one, and reads a sweep that runs anew.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
        write_report: Writes the report and returns its page.
        evaluate: Computes the importance of axes.
    """

    def __init__(
        self,
        store_trials: Path,
        summary: SweepSummary,
        write_report: Callable[[], Path],
        evaluate: Evaluate,
    ) -> None:
        self.summary_of_sweep = summary
        self.store_trials = store_trials
        self._write_report, self._evaluate = write_report, evaluate

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.summary_of_sweep.name

    @property
    def axes(self) -> list[str]:
        """The dotted fields of its axes."""
        members = self.summary_of_sweep.members
        return list(members[0].axes) if members else []

    @cached_property
    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return collect(StoreFiles(self.store_trials), self.summary_of_sweep)

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial.

        Columns: ``trial_id``, the axes, ``seed``, ``group_id``, ``state``, ``epochs``, ``seconds``,
        ``images_per_second``, ``device``, ``threads``, ``precision``, ``code_version``,
        ``git_commit``, ``error`` (cause of a failed, stale or damaged state), the metrics of the
        last epoch, and the final measures.
        """
        return with_typed_axes(self._tables[0], self.axes)

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each epoch: ``trial_id``, the axes, ``seed``, ``state``, ``epoch``, metrics.

        Stale trials are included; their ``state`` says so.
        """
        return with_typed_axes(self._tables[1], self.axes)

    @property
    def summary(self) -> pd.DataFrame:
        """A row for each point and measure.

        Columns: the axes, ``metric``, ``mean``, ``low`` and ``high`` of the 95 % t-interval over
        ``n`` seeds, ``collapsed`` trials of the point, and the difference to the first level of the
        axis on x, paired by seed: ``difference``, ``difference_low``, ``difference_high``,
        ``difference_n``.
        """
        comparison = self._compare()
        return with_typed_axes(build_summary_table(comparison, self._measures), self.axes)

    @property
    def differences(self) -> pd.DataFrame:
        """A row for each point, measure and seed: its difference to the first level on x.

        Columns: the axes, ``metric``, ``seed``, ``difference``.
        """
        return with_typed_axes(build_paired_table(self._compare(), self._measures), self.axes)

    @cached_property
    def importance(self) -> pd.DataFrame:
        """A row for each of the sweep's metrics and each axis that varies, computed once.

        Columns: ``metric``, ``axis`` (dotted fields that vary together have ``&`` between),
        ``method`` (``ANOVA`` in a full grid, else Optuna's ``fANOVA`` or ``PED-ANOVA``),
        ``importance`` from 0 to 1, its 95 % interval ``low`` and ``high`` over resamples, the part
        of them in which the axis is ``first``, and the numbers of ``points`` and ``seeds``.

        Raises:
            CareError: There is no importance; states the reason.
        """
        found = rank_by_importance(self._compare(), self.summary_of_sweep, self._evaluate)
        if not found.rankings:
            why = " ".join(found.left_out) or (
                "The axes' importance needs two axes that vary, at least one finished trial, and "
                f"at least {LEAST_OF_GRID} points."
            )
            raise CareError(f"{self.name}: {why}")
        return tabulate_importances(found.rankings)

    @property
    def _measures(self) -> list[str]:
        comparison = self._compare()
        metric = comparison.metric
        first = [metric] if comparison.has_values(metric) else []
        return list(dict.fromkeys([*first, *comparison.measured()]))

    @cached_property
    def _known_metrics(self) -> list[str]:
        """Names of the numeric values of finished trials, the final measures first."""
        done = select_finished(self._tables[0]) if len(self._tables[0]) else self._tables[0]
        named = [
            str(name) for name in done.columns if "/" in str(name) and done[name].notna().any()
        ]
        return sorted(named, key=lambda name: not name.startswith(tuple(f"{s}/" for s in SPACES)))

    def _compare(self, x: str | None = None) -> Comparison:
        """Group the trials by point.

        Raises:
            CareError: The sweep has no axes.
        """
        if not self.axes:
            raise CareError(f"{self.name}: has no axes, so there are no points to compare")
        summary = self.summary_of_sweep
        return compare(
            self._tables[0],
            self.axes,
            summary.metric,
            summary.mode,
            x,
            added_seeds=summary.seeds is not None,
            zips=summary.zips,
            raced=summary.raced,
        )

    def best(self) -> Best:
        """Find the best point by the sweep's metric, without nearly collapsed points.

        Raises:
            CareError: There is no best point; states the reason.
        """
        return self.best_points(1)[0]

    def best_points(self, count: int) -> list[Best]:
        """Rank the points by the sweep's metric, without nearly collapsed points.

        All means are over the same seeds. A point that lacks one of them is not ranked.

        Args:
            count: Most points, at least 1.

        Returns:
            The best point first; at least one.

        Raises:
            CareError: There is no best point; states the reason.
        """
        comparison = self._compare()
        best = comparison.best_point()
        if best.point is None:
            text = answer(comparison)
            why = text.best if text else "There is no best point: no trial is finished."
            raise CareError(f"{self.name}: {why}")
        return [_ranked(comparison, point, best.seeds) for point in best.compared[:count]]

    @overload
    def compare(
        self, other: None = None, *, baseline: Any = None, axis: str | None = None
    ) -> pd.DataFrame: ...

    @overload
    def compare(self, other: SweepResults, *, by: str | Sequence[str] = ()) -> SweepComparison: ...

    def compare(
        self,
        other: SweepResults | None = None,
        *,
        baseline: Any = None,
        axis: str | None = None,
        by: str | Sequence[str] = (),
    ) -> pd.DataFrame | SweepComparison:
        """Compare the levels of an axis with a baseline, or this sweep with another one.

        Differences are paired by seed, at equal other settings. Nearly collapsed points are left
        out of the comparison of levels, and marked in that of sweeps.

        Args:
            other: Another sweep, e.g. of another store; differences are it minus this one.
            baseline: The level to compare with, e.g. ``0`` or ``"λ=0"``; the first by default.
            axis: The axis, e.g. ``λ``; the one on x by default.
            by: With ``other``, the axes that pairs share; every axis by default.

        Returns:
            Without ``other`` a row for each level and measure, with the columns of
            :func:`analysis.effects.build_effect_table`; else a comparison as of ``care compare``.

        Raises:
            ConfigError: There is no such axis or level; names the nearest one.
        """
        if other is not None:
            return self._compare_with(other, [by] if isinstance(by, str) else by)
        comparison = self._compare()
        chosen = comparison.x if axis is None else choose_axis(axis, self.axes, self.name)
        effects = Axis(comparison, chosen)
        if baseline is None:
            level = effects.levels[0] if effects.levels else None
        else:
            level = choose_level(baseline, effects.levels, chosen, self.name)
        table = build_effect_table(effects, level, self._measures)
        return with_typed_axes(table, [chosen])

    def _compare_with(self, other: SweepResults, by: Sequence[str]) -> SweepComparison:
        sides = (
            make_side(each.name, each.store_trials, each.summary_of_sweep) for each in (self, other)
        )
        axes = list(dict.fromkeys([*self.axes, *other.axes]))
        chosen = [choose_axis(name, axes, self.name) for name in by]
        return compare_sweeps(*distinguish(*sides), chosen)

    def plot(
        self,
        measure: str | None = None,
        against: str | None = None,
        width: str = "single",
        *,
        difference: bool = False,
    ) -> PaperFigure:
        """Plot a measure against an axis, ready for a paper.

        Dots are seeds, hollow ones nearly collapsed; the line is the mean, bars are 95 %
        t-intervals over seeds; the axis is logarithmic where the report's is. All text has 8 pt.

        Args:
            measure: E.g. ``head/gamma``; the sweep's metric by default.
            against: The axis on x, e.g. ``λ``; that of the report by default.
            width: ``single`` for a column of 3.3 inches, ``double`` for 6.8 inches.
            difference: Whether to plot the difference to the first level, paired by seed.

        Raises:
            ConfigError: The measure, axis or width is unknown; names the nearest one.
        """
        from analysis.paper_plot import plot_measure  # matplotlib takes a second

        summary = self.summary_of_sweep
        x = None if against is None else choose_axis(against, self.axes, self.name)
        metric = choose_metric(measure or summary.metric, self._known_metrics, self.name)
        return plot_measure(self._compare(x), metric, width, difference=difference)

    def report(self) -> Path:
        """Write the report if it is not up to date, and return its page."""
        return self._write_report()

    def counts(self) -> dict[str, int]:
        """Return the number of trials by state, each once."""
        states = {member.trial_id: member.state for member in self.summary_of_sweep.members}
        counted = Counter(states.values())
        return {state.value: counted[state] for state in State if counted[state]}

    def _lines(self) -> list[str]:
        counts = self.counts()
        numbers = ", ".join(f"{number} {state}" for state, number in counts.items())
        lines = [f"{sum(counts.values())} trials: {numbers or 'none'}"]
        left_out = [state for state in _LEFT_OUT if counts.get(state)]
        if left_out:
            lines[0] += f" ({', '.join(left_out)}: left out of every mean)"
        text = answer(self._compare()) if self.axes else None
        lines += text.lines if text else []
        return lines

    def __repr__(self) -> str:
        axes = ", ".join(map(axis_label, self.axes)) or "no axes"
        return "\n".join([f"sweep {self.name} over {axes}", *(f"  {x}" for x in self._lines())])

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self._lines())
        name, about = html.escape(self.name), html.escape(self.summary_of_sweep.description)
        return f"<h4>{name}</h4><p>{about}</p>{lines}{self._table_html()}"

    def _table_html(self) -> str:
        """Make a table of the sweep's metric by point."""
        comparison = self._compare() if self.axes else None
        if comparison is None or comparison.done.empty:
            return ""
        metric, points = comparison.metric, comparison.points()
        heads = [*map(axis_label, comparison.axes), short_metric_label(metric), ""]
        rows = []
        for point in points[:_MOST_ROWS]:
            mean = comparison.mean(point, metric)
            mark = "⚠ nearly collapsed" if comparison.collapsed_seeds(point) else ""
            text = f"{mean.value} ({mean.interval})" if mean.n else "–"
            rows.append([*map(value_label, point), text, mark])
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
        more = len(points) - _MOST_ROWS
        rest = f"<p>… and {more} more points: .summary</p>" if more > 0 else ""
        return f"<table><tr>{head}</tr>{body}</table>{rest}"


def _ranked(comparison: Comparison, point: Point, seeds: Sequence[int]) -> Best:
    values = comparison.values(point, comparison.metric)
    return Best(
        point=dict(zip(comparison.axes, point, strict=True)),
        name=point_name(comparison.axes, point),
        metric=comparison.metric,
        estimate=estimate([values[seed] for seed in seeds]),
        trials=comparison.finished_by_seed(point),
    )
