"""A store of fabricated sweeps, and what MLflow shows of them to a reviewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from care.config import DataConfig
from care.data.fingerprints.fingerprint import fingerprints
from care.trials.records import PreprocessingRecord, SweepRecord
from care.trials.state import State
from sweeps.plan import make_plan
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from tests.helpers.declaring import WEIGHT, fabricate, load
from tests.helpers.trained import save_random_network

Value = Callable[[float, int], float]
"""The measure of a trial from its weight and seed."""


def falling(weight: float, seed: int) -> float:
    """Fall with the weight; seeds differ."""
    return 0.5 - weight + 0.01 * seed


def start_sweep(
    folder: Path,
    weights: list[float],
    seeds: int,
    *,
    value: Value = falling,
    unfinished: int = 0,
    name: str = "tiny",
    weights_files: bool = False,
    **changes: Any,
) -> tuple[Store, Sweep]:
    """Declare a sweep over λ and fabricate its trials, but for the last ``unfinished`` ones.

    ``weights_files`` gives them random networks; ``changes`` are fields of the sweep's file, of
    which None is the default.
    """
    sweep = load(
        folder,
        axes={WEIGHT: weights},
        seeds=seeds,
        name=name,
        description="What λ does.",
        metric={"name": "head/gamma", "mode": "min"},
        **changes,
    )
    store = Store(folder / "runs")
    trials = make_plan(sweep, store).trials
    for trial in trials[: len(trials) - unfinished]:
        if store.trial(trial.trial_id).read_status():
            continue
        measured = value(float(trial.point[WEIGHT]), trial.config.seed)
        measures = {"head/gamma": measured, "encoder/probe_accuracy": 1 - measured}
        metrics = {"step": 1, "train/loss": measured, "heldout/uniformity": 0.1}
        made = fabricate(
            store,
            trial.config,
            State.FINISHED,
            3,
            metrics=metrics,
            measures=measures,
            provenance=_provenance() if weights_files else None,
        )
        if weights_files:
            save_random_network(made, trial.config)
    store.prepare()
    store.sweep(name).write(
        SweepRecord(
            spec=sweep.spec.model_dump(mode="json"),
            base=sweep.base_config().model_dump(mode="json"),
            paper=sweep.paper_config().model_dump(mode="json"),
            file="sweep.yaml",
            command="care sweep run sweep.yaml",
            created="2026-11-27T00:00:00+00:00",
        )
    )
    return store, sweep


def _provenance() -> dict[str, Any]:
    """The records without which a network cannot be loaded, or counts as stale."""
    size, mean, std = (16, 16), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    return {
        "preprocessing": PreprocessingRecord(kind="images", size=size, mean=mean, std=std),
        "data": {"data": fingerprints(DataConfig(), Path("data"))[""]},
    }
