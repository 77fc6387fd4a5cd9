"""The report of a sweep: a page that stands alone, figures as PNG, tables as CSV and Parquet."""

from __future__ import annotations

import base64
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.collect import collect
from analysis.comparison import Comparison, compare, paired_table, summary_table
from analysis.figures import (
    curves_figure,
    differences_figure,
    measures_figure,
    png,
    shown_measures,
)
from analysis.findings import findings, span
from analysis.freshness import NAME, fingerprint
from analysis.labels import (
    MEASURES,
    SHORT_SPACES,
    SPACES,
    axis_label,
    short_metric_label,
    value_label,
)
from analysis.paper import paper_rows
from analysis.paper_figures import FIGURES
from analysis.summary import SweepSummary
from care.files import DiskError
from care.trial_folder import TrialFolder

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(store_trials: Path, summary: SweepSummary, out: Path) -> Path:
    """Write the report of a sweep, whatever part of it is finished.

    Everything is written to a folder beside ``out`` first, so that ``out`` is never half new.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
        out: The report's folder; replaced.

    Returns:
        The page, ``out/report.html``.

    Raises:
        DiskError: It cannot be written; the report that was there still is.
    """
    fresh = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for folder in ("figures", "tables"):
            (fresh / folder).mkdir(parents=True)
        # Taken first: news that come while the report is written make it out of date.
        inputs = fingerprint(store_trials, summary)
        _write(store_trials, summary, fresh)
        (fresh / NAME).write_text(inputs, encoding="utf-8")
        _replace(out, fresh)
    except OSError as error:
        raise DiskError(out, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out / "report.html"


def _replace(out: Path, fresh: Path) -> None:
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _write(store_trials: Path, summary: SweepSummary, fresh: Path) -> None:
    trials, curves = collect(store_trials, summary)
    axes = list(summary.members[0].axes) if summary.members else []
    comparison = compare(trials, axes) if axes else None
    metrics = _metrics(comparison)
    tables = {"trials": trials, "curves": curves}
    figures: dict[str, bytes] = {}
    if comparison and metrics:
        tables["summary"] = summary_table(comparison, metrics)
        tables["differences"] = paired_table(comparison, metrics)
        figures["measures"] = png(measures_figure(comparison))
        figures["differences"] = png(differences_figure(comparison))
    if comparison and len(curves):
        figures["curves"] = png(curves_figure(comparison, curves))
    reproduction = summary.reproduction
    if comparison and metrics and reproduction and reproduction.figure in FIGURES:
        figures["paper"] = png(FIGURES[reproduction.figure](comparison, curves, reproduction))
    for name, table in tables.items():
        table.to_csv(fresh / "tables" / f"{name}.csv", index=False)
        table.to_parquet(fresh / "tables" / f"{name}.parquet", index=False)
    for name, content in figures.items():
        (fresh / "figures" / f"{name}.png").write_bytes(content)
    page = _page(store_trials, summary, comparison, trials, figures)
    (fresh / "report.html").write_text(page, encoding="utf-8")


def _metrics(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    columns = comparison.done.columns
    names = [f"{space}/{name}" for name in shown_measures(comparison) for space in SPACES]
    return [name for name in names if name in columns and comparison.done[name].notna().any()]


def _page(
    store_trials: Path,
    summary: SweepSummary,
    comparison: Comparison | None,
    trials: pd.DataFrame,
    figures: dict[str, bytes],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    counts = Counter(trials["state"]) if len(trials) else Counter()
    return environment.get_template("report.html.j2").render(
        summary=summary,
        counts=counts,
        finished=counts["cached"],
        span=span(comparison) if comparison else None,
        findings=findings(comparison) if comparison else [],
        paper_rows=paper_rows(comparison, summary.reproduction)
        if comparison and summary.reproduction
        else [],
        table=_headline_table(comparison) if comparison and counts["cached"] else None,
        figures={name: base64.b64encode(image).decode() for name, image in figures.items()},
        trials=_trial_rows(trials, summary),
        axes=[axis_label(name) for name in (comparison.axes if comparison else [])],
        metric_label=short_metric_label(summary.metric),
        provenance=_provenance(store_trials, summary),
    )


def _headline_table(comparison: Comparison) -> dict[str, Any]:
    """Means with intervals, a row a point, a column a measure."""
    metrics = [
        name for name in _metrics(comparison) if not name.endswith(("gamma_median", "knn_accuracy"))
    ]
    heads: dict[str, int] = {}
    for metric in metrics:
        label = MEASURES[metric.partition("/")[2]]
        heads[f"{label.short} {label.better}"] = heads.get(f"{label.short} {label.better}", 0) + 1
    rows = []
    for point in comparison.points():
        cells = [comparison.mean(point, metric) for metric in metrics]
        rows.append(([value_label(value) for value in point], cells))
    spaces = [SHORT_SPACES[metric.partition("/")[0]] for metric in metrics]
    return {"heads": heads, "spaces": spaces, "rows": rows}


def _trial_rows(trials: pd.DataFrame, summary: SweepSummary) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for entry in trials.to_dict("records"):
        record = {str(name): value for name, value in entry.items()}
        metric = record.get(summary.metric)
        known = metric is not None and not pd.isna(metric)
        rows.append(
            {
                **record,
                "axes": [value_label(record[name]) for name in summary.members[0].axes],
                "metric": f"{metric:.4g}" if known else "–",
                "rate": "–"
                if pd.isna(record["images_per_second"])
                else f"{record['images_per_second']:,.0f}",
            }
        )
    return rows


def _provenance(store_trials: Path, summary: SweepSummary) -> dict[str, list[str]]:
    """Each fact with every value it has among the trials: one, if the sweep is of a piece."""
    facts: dict[str, set[str]] = {}
    for member in summary.members:
        record = TrialFolder(store_trials / member.trial_id).read_provenance() or {}
        flat = {
            **record,
            **{f"{name} version": v for name, v in record.get("versions", {}).items()},
        }
        for name, value in flat.items():
            if name != "versions":
                facts.setdefault(name.replace("_", " "), set()).add(str(value))
    return {name: sorted(values) for name, values in facts.items()}
