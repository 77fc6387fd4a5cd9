"""The report's HTML page, rendered from :mod:`analysis.contents`."""

from __future__ import annotations

import base64
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.comparison import Comparison
from analysis.contents import Contents
from analysis.findings import answer
from analysis.labels import (
    axis_label,
    metric_label,
    point_name,
    short_metric_label,
    value_label,
)
from analysis.mixed_hardware import warn_of_mixed_pairs
from analysis.paper_numbers import compare_with_paper
from analysis.reference_rows import build_reference_rows, references_left_out
from analysis.summary import SweepSummary
from analysis.tables import build_main_table, build_other_table
from care.config.metrics import COLLAPSE, COLLAPSE_METRIC, is_collapsed
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.state import State

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(store_trials: Path, summary: SweepSummary, contents: Contents) -> str:
    """Render the page as HTML that needs no other file.

    Args:
        store_trials: The folder of the trials' folders.
        summary: The sweep.
        contents: Its tables, figures and remarks.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    trials, comparison = contents.tables["trials"], contents.comparison
    counts = Counter(trials["state"]) if len(trials) else Counter()
    finished = counts.pop(State.FINISHED, 0)
    return environment.get_template("report.html.j2").render(
        summary=summary,
        finished=finished,
        counts=counts,
        answer=answer(comparison) if comparison else None,
        collapse=COLLAPSE,
        figures={name: base64.b64encode(png).decode() for name, png in contents.figures.items()},
        drawn=contents.drawn,
        remarks=[*contents.remarks, *references_left_out(summary)],
        mixed_pairs=warn_of_mixed_pairs(trials, summary.mixed),
        trials=_trial_rows(trials, summary, comparison),
        axes=[axis_label(name) for name in (comparison.axes if comparison else [])],
        metric_label=short_metric_label(summary.metric),
        provenance=_provenance(store_trials, summary),
        **_paper(comparison, summary),
        **_tables(comparison, summary, finished),
    )


def _paper(comparison: Comparison | None, summary: SweepSummary) -> dict[str, Any]:
    """Return the page's variables for the paper's numbers beside the measured ones."""
    reproduction = summary.reproduction
    if comparison is None or reproduction is None or reproduction.metric is None:
        return {"paper_rows": [], "paper_metric": "", "spreads": False}
    rows = compare_with_paper(comparison, reproduction)
    return {
        "paper_rows": rows,
        "paper_metric": metric_label(reproduction.metric),
        "spreads": any(row.spread.n for row in rows),
    }


def _tables(comparison: Comparison | None, summary: SweepSummary, finished: int) -> dict[str, Any]:
    """Return the page's variables for the tables of measures, and the baseline's name."""
    if comparison is None or not finished:
        return {"table": None, "others": None, "baseline": "", "references": []}
    metrics = {summary.metric}
    if summary.reproduction and summary.reproduction.metric:
        metrics.add(summary.reproduction.metric)
    table = build_main_table(comparison, metrics)
    return {
        "table": table,
        "references": build_reference_rows(summary, table.metrics),
        "others": build_other_table(comparison, metrics),
        "baseline": point_name(comparison.axes[:1], comparison.points()[0][:1]),
    }


def _trial_rows(
    trials: pd.DataFrame, summary: SweepSummary, comparison: Comparison | None
) -> list[dict[str, Any]]:
    axes = comparison.axes if comparison else []
    rows: list[dict[str, Any]] = []
    for entry in trials.to_dict("records"):
        record = {str(name): value for name, value in entry.items()}
        metric = record.get(summary.metric)
        known = metric is not None and not pd.isna(metric)
        rows.append(
            {
                **record,
                "axes": [value_label(record[name]) for name in axes],
                "collapsed": record["state"] == State.FINISHED
                and is_collapsed(record.get(COLLAPSE_METRIC)),
                "metric": f"{metric:.4g}" if known else "–",
                "rate": "–"
                if pd.isna(record["images_per_second"])
                else f"{record['images_per_second']:,.0f}",
            }
        )
    return rows


def _provenance(store_trials: Path, summary: SweepSummary) -> dict[str, list[str]]:
    """Collect each fact's values among the trials: a single one, unless the trials differ."""
    facts: dict[str, set[str]] = {}
    for member in summary.members:
        record = None
        with contextlib.suppress(DamagedFileError):  # named in the table of trials
            record = TrialFolder(store_trials / member.trial_id).read_provenance()
        if record is None:
            continue
        flat = {
            **record.model_dump(exclude_unset=True),
            **{f"{name} version": v for name, v in record.versions.items()},
            **{f"{name} fingerprint": v for name, v in record.data.items()},
        }
        for name, value in flat.items():
            if name not in ("versions", "data"):
                facts.setdefault(name.replace("_", " "), set()).add(str(value))
    return {name: sorted(values) for name, values in facts.items()}
