"""From the store's files to MLflow's runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from care.claim import holder
from care.errors import CareError
from care.identity import code_version, flatten
from care.records import StatusRecord, TimingRecord, TrialRecord, Values
from care.trial_folder import TrialFolder
from sweeps.tracking.database import default_tracking_uri, writing
from sweeps.tracking.runs import Identity, Row, Run, Runs

_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "paused": "KILLED"}
_NOT_METRICS = ("epoch", "step")
_LOGGED, _CONFIRMED = "care.epochs_logged", "care.confirmed"


class Projection:
    """Brings MLflow up to date with the store, a sweep or a trial at a time.

    Every method may raise what MLflow raises; nothing of the store depends on it.

    Args:
        store: Root of the store.
        uri: Where MLflow keeps runs; by default an SQLite file in the store.
    """

    def __init__(self, store: Path, uri: str | None = None) -> None:
        self.store = store
        self.uri = uri or default_tracking_uri(store)
        self._runs = Runs(store, self.uri)
        self._written: dict[tuple[str, str], str] = {}

    def sync_sweep(self, name: str, description: str, state: str = "running") -> None:
        """Make or update the parent run of a sweep."""
        with writing(self.store):
            run = self._sweep_run(name)
            self._runs.log(run, {}, [], {"mlflow.note.content": description})
            self._runs.set_status(run, _STATUS[state], None)

    def recall(self, sweep: str, trials: Iterable[TrialFolder]) -> bool:
        """Learn what MLflow has of a sweep's trials, in a few calls.

        Returns:
            Whether it has everything: as they are now, they were confirmed.
        """
        versions = _versions(trials)
        with writing(self.store):
            if self._sweep_run(sweep).tags.get(_CONFIRMED) == _digest(versions):
                self._written |= {(sweep, trial): seen for trial, seen in versions.items()}
                return True
            for run in self._runs.search([(f"sweep.{sweep}", "member")]):
                identity = _identity(run.tags["trial_id"], run.tags["care.created"])
                self._runs.remember(identity, run)
        return False

    def confirm(self, sweep: str, trials: Iterable[TrialFolder]) -> None:
        """Note in MLflow that it has everything of a sweep's trials, if they were all synced."""
        versions = _versions(trials)
        if all(self._written.get((sweep, trial)) == seen for trial, seen in versions.items()):
            with writing(self.store):
                self._runs.log(self._sweep_run(sweep), {}, [], {_CONFIRMED: _digest(versions)})

    def sync_trial(self, folder: TrialFolder, sweep: str, label: str) -> None:
        """Make or update the child run of a trial; what it has already is not written again.

        Args:
            folder: The trial; one that was never started has no run.
            sweep: Name of the sweep that asks. The first one is the run's parent; the others are
                noted as tags ``sweep.<name>``.
            label: Name of the run.
        """
        status = folder.read_status()
        if status is None:
            return
        alive = _alive(folder, status)
        version = _version(status, alive)
        if self._written.get((sweep, folder.trial_id)) == version:
            return
        trial = folder.read_trial()
        if trial is None:
            raise CareError(f"{folder.path}: has no trial.json")
        identity = _identity(folder.trial_id, trial.created)
        state = status.state if alive else "paused"
        with writing(self.store):
            try:
                run = self._trial_run(identity, trial, sweep, label)
                self._update(run, folder, trial, status, {f"sweep.{sweep}": "member"})
                self._runs.set_status(run, _STATUS[state], _milliseconds(status.updated))
            except BaseException:
                self._runs.forget(identity)
                raise
        if state == "finished":
            self._runs.forget(identity)
        self._written[sweep, folder.trial_id] = version

    def attach(self, sweep: str, files: list[Path]) -> None:
        """Put files, e.g. the report, on the sweep's run; the same name replaces."""
        with writing(self.store):
            run = self._sweep_run(sweep)
            for file in files:
                self._runs.client.log_artifact(run.run_id, str(file), artifact_path="report")

    def _sweep_run(self, name: str) -> Run:
        identity = (("care.kind", "sweep"), ("sweep", name))
        return self._runs.find(identity) or self._runs.create(name, identity, {})

    def _trial_run(self, identity: Identity, trial: TrialRecord, sweep: str, label: str) -> Run:
        run = self._runs.known(identity)
        if run:
            return run
        # By one tag, for MLflow joins a table for each, and all trials have the same care.kind.
        found = self._runs.search(identity[:1])
        for run in found:
            if run.tags["care.created"] == trial.created:
                self._runs.remember(identity, run)
                return run
        # The trial was archived and is run anew: MLflow shows its old run under "deleted" only.
        for old in found:
            self._runs.client.delete_run(old.run_id)
        tags = {
            "group_id": trial.group_id,
            "seed": str(trial.config["seed"]),
            "mlflow.parentRunId": self._sweep_run(sweep).run_id,
        }
        return self._runs.create(label, identity, tags, _milliseconds(trial.created))

    def _update(
        self,
        run: Run,
        folder: TrialFolder,
        trial: TrialRecord,
        status: StatusRecord,
        tags: dict[str, str],
    ) -> None:
        """Log the epochs that the run has not, once the parameters and measures, and the tags.

        The rows of a metric are unique in (key, timestamp, step, value), and all of these come from
        the store: rows that a crash kept from being noted are written over, not twice.
        """
        metrics = folder.read_metrics()
        times = {timing.epoch: timing for timing in folder.read_timings()}
        logged = int(run.tags.get(_LOGGED, 0))
        rows = [row for line in metrics[logged:] for row in _epoch_rows(line, times)]
        measures = folder.read_evaluation()
        if measures and metrics and not set(measures) <= run.metrics:
            last = int(metrics[-1]["epoch"])
            ended = round(times[last].finished_at * 1000)
            # Step 0, because MLflow's page draws bars for what has no other step, dots otherwise.
            rows += [(name, value, ended, 0) for name, value in measures.items()]
        current = {**_trial_tags(folder, status), **tags}
        if metrics:
            current[_LOGGED] = str(len(metrics))
        # Tags are written last: a run without a state may lack its parameters as well.
        params = {} if "state" in run.tags else _params(trial.config)
        self._runs.log(run, params, rows, current)
        if "error" not in current:
            self._runs.delete_tag(run, "error")


def _identity(trial_id: str, created: str) -> Identity:
    return (("trial_id", trial_id), ("care.kind", "trial"), ("care.created", created))


def _alive(folder: TrialFolder, status: StatusRecord) -> bool:
    return status.state != "running" or holder(folder.path) is not None


def _version(status: StatusRecord, alive: bool) -> str:
    """What differs whenever a trial has news."""
    return status.updated if alive else f"{status.updated} left"


def _versions(trials: Iterable[TrialFolder]) -> dict[str, str]:
    """By trial, of those that were ever started."""
    read = [(folder, folder.read_status()) for folder in trials]
    return {
        folder.trial_id: _version(status, _alive(folder, status))
        for folder, status in read
        if status
    }


def _digest(versions: dict[str, str]) -> str:
    # What is stale depends on the code.
    content = json.dumps([code_version(), sorted(versions.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _trial_tags(folder: TrialFolder, status: StatusRecord) -> dict[str, str]:
    provenance = folder.read_provenance()
    if provenance is None:
        raise CareError(f"{folder.path}: has no provenance.json")
    code = provenance.code_version
    tags = {
        "state": status.state,
        "code_version": code,
        "stale": "no" if code == code_version() else "yes",
        "git_commit": str(provenance.git_commit)[:12],
        "git_dirty": str(provenance.git_dirty).lower(),
        "device": provenance.device,
        "threads": str(provenance.threads),
        "precision": str(provenance.precision),
    }
    if status.error:
        tags["error"] = f"{status.error.kind}: {status.error.message}"[:500]
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
