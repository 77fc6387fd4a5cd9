"""The contents of a report: tables, figures and remarks. :mod:`analysis.page` lays them out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from analysis.alt_texts import describe_curves, describe_differences, describe_measures
from analysis.collect import collect, with_typed_axes
from analysis.comparison import Comparison, compare
from analysis.comparison_tables import build_paired_table, build_summary_table
from analysis.crowd import draw_crowd, is_crowded
from analysis.details import Details
from analysis.drawing import Drawing, draw_as_panels, draw_whole
from analysis.figure_data import Drawn, FigureData
from analysis.figures import draw_differences, draw_measures, shown_measures
from analysis.findings import HEADLINES
from analysis.front import FrontRow, compare_objectives, describe_front, list_front, tabulate_front
from analysis.front_figure import describe_front_figure, draw_front
from analysis.heatmap import describe_heatmap, draw_heatmap, find_grid
from analysis.history_figure import describe_history, draw_history
from analysis.importance import (
    Evaluate,
    Importances,
    rank_by_importance,
    tabulate_importances,
    varying_axes,
)
from analysis.importance_figure import describe_importances, draw_importances
from analysis.learning_curves import draw_over_epochs, measured_curves
from analysis.paper_figures import FIGURES
from analysis.parallel import describe_parallel, draw_parallel, spread_axes
from analysis.reference_rows import build_reference_table, counted
from analysis.remarks import list_remarks
from analysis.search_history import History, read_history, tabulate_history
from analysis.seed_table import build_seed_table
from analysis.slices import (
    describe_contours,
    describe_slices,
    draw_contours,
    draw_slices,
    find_contour,
    take_sample,
)
from analysis.summary import SweepSummary
from analysis.tables import build_main_table, select_best
from analysis.text_tables import format_latex, format_markdown
from care.trials.state import State
from care.trials.trial_files import StoreFiles

MOST_CURVES = 12
"""Points with learning curves; of more, those with the best values of the sweep's metric."""
_MOST_MAPS = 4
_MOST_CSV_ROWS = 1_048_575  # of a spreadsheet, beside the header


@dataclass(frozen=True)
class Contents:
    """The tables, figures and remarks of a report.

    Attributes:
        comparison: The trials by point; None for a sweep without axes.
        tables: Tables for CSV and Parquet, by name.
        figures: The figures, by name.
        drawn: The figure of the paper that the sweep reproduces.
        remarks: (remark on a measure, the points that it holds for).
        texts: The main table as LaTeX and Markdown, by name of the file.
        front: The Pareto front in one sentence; empty with one metric.
        front_rows: The points compared by several metrics, the front first.
        importances: The importance of each axis.
        history: The suggestions of a search; None for a grid.
    """

    comparison: Comparison | None
    tables: dict[str, pd.DataFrame]
    figures: dict[str, Drawing] = field(default_factory=dict)
    drawn: Drawn = field(default_factory=Drawn)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    front: str = ""
    front_rows: list[FrontRow] = field(default_factory=list)
    importances: Importances = field(default_factory=Importances)
    history: History | None = None

    def table_file(self, name: str) -> str:
        """Return the file that the page names for a table."""
        table = self.tables.get(name)
        return f"{name}.csv" if table is None or fits_csv(table) else f"{name}.parquet"


def fits_csv(table: pd.DataFrame) -> bool:
    """Check that a spreadsheet can open a table; a longer one is written as Parquet alone."""
    return len(table) <= _MOST_CSV_ROWS


def gather(files: StoreFiles, summary: SweepSummary, evaluate: Evaluate | None = None) -> Contents:
    """Read a sweep's trials, compute the tables and draw the figures.

    Args:
        files: The files of the store's trials.
        summary: The sweep.
        evaluate: Computes the axes' importance; None leaves it out.
    """
    trials, curves = collect(files, summary)
    axes = list(summary.members[0].axes) if summary.members else []
    tables = {"trials": with_typed_axes(trials, axes), "curves": with_typed_axes(curves, axes)}
    if counted(summary):
        tables["references"] = build_reference_table(summary)
    if not axes:
        return Contents(None, tables)
    if summary.seeds and summary.seeds.rows:
        tables["seeds"] = with_typed_axes(build_seed_table(summary), axes)
    added = summary.seeds is not None
    comparison = compare(
        trials,
        axes,
        summary.metric,
        summary.mode,
        added_seeds=added,
        zips=summary.zips,
        raced=summary.raced,
    )
    if metrics := comparison.measured():
        tables["summary"] = with_typed_axes(build_summary_table(comparison, metrics), axes)
        tables["differences"] = with_typed_axes(build_paired_table(comparison, metrics), axes)
    if len(curves):  # curves of other code are not comparable
        curves = curves[curves["state"] != State.STALE]
    details = Details(files, comparison)
    drawn = _paper(comparison, curves, details, summary)
    figures = _figures(comparison, curves)
    for picture in drawn.pictures:
        name = f"paper-{picture.name}"
        figures[name] = draw_whole(picture.figure, name, f"{_what(summary)}. {picture.caption}")
    remarks = list_remarks(comparison, details)
    text, rows = _front(comparison, summary)
    if rows:
        table = tabulate_front(comparison, summary.objectives, rows)
        tables["front"] = with_typed_axes(table, axes)
        alts = describe_front_figure(summary.objectives, rows)
        figures["front"] = draw_as_panels(draw_front(summary.objectives, rows), "front", alts)
    history = read_history(comparison, summary)
    if history:
        tables["history"] = with_typed_axes(tabulate_history(comparison, history), axes)
        alts = describe_history(history)
        figures["history"] = draw_as_panels(draw_history(history), "history", alts)
    importances = rank_by_importance(comparison, summary, evaluate)
    if rankings := importances.rankings:
        tables["importance"] = tabulate_importances(rankings)
        alts = describe_importances(rankings)
        figures["importance"] = draw_as_panels(draw_importances(rankings), "importance", alts)
    figures |= _draw_axes(comparison, summary, importances, with_contour="heatmap" not in figures)
    texts = _texts(comparison, summary)
    return Contents(
        comparison, tables, figures, drawn, remarks, texts, text, rows, importances, history
    )


def _front(comparison: Comparison, summary: SweepSummary) -> tuple[str, list[FrontRow]]:
    """Find the Pareto front of a sweep with several metrics, as far as trials are finished."""
    if not summary.objectives or comparison.done.empty:
        return "", []
    front = compare_objectives(comparison, summary.objectives)
    rows = list_front(comparison, summary.objectives, front)
    return (describe_front(summary.objectives, front, rows) if rows else ""), rows


def _draw_axes(
    comparison: Comparison, summary: SweepSummary, importances: Importances, *, with_contour: bool
) -> dict[str, Drawing]:
    """Draw the metrics against each axis where several vary and no other figure shows them all."""
    axes = varying_axes(comparison)
    drawn: dict[str, Drawing] = {}
    if not importances.rankings or not (summary.searched or len(axes) > 2):
        return drawn
    modes = {one.metric: one.mode for one in summary.objectives} or {summary.metric: summary.mode}
    ranked = {one.metric: [row.axes for row in one.rows] for one in importances.rankings}
    samples = [take_sample(comparison, metric, modes[metric]) for metric in ranked]
    first = next(iter(ranked.values()))
    alts = describe_slices(samples, first)
    drawn["slices"] = draw_as_panels(draw_slices(samples, first), "slices", alts)
    found = [(one, find_contour(one, ranked[one.metric])) for one in samples]
    contours = [(one, contour) for one, contour in found if contour]
    if with_contour and contours:
        figure = draw_contours(contours)
        drawn["contour"] = draw_whole(figure, "contour", describe_contours(contours))
    return drawn


def main_metrics(summary: SweepSummary) -> set[str]:
    """Return the metrics that the main table has besides the common ones."""
    metrics = {summary.metric, *(objective.metric for objective in summary.objectives)}
    if summary.reproduction and summary.reproduction.metric:
        metrics.add(summary.reproduction.metric)
    return metrics


def _texts(comparison: Comparison, summary: SweepSummary) -> dict[str, str]:
    if comparison.done.empty:
        return {}
    table = build_main_table(comparison, main_metrics(summary))
    return {
        "measures.tex": format_latex(table, summary.name),
        "measures.md": format_markdown(table, summary.name),
    }


def _figures(comparison: Comparison, curves: pd.DataFrame) -> dict[str, Drawing]:
    drawn: dict[str, Drawing] = {}

    def add(name: str, figure: Figure, alts: list[str]) -> None:
        drawn[name] = draw_as_panels(figure, name, alts)

    if shown_measures(comparison):
        if is_crowded(comparison):
            add("measures", draw_crowd(comparison), describe_measures(comparison))
        else:
            add("measures", draw_measures(comparison), describe_measures(comparison))
            add("differences", draw_differences(comparison), describe_differences(comparison))
        if grid := find_grid(comparison):
            chief = _heatmap_metrics(comparison)
            figure = draw_heatmap(comparison, grid, chief)
            add("heatmap", figure, describe_heatmap(comparison, grid, chief))
        if len(spread_axes(comparison)) > 2 and (parallel := draw_parallel(comparison)):
            drawn["parallel"] = draw_whole(parallel, "parallel", describe_parallel(comparison))
    if names := measured_curves(curves):
        points = select_best(comparison, MOST_CURVES)
        over_epochs = draw_over_epochs(comparison, curves, names, points)
        add("curves", over_epochs, describe_curves(comparison, curves, names, points))
    return drawn


def _heatmap_metrics(comparison: Comparison) -> list[str]:
    names = dict.fromkeys([comparison.metric, *HEADLINES])
    return [name for name in names if comparison.has_values(name)][:_MOST_MAPS]


def _what(summary: SweepSummary) -> str:
    return summary.reproduction.what if summary.reproduction else ""


def _paper(
    comparison: Comparison, curves: pd.DataFrame, details: Details, summary: SweepSummary
) -> Drawn:
    reproduction = summary.reproduction
    if reproduction is None or reproduction.figure not in FIGURES or comparison.done.empty:
        return Drawn()
    return FIGURES[reproduction.figure](FigureData(comparison, curves, details, reproduction))
