"""The means and paired differences of a comparison as tables, for thousands of points."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison import Array, Comparison, Point


def build_summary_table(comparison: Comparison, metrics: list[str]) -> pd.DataFrame:
    """Make a row for each point and metric: mean and paired difference with interval and n."""
    if not metrics:
        return pd.DataFrame()
    points = comparison.points()
    by_metric: list[dict[str, Array]] = []
    for metric in metrics:
        mean, change = comparison.means(metric), comparison.changes(metric)
        by_metric.append(
            {
                "mean": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "n": mean.n,
                "collapsed": comparison.collapsed_by_point,
                "difference": change.mean,
                "difference_low": change.low,
                "difference_high": change.high,
                "difference_n": change.n,
            }
        )
    columns = {
        name: np.stack([one[name] for one in by_metric], axis=1).ravel() for name in by_metric[0]
    }
    levels = _tabulate_levels(comparison.axes, points, len(metrics))
    return pd.DataFrame({**levels, "metric": metrics * len(points), **columns})


def build_paired_table(comparison: Comparison, metrics: list[str]) -> pd.DataFrame:
    """Make a row for each point, metric and seed: the value minus the baseline's."""
    points, seeds = comparison.points(), comparison.seeds
    if not metrics or not seeds:
        return pd.DataFrame(columns=[*comparison.axes, "metric", "seed", "difference"])
    differences = np.stack([*map(comparison.differences_by_point, metrics)], axis=1)
    rows = len(metrics) * len(seeds)
    table = pd.DataFrame(
        {
            **_tabulate_levels(comparison.axes, points, rows),
            "metric": np.tile(np.repeat(np.array(metrics, dtype=object), len(seeds)), len(points)),
            "seed": np.tile(np.array(seeds, dtype="int64"), len(points) * len(metrics)),
            "difference": differences.ravel(),
        }
    )
    return table[table["difference"].notna()].reset_index(drop=True)


def _tabulate_levels(axes: list[str], points: list[Point], rows: int) -> dict[str, Array]:
    """Make a column for each axis, with ``rows`` rows for each point."""
    columns: dict[str, Array] = {}
    for axis, levels in zip(axes, zip(*points, strict=True), strict=True):
        column = np.empty(len(points), dtype=object)
        for index, level in enumerate(levels):  # column[:] would read tuples as rows of an array
            column[index] = level
        columns[axis] = np.repeat(column, rows)
    return columns
