"""The content of a trial's MLflow run, read from the trial's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from analysis.labels import VARIANT, axis_name, short_names, value_label
from care.config import TrialConfig
from care.errors import CareError
from care.system.files import DamagedFileError
from care.system.redaction import redact
from care.trials.folder import TrialFolder
from care.trials.identity import flatten
from care.trials.log import LOG
from care.trials.records import ProvenanceRecord, StatusRecord, TimingRecord, Values
from care.trials.staleness import Versions, is_own
from care.trials.state import State
from sweeps.states import TO_TRAIN
from sweeps.store import TrialStatus, trial_status
from sweeps.tracking.run import Dataset, Identity, Row

SYSTEM_METRICS = {
    "cpu_percent": "system/process_cpu_percentage",
    "memory_megabytes": "system/process_memory_megabytes",
    "gpu_percent": "system/gpu_0_utilization_percentage",
    "gpu_memory_megabytes": "system/gpu_0_memory_usage_megabytes",
    "gpu_watts": "system/gpu_0_power_usage_watts",
}
"""MLflow's names of a trial's use of the machine, by field of its timings."""

_NOT_METRICS = ("epoch", "step")
LONGEST_MESSAGE = 500
_LONGEST_LOG = 2**16  # characters
_PICTURES = (".png", ".svg")
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, eight times as fast
_DIGEST = 36  # characters that MLflow allows


@dataclass(frozen=True)
class TrackedTrial:
    """A trial with its state at one moment.

    Attributes:
        folder: Its folder.
        label: Name of its run.
        status: Its state, as a plan shows it.
        updated: Time of its last status; empty if it was never started.
        point: Its point, axis to value.
        held: By whose wish it is held in the sweep; empty if it is not.
    """

    folder: TrialFolder
    label: str
    status: TrialStatus
    updated: str
    point: Mapping[str, Any] = field(default_factory=dict)
    held: str = ""

    @property
    def version(self) -> str:
        """A text that changes whenever the trial does; empty if it was never started."""
        if not self.updated and self.status.state != State.DAMAGED:
            return ""
        parts = (self.updated, self.status.state, self.status.reason)
        return "|".join((*parts, self.held) if self.held else parts)


def inspect_trial(
    folder: TrialFolder,
    label: str,
    versions: Versions,
    config: TrialConfig,
    point: Mapping[str, Any] | None = None,
) -> TrackedTrial:
    """Determine the current state of a trial.

    Args:
        folder: Its folder.
        label: Name of its run.
        versions: The current code and data; results of others are stale.
        config: Its planned configuration.
        point: Its point, axis to value.
    """
    point = point or {}
    try:
        status = trial_status(folder, versions, config)
        record = folder.read_status()
    except CareError as error:
        return TrackedTrial(folder, label, TrialStatus(State.DAMAGED, 0, str(error)), "", point)
    return TrackedTrial(folder, label, status, record.updated if record else "", point)


@dataclass(frozen=True)
class RunRecord:
    """The content of a trial's MLflow run.

    Attributes:
        identity: Tags that identify the run.
        created: Milliseconds since 1970.
        state: The recorded state; paused if its process died or a file is missing, or damaged.
        updated: Milliseconds since 1970.
        tags: Tags that follow the trial's state.
        origin: Tags that only a new run gets.
        params: The configuration, flat, without ``runtime``; axes by their short names besides.
        files: Configuration, provenance and the end of the log as text, by name.
        datasets: The data sets of the training and of the measures.
        epochs: The metric rows of each epoch.
        measures: The metric rows of the final measures.
        held: By whose wish it is held in the sweep; empty if it is not.
    """

    identity: Identity
    created: int
    state: State
    updated: int
    tags: dict[str, str]
    origin: dict[str, str]
    params: dict[str, str]
    files: dict[str, str]
    datasets: list[Dataset]
    epochs: list[list[Row]]
    measures: list[Row]
    held: str = ""


def read_record(trial: TrackedTrial) -> RunRecord:
    """Read the content of a run from a trial's files.

    Raises:
        CareError: A file is damaged, missing, or contradicts another one.
    """
    folder, content = trial.folder, trial.folder.read_trial()
    status, provenance = folder.read_status(), folder.read_provenance()
    if content is None or status is None or provenance is None:
        raise DamagedFileError(folder.path, "lacks one of trial.json, status.json, provenance.json")
    metrics, times = folder.read_metrics(), _read_timings(folder)
    created = milliseconds(content.created)
    measures: list[Row] = []
    if metrics:
        ended = _ended(times.get(len(metrics)), created)
        final = folder.read_evaluation() or {}
        measures = [(name, value, ended, len(metrics)) for name, value in final.items()]
    return RunRecord(
        identity=trial_identity(folder.trial_id, content.created),
        created=created,
        state=_state(trial, status),
        updated=milliseconds(status.updated),
        tags=_tags(trial, status, provenance),
        origin={"point": trial.label.rpartition(" seed=")[0]},
        params=_params(content.config, trial.point),
        files={**_files(content.config, provenance), **_log(folder)},
        datasets=list(_datasets(content.config, provenance)),
        epochs=[list(_epoch_rows(line, times, created)) for line in metrics],
        measures=measures,
        held=trial.held,
    )


def _state(trial: TrackedTrial, status: StatusRecord) -> State:
    """Return the true state: a process may have died, or a finished trial may lack a file."""
    actual = trial.status.state
    if actual == State.DAMAGED:
        return actual
    abandoned = status.state == State.RUNNING and actual != State.RUNNING
    incomplete = status.finished and actual in TO_TRAIN
    return State.PAUSED if abandoned or incomplete else status.state


def trial_identity(trial_id: str, created: str) -> Identity:
    """Make the tags that identify a trial's run within a store."""
    return (("trial_id", trial_id), ("care.kind", "trial"), ("care.created", created))


def _tags(
    trial: TrackedTrial, status: StatusRecord, provenance: ProvenanceRecord
) -> dict[str, str]:
    stale = trial.status.state == State.STALE
    tags = {
        "state": _state(trial, status).value,
        "stale": "yes" if stale else "no",
        "care.code_version": provenance.code_version,
        "care.device": provenance.device,
        "care.threads": str(provenance.threads),
        "care.precision": str(provenance.precision),
    }
    if provenance.slurm_job:
        tags["slurm_job"] = provenance.slurm_job
    if provenance.git_commit:
        tags["mlflow.source.git.commit"] = provenance.git_commit
    if stale:
        tags["stale_reason"] = trial.status.reason[:LONGEST_MESSAGE]
    if trial.status.state == State.DAMAGED:
        tags["error"] = trial.status.reason[:LONGEST_MESSAGE]
    elif status.error:
        tags["error"] = f"{status.error.kind}: {status.error.message}"[:LONGEST_MESSAGE]
    return tags


def _params(config: dict[str, Any], point: Mapping[str, Any]) -> dict[str, str]:
    """Flatten the configuration, without ``runtime``, and add the axes' short names."""
    full = {name: value for name, value in flatten(config) if name[:8] != "runtime."}
    short = {name: full[field] for name, field in short_names(full).items()}
    short |= {axis_name(axis): value for axis, value in point.items() if axis != VARIANT}
    return {
        **{name: value_label(value) for name, value in short.items()},
        **{name: str(value) for name, value in full.items()},
    }


def _files(config: dict[str, Any], provenance: ProvenanceRecord) -> dict[str, str]:
    return {
        "config.yaml": yaml.dump(
            config, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, default_flow_style=False
        ),
        "provenance.json": provenance.model_dump_json(indent=2),
    }


def _log(folder: TrialFolder) -> dict[str, str]:
    """Return the end of a trial's log; empty for a trial without one, or if it is damaged."""
    try:
        text = folder.read_log()
    except DamagedFileError:
        return {}
    left_out = len(text) - _LONGEST_LOG
    if left_out > 0:
        text = f"[the first {left_out} characters are in the store]\n{text[-_LONGEST_LOG:]}"
    return {LOG: redact(text)} if text else {}


def _datasets(config: dict[str, Any], provenance: ProvenanceRecord) -> Iterator[Dataset]:
    """Yield the data sets whose fingerprints are recorded."""
    full = dict(flatten(config))
    for name, fingerprint in provenance.data.items():
        known = full.get(f"{name}.name") or full.get(name) or name
        context = "train" if is_own(name) else "transfer"
        yield Dataset(str(known), fingerprint[:_DIGEST], context)


def _read_timings(folder: TrialFolder) -> dict[int, TimingRecord]:
    """Read the times of the epochs; a damaged log gives none, which loses no metric."""
    try:
        return {timing.epoch: timing for timing in folder.read_timings()}
    except DamagedFileError:
        return {}


def _ended(timing: TimingRecord | None, created: int) -> int:
    """Return an epoch's end, or the trial's start if it is unknown, in milliseconds since 1970."""
    return round(timing.finished_at * 1000) if timing else created


def _epoch_rows(line: Values, times: dict[int, TimingRecord], created: int) -> Iterator[Row]:
    epoch = int(line["epoch"])
    timing = times.get(epoch)
    values: Values = {**line}
    if timing:
        values["images_per_second"] = timing.images_per_second
    if timing and timing.usage:
        use = timing.usage.model_dump(include=set(SYSTEM_METRICS), exclude_none=True)
        values |= {SYSTEM_METRICS[name]: value for name, value in use.items()}
    for name, value in values.items():
        if name not in _NOT_METRICS:
            yield name, value, _ended(timing, created), epoch


def milliseconds(moment: str) -> int:
    """Convert a time in ISO 8601 to milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def report_files(report: Path) -> list[Path]:
    """List the files of a report to attach to its sweep's run; empty without a report."""
    page = report / "report.html"
    figures = (file for file in (report / "figures").glob("*") if file.suffix in _PICTURES)
    return [page, *sorted(figures)] if page.exists() else []
