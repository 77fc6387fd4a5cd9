"""The cost of MLflow: CPU time of the sync of finished trials, with and without their models."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.measure import Result, ratios, summarize
from care.trials.records import (
    PreprocessingRecord,
    ProvenanceRecord,
    SweepRecord,
    TimingRecord,
    UsageRecord,
)
from care.trials.state import State

if TYPE_CHECKING:
    from care.config import TrialConfig
    from sweeps.store import Store
    from sweeps.tracking.run_record import RunRecord

_EXPERIMENT = Path(__file__).parent.parent / "experiments" / "digits.yaml"
_TRIALS, _EPOCHS, _MEASURES, _PAIRS = 16, 10, 40, 3
_COST = "times the CPU"


def tracking() -> list[Result]:
    """Compare a first sync with calls of one's own, and its cost with every model."""
    from care.trials.code_version import code_version
    from sweeps.tracking.database import create_database

    with tempfile.TemporaryDirectory(prefix="care-tracking-") as name:
        folder = Path(name)
        create_database(folder / "empty.db")
        plain, modelled = (_write_store(folder, models, code_version()) for models in _POLICIES)
        ours = _syncing(plain, folder)
        theirs = _logging_by_hand(plain, folder)
        ours()  # imports the libraries of the answer and its picture
        pairs = [(_cpu_seconds(ours), _cpu_seconds(theirs)) for _ in range(_PAIRS)]
        with_models = _syncing(modelled, folder)
        with_models()
        assert len(list(modelled.root.glob("mlflow-artifacts/models/*/*/README.md"))) == _TRIALS
        costs = [_cpu_seconds(with_models) / _cpu_seconds(ours) for _ in range(_PAIRS)]
    versus = f"mlflow.log_metrics after each of {_EPOCHS} epochs"
    return [
        ratios("tracking", versus, pairs),
        summarize("tracking-models", "all encoders, against none", costs, _COST),
    ]


_POLICIES = ("none", "all")


def _cpu_seconds(action: Callable[[], object]) -> float:
    """Measure the CPU seconds of this process and of those it starts and waits for."""
    before = os.times()
    action()
    return sum(os.times()[:4]) - sum(before[:4])


def _write_store(folder: Path, models: str, code: str) -> Store:
    """Write a sweep of finished trials with networks, metrics and their use of the machine."""
    from sweeps.plan import make_plan
    from sweeps.spec.sweep import load_sweep
    from sweeps.store import Store

    file = folder / f"{models}.yaml"
    declared: dict[str, Any] = {
        "name": "tracked",
        "experiment": str(_EXPERIMENT),
        "axes": {"objective.equivariance.weight": [n / _TRIALS for n in range(_TRIALS)]},
        "overrides": {"training.epochs": _EPOCHS},
        "tracking": {"models": models},
    }
    file.write_text(yaml.safe_dump(declared))
    sweep, store = load_sweep(file), Store(folder / models)
    store.prepare()
    store.sweep("tracked").write(
        SweepRecord(
            spec=sweep.spec.model_dump(mode="json"),
            base=sweep.base_config().model_dump(mode="json"),
            paper=sweep.paper_config().model_dump(mode="json"),
            file=str(file),
            code_version=code,
        )
    )
    for trial in make_plan(sweep, store).trials:
        _write_trial(store, trial.trial_id, trial.config, code)
    assert make_plan(sweep, store).complete
    return store


def _write_trial(store: Store, identity: str, config: TrialConfig, code: str) -> None:
    from care.models import build_network
    from care.trials import checkpoint

    folder = store.trial(identity)
    folder.create(config)
    size, mean, std = (16, 16), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
    images = PreprocessingRecord(kind="images", size=size, mean=mean, std=std)
    folder.write_provenance(
        ProvenanceRecord(code_version=code, threads=1, device="cpu", preprocessing=images)
    )
    usage = UsageRecord(cpu_percent=99.0, memory_megabytes=500.0)
    for epoch in range(1, _EPOCHS + 1):
        line = {"epoch": epoch, "step": epoch, **{f"train/{n}": 1 / epoch for n in range(12)}}
        timing = TimingRecord(
            epoch=epoch, seconds=1.0, images_per_second=9.0, finished_at=1e9 + epoch, usage=usage
        )
        folder.append_epoch(line, timing)
    state = {"epoch": _EPOCHS, "network": build_network(config.model, config.seed).state_dict()}
    checkpoint.save(folder.path, _EPOCHS, 0, state)
    folder.write_details({})
    folder.write_evaluation({f"head/{number}": 1.0 for number in range(_MEASURES)})
    folder.write_status(State.FINISHED, _EPOCHS, _EPOCHS)


def _syncing(store: Store, folder: Path) -> Callable[[], None]:
    from sweeps.tracking.sweep_sync import sync_store

    def sync() -> None:
        shutil.rmtree(store.root / "mlflow-artifacts", ignore_errors=True)
        (store.root / "mlflow.db").unlink(missing_ok=True)
        shutil.copy(folder / "empty.db", store.root / "mlflow.db")
        sync_store(store, None)

    return sync


def _logging_by_hand(store: Store, folder: Path) -> Callable[[], None]:
    """Log what :func:`_syncing` logs of the trials, as a training loop does by itself."""
    from mlflow import MlflowClient

    from sweeps.tracking.tracking_uri import sqlite_uri

    records = _read_records(store)

    def log() -> None:
        database = Path(tempfile.mkdtemp(dir=folder)) / "mlflow.db"
        shutil.copy(folder / "empty.db", database)
        client = MlflowClient(tracking_uri=sqlite_uri(database))
        artifacts = (database.parent / "artifacts").as_uri()
        experiment = client.create_experiment("care", artifact_location=artifacts)
        for record in records:
            _log_by_hand(client, experiment, record)

    return log


def _read_records(store: Store) -> list[RunRecord]:
    from care.pretrained.source import read_config
    from care.trials.find import list_trials
    from care.trials.staleness import Versions
    from sweeps.tracking.run_record import inspect_trial, read_record

    versions = Versions()
    return [
        read_record(inspect_trial(trial, trial.trial_id, versions, read_config(trial)))
        for trial in list_trials(store.trials)
    ]


def _log_by_hand(client: Any, experiment: str, record: RunRecord) -> None:
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment).info.run_id
    client.log_batch(run, params=[Param(*param) for param in record.params.items()])
    for rows in [*record.epochs, record.measures]:
        client.log_batch(run, metrics=[Metric(*row) for row in rows])
    client.log_batch(run, tags=[RunTag(*tag) for tag in record.tags.items()])
    for name, text in record.files.items():
        client.log_text(run, text, name)
    client.set_terminated(run, "FINISHED")
