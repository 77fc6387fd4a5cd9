"""The report's HTML page, rendered from :mod:`analysis.contents`."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from analysis.comparison import Comparison
from analysis.contents import MOST_CURVES, Contents, main_metrics
from analysis.findings import answer
from analysis.history_figure import explain_history
from analysis.importance_words import describe_importance, explain_method
from analysis.labels import (
    axis_label,
    metric_label,
    point_name,
    short_metric_label,
)
from analysis.mixed_hardware import warn_of_mixed_pairs
from analysis.palette import describe_colors
from analysis.paper_numbers import compare_with_paper
from analysis.parallel import rank_axes
from analysis.reference_rows import build_reference_rows, references_left_out
from analysis.seed_table import build_seed_rows, describe_seeds
from analysis.summary import SweepSummary
from analysis.tables import build_main_table, build_other_table
from analysis.trial_table import build_trial_table
from care.config.metrics import COLLAPSE
from care.pretrained.model_card import CITATION
from care.system.files import DamagedFileError
from care.trials.records import ProvenanceRecord
from care.trials.state import State
from care.trials.trial_files import StoreFiles

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_ROWS = 100  # points with a row in the main table
_MOST_COLUMNS = 12  # points with a column in the table of further measures
_CITED = ("code version", "git commit", "python version", "torch version")
_CONTENTS = "<!-- contents -->"
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>')


def render_page(files: StoreFiles, summary: SweepSummary, contents: Contents, out: Path) -> str:
    """Render the page as HTML that needs no other file.

    Args:
        files: The files of the store's trials.
        summary: The sweep.
        contents: Its tables, figures and remarks.
        out: The folder of the page, for its links.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    trials, comparison = contents.tables["trials"], contents.comparison
    colors = frozenset().union(*(drawing.colors for drawing in contents.figures.values()))
    counts = Counter(trials["state"]) if len(trials) else Counter()
    finished = counts.pop(State.FINISHED, 0)
    axes = comparison.axes if comparison else []
    provenance = _provenance(files, summary)
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        finished=finished,
        counts=counts,
        answer=answer(comparison) if comparison else None,
        collapse=COLLAPSE,
        figures=contents.figures,
        colors={mode: describe_colors(colors, dark=mode == "dark") for mode in ("light", "dark")},
        drawn=contents.drawn,
        remarks=[*contents.remarks, *references_left_out(summary)],
        mixed_pairs=warn_of_mixed_pairs(trials, summary.mixed),
        trials=build_trial_table(trials, axes, summary.metric, files.trials, out),
        total=len(trials),
        axes=[axis_label(name) for name in axes],
        table_file=contents.table_file,
        table_files=[*map(contents.table_file, contents.tables), *contents.texts],
        citation=CITATION,
        metric_label=short_metric_label(summary.metric),
        provenance=provenance,
        versions=[f"{name} {', '.join(provenance[name])}" for name in _CITED if name in provenance],
        correlations=rank_axes(comparison) if comparison and "parallel" in contents.figures else [],
        short_metric_label=short_metric_label,
        rankings=contents.importances.rankings,
        ranking_texts=[describe_importance(one) for one in contents.importances.rankings],
        ranking_notes=list(dict.fromkeys(map(explain_method, contents.importances.rankings))),
        history_text=explain_history(contents.history) if contents.history else "",
        not_ranked=contents.importances.left_out,
        curve_points=min(MOST_CURVES, len(comparison.points())) if comparison else 0,
        points=len(comparison.points()) if comparison else 0,
        seed_rows=build_seed_rows(summary),
        front=contents.front,
        front_rows=contents.front_rows,
        front_heads=[short_metric_label(one.metric) for one in summary.objectives],
        seeds_text="".join(describe_seeds(summary)),
        **_paper(comparison, summary),
        **_tables(comparison, summary, finished),
    )
    return page.replace(_CONTENTS, _list_sections(page), 1)


def _list_sections(page: str) -> str:
    """Make links to the headings of a page."""
    links = (f'<a href="#{name}">{title}</a>' for name, title in _HEADING.findall(page))
    return " ".join(links)


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
    metrics = main_metrics(summary)
    table = build_main_table(comparison, metrics, _MOST_ROWS)
    return {
        "table": table,
        "references": build_reference_rows(summary, table.metrics),
        "others": build_other_table(comparison, metrics, _MOST_COLUMNS),
        "baseline": point_name(comparison.axes[:1], comparison.points()[0][:1]),
    }


def _provenance(files: StoreFiles, summary: SweepSummary) -> dict[str, list[str]]:
    """Collect each fact's values among the trials: a single one, unless the trials differ."""
    facts: dict[str, set[str]] = {}
    records: dict[str | None, ProvenanceRecord | None] = {}  # of many trials they are equal
    for member in summary.members:
        trial = files.trial(member.trial_id)
        with contextlib.suppress(DamagedFileError):  # named in the table of trials
            records.setdefault(trial.digest("provenance.json"), trial.read_provenance())
    for record in filter(None, records.values()):
        flat = {
            **record.model_dump(exclude_unset=True),
            **{f"{name} version": v for name, v in record.versions.items()},
            **{f"{name} fingerprint": v for name, v in record.data.items()},
        }
        for name, value in flat.items():
            if name not in ("versions", "data"):
                facts.setdefault(name.replace("_", " "), set()).add(str(value))
    return {name: sorted(values) for name, values in facts.items()}
