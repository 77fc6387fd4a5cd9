"""A trial of the store as MLflow is to show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.errors import CareError
from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from care.trials.identity import flatten
from care.trials.records import ProvenanceRecord, StatusRecord, TimingRecord, Values
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.states import TO_TRAIN
from sweeps.store import TrialStatus, trial_status
from sweeps.tracking.run_cache import Identity, Row

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
        """A text that differs whenever the trial has changed; empty when it was never started."""
        if not self.updated and self.status.state != State.DAMAGED:
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
        return TrackedTrial(folder, label, TrialStatus(State.DAMAGED, 0, str(error)), "")
    return TrackedTrial(folder, label, status, record.updated if record else "")


@dataclass(frozen=True)
class Record:
    """What MLflow's run of a trial holds.

    Attributes:
        identity: Tags that the run is found by.
        created: Milliseconds since 1970.
        state: As recorded; paused where its process died or a file is gone, or damaged.
        updated: Milliseconds since 1970.
        tags: Everything about how it stands.
        origin: What a run that is made gets besides.
        params: The configuration, flat, without ``runtime``.
        epochs: The rows of each epoch.
        measures: The rows of the final measures.
    """

    identity: Identity
    created: int
    state: State
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
    metrics, times = folder.read_metrics(), _read_timings(folder)
    created = _milliseconds(content.created)
    measures: list[Row] = []
    if metrics:
        ended = _ended(times.get(len(metrics)), created)
        # Step 0, because MLflow's page draws bars for what has no other step, dots otherwise.
        final = folder.read_evaluation() or {}
        measures = [(name, value, ended, 0) for name, value in final.items()]
    return Record(
        identity=trial_identity(folder.trial_id, content.created),
        created=created,
        state=_state(trial, status),
        updated=_milliseconds(status.updated),
        tags=_tags(trial, status, provenance),
        origin={"group_id": content.group_id, "seed": str(content.config["seed"])},
        params=_params(content.config),
        epochs=[list(_epoch_rows(line, times, created)) for line in metrics],
        measures=measures,
    )


def _state(trial: TrackedTrial, status: StatusRecord) -> State:
    """The state that holds now: a process may have died, a file of a finished trial be gone."""
    judged = trial.status.state
    if judged == State.DAMAGED:
        return judged
    left = status.state == State.RUNNING and judged != State.RUNNING
    reopened = status.finished and judged in TO_TRAIN
    return State.PAUSED if left or reopened else status.state


def trial_identity(trial_id: str, created: str) -> Identity:
    """The tags that a trial's run is found by, in one store."""
    return (("trial_id", trial_id), ("care.kind", "trial"), ("care.created", created))


def _tags(
    trial: TrackedTrial, status: StatusRecord, provenance: ProvenanceRecord
) -> dict[str, str]:
    stale = trial.status.state == State.STALE
    tags = {
        "state": _state(trial, status).value,
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
    if trial.status.state == State.DAMAGED:
        tags["error"] = trial.status.reason[:LONGEST_MESSAGE]
    elif status.error:
        tags["error"] = f"{status.error.kind}: {status.error.message}"[:LONGEST_MESSAGE]
    return tags


def _params(config: dict[str, Any]) -> dict[str, str]:
    """The configuration, flat and without ``runtime``."""
    return {name: str(value) for name, value in flatten(config) if name[:8] != "runtime."}


def _read_timings(folder: TrialFolder) -> dict[int, TimingRecord]:
    """Read when each epoch ended; without it the numbers count all the same."""
    try:
        return {timing.epoch: timing for timing in folder.read_timings()}
    except DamagedFileError:
        return {}


def _ended(timing: TimingRecord | None, created: int) -> int:
    """When an epoch ended in milliseconds since 1970; the trial's start where that is unknown."""
    return round(timing.finished_at * 1000) if timing else created


def _epoch_rows(line: Values, times: dict[int, TimingRecord], created: int) -> Iterator[Row]:
    epoch = int(line["epoch"])
    timing = times.get(epoch)
    values = {**line, **({"images_per_second": timing.images_per_second} if timing else {})}
    for name, value in values.items():
        if name not in _NOT_METRICS:
            yield name, value, _ended(timing, created), epoch


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def report_files(report: Path) -> list[Path]:
    """The files of a report that its sweep's run gets; none when it was not written."""
    page = report / "report.html"
    return [page, *sorted((report / "figures").glob("*.png"))] if page.exists() else []
