"""Declare sweeps in files, and fabricate the trials that a store may hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from care.config import TrialConfig
from care.trials.code_version import code_version
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import ErrorRecord, ProvenanceRecord, TimingRecord
from care.trials.state import RecordedState, State
from sweeps.spec.sweep import Sweep, load_sweep
from sweeps.store import Store
from tests.conftest import TINY

WEIGHT = "objective.equivariance.weight"
SPLITS = "objective.equivariance.splits"
# Two steps an epoch, with samples left over.
EXPERIMENT: dict[str, Any] = {**TINY, "data": {"train_images": 600}}
SWEEP: dict[str, Any] = {
    "name": "tiny",
    "experiment": "experiment.yaml",
    "axes": {WEIGHT: [0, 0.1]},
    "seeds": 2,
    "tracking": {"models": "none"},  # a process with torch takes seconds
}


def declare(folder: Path, **changes: Any) -> Path:
    """Write a sweep and its experiment; a change of None leaves the field out."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    declared = {name: value for name, value in {**SWEEP, **changes}.items() if value is not None}
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    return file


def load(folder: Path, **changes: Any) -> Sweep:
    """Declare a sweep and load it."""
    return load_sweep(declare(folder, **changes))


def fabricate(
    store: Store,
    config: TrialConfig,
    state: RecordedState,
    epoch: int,
    *,
    code: str | None = None,
    seconds: Sequence[float] = (),
    finished_at: float = 1e9,
    metrics: dict[str, float] | None = None,
    measures: dict[str, float] | None = None,
    provenance: dict[str, Any] | None = None,
) -> TrialFolder:
    """Write a trial as though it had been run to ``epoch`` and was then left."""
    store.prepare()
    folder = store.trial(trial_id(config))
    folder.create(config)
    made = {"code_version": code or code_version(), "threads": 1, **(provenance or {})}
    folder.write_provenance(ProvenanceRecord(**made))
    for number in range(1, epoch + 1):
        time = seconds[number - 1] if seconds else 1.0
        timing = TimingRecord(
            epoch=number, seconds=time, images_per_second=9.0, finished_at=finished_at + number
        )
        folder.append_epoch({"epoch": number, **(metrics or {})}, timing)
    error = ErrorRecord(kind="error", message="broke") if state == State.FAILED else None
    if state == State.FINISHED:
        folder.write_details({"notes": np.array([], np.str_)})
        folder.write_evaluation(measures or {"head/gamma": 0.5})
    folder.write_status(state, epoch, config.training.epochs, error)
    return folder
