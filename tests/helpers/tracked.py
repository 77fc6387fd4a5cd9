"""Trials of a store as tests have MLflow show them, and everything that MLflow then holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from care.config import TrialConfig
from care.trials.folder import TrialFolder
from care.trials.records import ProvenanceRecord, TimingRecord
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.process.lock import locked
from sweeps.store import Store
from sweeps.store_identity import settle_identity
from sweeps.tracking import MlflowSync
from sweeps.tracking.database import connect
from sweeps.tracking.run_record import TrackedTrial, inspect_trial
from sweeps.tracking.tracking_uri import destination_of

LABEL = "λ=0.1 seed=0"


def write_epochs(folder: TrialFolder, first: int, last: int) -> None:
    """Append epochs as a training does."""
    for epoch in range(first, last + 1):
        metrics = {"epoch": epoch, "step": epoch * 5, "train/loss": 1 / epoch}
        timing = TimingRecord(
            epoch=epoch, seconds=1.0, images_per_second=9.0, finished_at=1e9 + epoch
        )
        folder.append_epoch(metrics, timing)


def begin(store: Path, config: TrialConfig, name: str = "0123456789abcdef") -> TrialFolder:
    """Write a trial after two of three epochs, paused."""
    made = TrialFolder(store / "trials" / name)
    made.create(config)
    made.write_provenance(
        ProvenanceRecord(code_version="c0de", threads=1, git_commit="a" * 40, git_dirty=False)
    )
    write_epochs(made, 1, 2)
    made.write_status(State.PAUSED, 2, 3)
    return made


def finish(folder: TrialFolder) -> None:
    """Write the last epoch and the measures."""
    write_epochs(folder, 3, 3)
    folder.write_evaluation({"head/gamma": 0.25, "encoder/gamma": 0.5})
    folder.write_details({"notes": np.array([], np.str_)})
    folder.write_status(State.FINISHED, 3, 3)


def seen(folder: TrialFolder, label: str = LABEL) -> TrackedTrial:
    """Judge a trial."""
    trial = folder.read_trial()
    assert trial
    config = TrialConfig.model_validate(trial.config)
    return inspect_trial(folder, label, Versions(), config)


def sync(store: Path, folder: TrialFolder, sweep: str = "s", uri: str | None = None) -> None:
    """Bring a sweep and its trial up to date as a new process does."""
    projection = MlflowSync(store, uri)
    projection.sync_sweep(sweep, "what it is")
    projection.sync_trial(seen(folder), sweep)


def open_mlflow(store: Path, uri: str | None = None) -> tuple[Any, str]:
    """MLflow's client and the experiment's id."""
    Store(store).prepare()
    destination = destination_of(store, uri)
    with locked(destination.lock, print):
        return connect(destination, settle_identity(store, print), print)


def dump(store: Path, uri: str | None = None, own_only: bool = True) -> list[dict[str, Any]]:
    """Everything MLflow shows of a store, by run name, without what each making of it changes."""
    client, experiment = open_mlflow(store, uri)
    found = []
    for run in client.search_runs([experiment]):
        if own_only and run.data.tags.get("care.store") != Store(store).prepare():
            continue
        history = {
            name: [
                (m.value, m.step, m.timestamp)
                for m in client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        tags = {k: v for k, v in run.data.tags.items() if k not in ("mlflow.parentRunId",)}
        parent = run.data.tags.get("mlflow.parentRunId")
        found.append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "tags": tags,
                "metrics": history,
                "parent": client.get_run(parent).info.run_name if parent else None,
            }
        )
    return sorted(found, key=lambda run: str(run["name"]))


def run_ids(store: Path, uri: str | None = None) -> dict[str, str]:
    """MLflow's ids of a store's runs, by name."""
    client, experiment = open_mlflow(store, uri)
    query = f"tags.`care.store` = '{Store(store).prepare()}'"
    return {run.info.run_name: run.info.run_id for run in client.search_runs([experiment], query)}


def copy_database(template: Path, store: Path) -> None:
    """Give a store an empty database of MLflow, which takes MLflow seconds to make."""
    store.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, store / "mlflow.db")
