"""The contents of a report: tables, figures and remarks. :mod:`analysis.page` lays them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis.collect import collect, with_typed_axes
from analysis.comparison import Comparison, build_paired_table, build_summary_table, compare
from analysis.details import Details
from analysis.figure_data import Drawn, FigureData
from analysis.figures import draw_curves, draw_differences, draw_measures, shown_measures
from analysis.paper_figures import FIGURES
from analysis.reference_rows import build_reference_table, counted
from analysis.remarks import list_remarks
from analysis.style import png
from analysis.summary import SweepSummary
from care.trials.state import State


@dataclass(frozen=True)
class Contents:
    """The tables, figures and remarks of a report.

    Attributes:
        comparison: The trials by point; None for a sweep without axes.
        tables: Tables for CSV and Parquet, by name.
        figures: PNG files, by name.
        drawn: The figure of the paper that the sweep reproduces.
        remarks: (remark on a measure, the points that it holds for).
    """

    comparison: Comparison | None
    tables: dict[str, pd.DataFrame]
    figures: dict[str, bytes] = field(default_factory=dict)
    drawn: Drawn = field(default_factory=Drawn)
    remarks: list[tuple[str, str]] = field(default_factory=list)


def gather(store_trials: Path, summary: SweepSummary) -> Contents:
    """Read a sweep's trials, compute the tables and draw the figures.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
    """
    trials, curves = collect(store_trials, summary)
    axes = list(summary.members[0].axes) if summary.members else []
    tables = {"trials": with_typed_axes(trials, axes), "curves": with_typed_axes(curves, axes)}
    if counted(summary):
        tables["references"] = build_reference_table(summary)
    if not axes:
        return Contents(None, tables)
    comparison = compare(trials, axes, summary.metric, summary.mode)
    if metrics := comparison.measured():
        tables["summary"] = with_typed_axes(build_summary_table(comparison, metrics), axes)
        tables["differences"] = with_typed_axes(build_paired_table(comparison, metrics), axes)
    if len(curves):  # curves of other code are not comparable
        curves = curves[curves["state"] != State.STALE]
    details = Details(store_trials, comparison)
    drawn = _paper(comparison, curves, details, summary)
    figures = _figures(comparison, curves)
    figures |= {f"paper-{picture.name}": png(picture.figure) for picture in drawn.pictures}
    return Contents(comparison, tables, figures, drawn, list_remarks(comparison, details))


def _figures(comparison: Comparison, curves: pd.DataFrame) -> dict[str, bytes]:
    drawn = {}
    if shown_measures(comparison):
        drawn["measures"] = draw_measures(comparison)
        drawn["differences"] = draw_differences(comparison)
    over_training = draw_curves(comparison, curves) if len(curves) else None
    if over_training:
        drawn["curves"] = over_training
    return {name: png(figure) for name, figure in drawn.items()}


def _paper(
    comparison: Comparison, curves: pd.DataFrame, details: Details, summary: SweepSummary
) -> Drawn:
    reproduction = summary.reproduction
    if reproduction is None or reproduction.figure not in FIGURES or comparison.done.empty:
        return Drawn()
    return FIGURES[reproduction.figure](FigureData(comparison, curves, details, reproduction))
