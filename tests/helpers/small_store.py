"""A small store of trials that were really trained, without Ray."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.system.claim import Claim
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.records import SweepRecord
from sweeps.plan import Plan, make_plan, trial_configs
from sweeps.spec.sweep import Sweep, restore_sweep
from sweeps.store import Store
from tests.helpers.declaring import load

NAME = "tiny"


def declared(folder: Path, store: Store, **changes: Any) -> Sweep:
    """Declare a sweep in a store, as a run does before its first trial."""
    sweep = load(folder, **changes)
    store.prepare()
    store.sweep(sweep.spec.name).write(
        SweepRecord(
            spec=sweep.spec.model_dump(mode="json"),
            base=sweep.base_config().model_dump(mode="json"),
            file=str(folder / "sweep.yaml"),
        )
    )
    return sweep


def train(store: Store, config: TrialConfig, epochs: int | None = None) -> TrialFolder:
    """Train a trial to its end, or for some epochs, after which it is paused."""
    path = store.trial(trial_id(config)).path
    claim = Claim.take(path)
    assert claim
    with claim:
        run = TrialRun(config, TrialFolder(path, claim))
        while not run.finished and (epochs is None or run.epoch < epochs):
            run.advance()
        run.pause()
    return TrialFolder(path)


def make_small_store(folder: Path) -> Store:
    """Make a store with four trials of one sweep: two finished, one paused, one new."""
    store = Store(folder / "runs")
    sweep = declared(folder, store)
    first, second, third, _ = trial_configs(sweep, store).values()
    train(store, first)
    train(store, second)
    train(store, third, epochs=1)
    return store


def copy_store(store: Store, target: Path) -> Store:
    """Copy a store, as one that was moved: both have one identity."""
    shutil.copytree(store.root, target)
    return Store(target)


def plan_of(store: Store, name: str = NAME) -> Plan:
    """Plan a sweep of a store."""
    return make_plan(restore_sweep(store.sweep(name).declaration()), store)


def states(store: Store, name: str = NAME) -> dict[str, str]:
    """Map each planned trial to its state."""
    return {trial.trial_id: str(trial.state) for trial in plan_of(store, name).trials}


def finished(store: Store) -> list[TrialFolder]:
    """List the finished trials."""
    return [store.trial(name) for name, state in states(store).items() if state == "finished"]


def numbers(store: Store) -> dict[str, bytes]:
    """Read every file with numbers."""
    names = ("metrics.jsonl", "evaluation.json", "details.npz", "provenance.json", "status.json")
    return {
        f"{folder.trial_id}/{name}": (folder.path / name).read_bytes()
        for folder in store.all_trials()
        for name in names
        if (folder.path / name).exists()
    }
