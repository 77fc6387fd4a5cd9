"""A trial of the store as MLflow is to show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.errors import CareError
from care.files import DamagedFileError
from care.identity import flatten
from care.records import ProvenanceRecord, StatusRecord, TimingRecord, Values
from care.staleness import Versions
from care.trial_folder import TrialFolder
from sweeps.store import TrialStatus, trial_status
from sweeps.tracking.runs import Identity, Row

_NOT_METRICS = ("epoch", "step")
LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class TrackedTrial:
    """A trial with its state at one moment.

    Attributes:
        folder: Its files.
        label: Name of its run.
        status: Its state, as a plan shows it.
        updated: When its status was written; empty when it was never started.
    """

    folder: TrialFolder
    label: str
    status: TrialStatus
    updated: str

    @property
    def version(self) -> str:
        """What differs whenever the trial has news; empty when it was never started."""
        if not self.updated and self.status.state != "damaged":
            return ""
        return "|".join((self.updated, self.status.state, self.status.reason))


def look_at(
    folder: TrialFolder, label: str, versions: Versions, config: TrialConfig
) -> TrackedTrial:
    """Judge a trial now.

    Args:
        folder: Its files.
        label: Name of its run.
        versions: Code and data whose results count.
        config: Its configuration as it is planned now.
    """
    try:
        status = trial_status(folder, versions, config)
        record = folder.read_status()
    except CareError as error:
        return TrackedTrial(folder, label, TrialStatus("damaged", 0, str(error)), "")
    return TrackedTrial(folder, label, status, record.updated if record else "")


@dataclass(frozen=True)
class Record:
    """What MLflow's run of a trial holds.

    Attributes:
        identity: Tags that the run is found by.
        created: Milliseconds since 1970.
        state: The trial's own: running, paused, finished or failed.
        updated: Milliseconds since 1970.
        tags: Everything about how it stands.
        origin: What a run that is made gets besides.
        params: The configuration, flat, without ``runtime``.
        epochs: The rows of each epoch.
        measures: The rows of the final measures.
    """

    identity: Identity
    created: int
    state: str
    updated: int
    tags: dict[str, str]
    origin: dict[str, str]
    params: dict[str, str]
    epochs: list[list[Row]]
    measures: list[Row]


def read_record(trial: TrackedTrial) -> Record:
    """Read a trial's files.

    Raises:
        CareError: A file is damaged, missing, or does not fit the others.
    """
    folder, content = trial.folder, trial.folder.read_trial()
    status, provenance = folder.read_status(), folder.read_provenance()
    if content is None or status is None or provenance is None:
        raise DamagedFileError(folder.path, "lacks one of trial.json, status.json, provenance.json")
    metrics = folder.read_metrics()
    times = {timing.epoch: timing for timing in folder.read_timings()}
    missing = [int(line["epoch"]) for line in metrics if line["epoch"] not in times]
    if missing:
        raise DamagedFileError(folder.path / "timings.jsonl", f"lacks epoch {missing[0]}")
    measures: list[Row] = []
    if metrics:
        ended = round(times[len(metrics)].finished_at * 1000)
        # Step 0, because MLflow's page draws bars for what has no other step, dots otherwise.
        found = folder.read_evaluation() or {}
        measures = [(name, value, ended, 0) for name, value in found.items()]
    left = status.state == "running" and trial.status.state != "running"
    return Record(
        identity=trial_identity(folder.trial_id, content.created),
        created=_milliseconds(content.created),
        state="paused" if left else status.state,
        updated=_milliseconds(status.updated),
        tags=_tags(trial, status, provenance),
        origin={"group_id": content.group_id, "seed": str(content.config["seed"])},
        params=_params(content.config),
        epochs=[list(_epoch_rows(line, times)) for line in metrics],
        measures=measures,
    )


def trial_identity(trial_id: str, created: str) -> Identity:
    """The tags that a trial's run is found by, in one store."""
    return (("trial_id", trial_id), ("care.kind", "trial"), ("care.created", created))


def _tags(
    trial: TrackedTrial, status: StatusRecord, provenance: ProvenanceRecord
) -> dict[str, str]:
    stale = trial.status.state == "stale"
    tags = {
        "state": status.state,
        "code_version": provenance.code_version,
        "stale": "yes" if stale else "no",
        "git_commit": str(provenance.git_commit)[:12],
        "git_dirty": str(provenance.git_dirty).lower(),
        "device": provenance.device,
        "threads": str(provenance.threads),
        "precision": str(provenance.precision),
    }
    if provenance.git_commit:
        tags["mlflow.source.git.commit"] = provenance.git_commit
    if stale:
        tags["stale_reason"] = trial.status.reason[:LONGEST_MESSAGE]
    if status.error:
        tags["error"] = f"{status.error.kind}: {status.error.message}"[:LONGEST_MESSAGE]
    return tags


def _params(config: dict[str, Any]) -> dict[str, str]:
    """The configuration, flat and without ``runtime``."""
    return {name: str(value) for name, value in flatten(config) if name[:8] != "runtime."}


def _epoch_rows(line: Values, times: dict[int, TimingRecord]) -> Iterator[Row]:
    timing = times[int(line["epoch"])]
    when = round(timing.finished_at * 1000)
    values = {**line, "images_per_second": timing.images_per_second}
    for name, value in values.items():
        if name not in _NOT_METRICS:
            yield name, value, when, int(line["epoch"])


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def report_files(report: Path) -> list[Path]:
    """The files of a report that its sweep's run gets; none when it was not written."""
    page = report / "report.html"
    return [page, *sorted((report / "figures").glob("*.png"))] if page.exists() else []
