"""The run of a sweep as the first page of a review, and the views and the index that link to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from analysis.labels import CURVE_PARTS, axis_label
from care.trials.records import SweepRecord
from sweeps.tracking import links
from sweeps.tracking.answer import SweepAnswer
from sweeps.tracking.marks import NOTE, read_marks, set_marks, short_digest
from sweeps.tracking.notes import merge_note
from sweeps.tracking.run import Row, Run
from sweeps.tracking.run_cache import RunCache
from sweeps.tracking.sweep_views import (
    ViewNames,
    front_tag,
    member_tag,
    view_of_sweeps,
    views_of_sweep,
)
from sweeps.tracking.views import LONGEST, PREFIX, View

_PICTURE, _TABLE, _DECLARATION = "note.png", "summary.json", "sweep.yaml"
_LONGEST_NOTE = 7500  # characters; MLflow's tags have 8000
_LONGEST_ANSWER = 500
_FIRST_SWEEPS = 8  # in the index's first line
_NOTE_DIGEST, _VIEW_DIGEST = "care.note", "care.view."


class SweepPage:
    """Writes what a sweep's run shows, for the holder of the destination's lock.

    Args:
        runs: The store's runs.
    """

    def __init__(self, runs: RunCache) -> None:
        self._runs = runs

    @property
    def _names(self) -> ViewNames:
        return ViewNames(self._runs.store_uuid)

    def contradicts(self, run: Run, answer: SweepAnswer) -> bool:
        """Check whether a run has values that the store does not have; MLflow keeps every value.

        Values of stale trials are not in the answer; they stay, since the run tells their state.
        """
        curves = answer.overview.curves if answer.overview else {}
        logged = self._logged(run, answer)
        if any(logged.get(key, value) != value for key, value in curves.items()):
            return True
        return not answer.stale and bool(logged.keys() - curves.keys())

    def _logged(self, run: Run, answer: SweepAnswer) -> dict[tuple[str, int], float]:
        curves = answer.overview.curves if answer.overview else {}
        ours = {name for name, _ in curves}
        ours |= {name for name in run.metrics if name.rpartition(" ")[2] in CURVE_PARTS}
        return self._runs.read_rows(run, sorted(ours & run.metrics))

    def write(
        self, run: Run, answer: SweepAnswer, declaration: SweepRecord | None, time: int, key: str
    ) -> None:
        """Write the curves, files, description and tags of a sweep's run.

        Args:
            run: The run.
            answer: The answer; it does not contradict the run.
            declaration: The sweep's record; None if it cannot be read.
            time: Time of the curves, milliseconds since 1970.
            key: Digest of the answer's inputs, written last.
        """
        complete = self._runs.log_files(run, _files(answer))
        logged = self._logged(run, answer)
        curves = answer.overview.curves if answer.overview else {}
        rows: list[Row] = [
            (name, value, time, step)
            for (name, step), value in curves.items()
            if (name, step) not in logged
        ]
        text = self._describe(run, answer, declaration)[:_LONGEST_NOTE]
        tags = {"answer": _one_line(answer)[:_LONGEST_ANSWER]}
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": _TABLE, "type": "table"}])
        note = self._merge(run, text)
        if note is not None:
            tags[NOTE] = note
        marks = {"answer": key if complete else ""} | (
            {} if note is None else {"note": short_digest(text)}
        )
        self._mark_front(run.tags["sweep"], answer)
        self._runs.log(run, {}, rows, {**tags, **set_marks(run, **marks)})

    def _mark_front(self, sweep: str, answer: SweepAnswer) -> None:
        """Tag the runs of the trials on the Pareto front, and remove the tag from all others."""
        front, tag = answer.overview.front if answer.overview else frozenset(), front_tag(sweep)
        if not answer.several:
            return
        for run in self._runs.search([(member_tag(sweep), None)]):
            if run.deleted:
                continue
            if run.tags.get("trial_id") not in front:
                self._runs.delete_tag(run, tag)
            elif tag not in run.tags:
                self._runs.log(run, {}, [], {tag: "yes"})

    def _merge(self, run: Run, text: str) -> str | None:
        if NOTE in run.tags:
            self._runs.refresh(run)  # a reviewer may have edited it
        return merge_note(run.tags.get(NOTE), text, read_marks(run).get("note", ""))

    def _describe(self, run: Run, answer: SweepAnswer, declaration: SweepRecord | None) -> str:
        overview, names, experiment = answer.overview, self._names, self._runs.experiment
        sweep = run.tags["sweep"]
        title = axis_label(answer.axes[0]) if answer.axes else "point"
        shown = {
            f"Charts by {title}": links.view_page(experiment, names.by_axis(sweep)),
            "every trial": links.view_page(experiment, names.trials(sweep)),
            "all sweeps": links.view_page(experiment, names.sweeps),
        }
        if read_marks(run).get("report"):
            shown["report"] = links.file_page(experiment, run.run_id, "report/report.html")
        parts = [f"**{overview.answer}**" if overview else ""]
        parts += [" · ".join(f"[{text}]({page})" for text, page in shown.items())]
        parts += [f"{answer.counts}{'' if answer.complete else ' (means of the finished ones)'}"]
        if overview:
            parts += [
                f"```\n{overview.text_table}\n```",
                "means over n seeds ± half of the 95 % t-interval",
                *overview.remarks,
            ]
        if lines := [*answer.ending.lines(), *answer.stopped]:
            parts.append("\n".join(f"- {line}" for line in lines))
        if overview and overview.picture:
            parts.append(f"![measures]({links.file_address(run.run_id, _PICTURE)})")
        if declaration and declaration.command:
            parts.append(f"`{declaration.command}`")
        parts.append(answer.description)
        return "\n\n".join(part for part in parts if part)

    def write_views(self, sweep: str, answer: SweepAnswer) -> None:
        """Write the views of a sweep, the view of all sweeps, and the index of sweeps."""
        chief = answer.overview.chief if answer.overview else []
        self._write_views(
            views_of_sweep(self._names, sweep, answer.axes, answer.numeric, chief, answer.monitored)
        )

    def remove_views(self, sweep: str) -> None:
        """Remove the views of a deleted sweep that no reviewer changed, and update the index."""
        current = self._runs.experiment_tags()
        for identity in (self._names.by_axis(sweep), self._names.trials(sweep)):
            name, digest = f"{PREFIX}{identity}", f"{_VIEW_DIGEST}{identity}"
            if name in current and not _is_edited(current[name], current.get(digest, "")):
                self._runs.untag_experiment([tag for tag in (name, digest) if tag in current])
        self._write_views({})

    def _write_views(self, views: Mapping[str, View]) -> None:
        sweeps = [run for run in self._runs.search([("care.kind", "sweep")]) if not run.deleted]
        curves = set[str]().union(*(run.metrics for run in sweeps))
        current = self._runs.experiment_tags()
        tags: dict[str, str] = {}
        for identity, view in {**views, **view_of_sweeps(self._names, curves)}.items():
            with contextlib.suppress(ValueError):  # too long: the page has its own charts
                tags |= _unless_edited(identity, view.envelope(), current)
        index = self._index(sweeps)
        digest = f"{_NOTE_DIGEST}{self._runs.store_uuid and f'.{self._runs.store_uuid[:8]}'}"
        note = merge_note(
            current.get(NOTE), index, current.get(digest, ""), self._runs.store_uuid[:8]
        )
        if note is not None and note != current.get(NOTE) and len(note) < LONGEST:
            tags |= {digest: _next_digest(index, current.get(digest)), NOTE: note}
        self._runs.tag_experiment(tags)

    def _index(self, sweeps: list[Run]) -> str:
        experiment, names = self._runs.experiment, self._names
        ordered = sorted(sweeps, key=lambda run: run.tags["sweep"])
        # The page shows one line before the reader opens the rest.
        charts = {run.tags["sweep"]: names.by_axis(run.tags["sweep"]) for run in ordered}
        first = {"All sweeps": names.sweeps, **dict(list(charts.items())[:_FIRST_SWEEPS])}
        pages = [f"[{text}]({links.view_page(experiment, name)})" for text, name in first.items()]
        lines = [" · ".join(pages), ""]
        for run in ordered:
            sweep = run.tags["sweep"]
            links_of_run = {
                sweep: links.run_page(experiment, run.run_id),
                "charts": links.view_page(experiment, names.by_axis(sweep)),
                "trials": links.view_page(experiment, names.trials(sweep)),
            }
            shown = " · ".join(f"[{text}]({page})" for text, page in links_of_run.items())
            line = f"- {shown}: {run.tags.get('answer', '')}".rstrip(": ")
            if sum(map(len, lines)) + len(line) > LONGEST // 4:
                lines.append(f"- … {len(sweeps)} sweeps in all: the table below has every one")
                break
            lines.append(line)
        return "\n".join(lines)


def _files(answer: SweepAnswer) -> Mapping[str, str | bytes]:
    files: dict[str, str | bytes] = {_DECLARATION: answer.declaration}
    if answer.overview:
        table = answer.overview.table
        rows = [list(row) for row in zip(*table.values(), strict=True)]
        files[_TABLE] = json.dumps({"columns": list(table), "data": rows}, ensure_ascii=False)
        if answer.overview.picture:
            files[_PICTURE] = answer.overview.picture
    return files


def _one_line(answer: SweepAnswer) -> str:
    return answer.overview.answer if answer.overview else answer.counts


def _unless_edited(identity: str, value: str, current: Mapping[str, str]) -> dict[str, str]:
    """Make the tags of a view; empty if it is up to date, or if a reviewer changed it."""
    name, digest = f"{PREFIX}{identity}", f"{_VIEW_DIGEST}{identity}"
    existing, written = current.get(name), current.get(digest, "")
    if existing == value or (existing is not None and _is_edited(existing, written)):
        return {}
    return {digest: _next_digest(value, written), name: value}


def _is_edited(existing: str, written: str) -> bool:
    return short_digest(existing) not in written.split()


def _next_digest(value: str, written: str | None) -> str:
    """Make the digest of a text, written before it; the last one counts until the text follows."""
    return " ".join([short_digest(value), *(written or "").split()[:1]])
