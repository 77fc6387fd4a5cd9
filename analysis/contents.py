"""What a report shows of a sweep, computed and drawn; :mod:`analysis.page` lays it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis.collect import collect, for_files
from analysis.comparison import Comparison, compare, paired_table, summary_table
from analysis.details import Details
from analysis.figure_data import Drawn, FigureData
from analysis.figures import curves_figure, differences_figure, measures_figure, shown_measures
from analysis.paper_figures import FIGURES
from analysis.remarks import remarks
from analysis.style import png
from analysis.summary import SweepSummary


@dataclass(frozen=True)
class Contents:
    """Everything but the page's words.

    Attributes:
        comparison: The trials by point; None for a sweep without axes.
        tables: For CSV and Parquet, by name.
        figures: PNG, by name.
        drawn: The figure of the paper that the sweep reproduces.
        remarks: The trials' remarks on their measures, and where they hold.
    """

    comparison: Comparison | None
    tables: dict[str, pd.DataFrame]
    figures: dict[str, bytes] = field(default_factory=dict)
    drawn: Drawn = field(default_factory=Drawn)
    remarks: list[tuple[str, str]] = field(default_factory=list)


def gather(store_trials: Path, summary: SweepSummary) -> Contents:
    """Read a sweep's trials, and compute and draw what they show.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
    """
    trials, curves = collect(store_trials, summary)
    axes = list(summary.members[0].axes) if summary.members else []
    tables = {"trials": for_files(trials, axes), "curves": for_files(curves, axes)}
    if not axes:
        return Contents(None, tables)
    comparison = compare(trials, axes, summary.metric, summary.mode)
    if metrics := comparison.measured():
        tables["summary"] = for_files(summary_table(comparison, metrics), axes)
        tables["differences"] = for_files(paired_table(comparison, metrics), axes)
    if len(curves):  # other code's curves do not mix with ours
        curves = curves[curves["state"] != "stale"]
    details = Details(store_trials, comparison)
    drawn = _paper(comparison, curves, details, summary)
    figures = _figures(comparison, curves)
    figures |= {f"paper-{picture.name}": png(picture.figure) for picture in drawn.pictures}
    return Contents(comparison, tables, figures, drawn, remarks(comparison, details))


def _figures(comparison: Comparison, curves: pd.DataFrame) -> dict[str, bytes]:
    drawn = {}
    if shown_measures(comparison):
        drawn["measures"] = measures_figure(comparison)
        drawn["differences"] = differences_figure(comparison)
    over_training = curves_figure(comparison, curves) if len(curves) else None
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
