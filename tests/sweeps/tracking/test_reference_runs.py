"""The runs of references: beside the trials, rebuilt from the store, gone when they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sweeps.disk.delete import Deleter, plan_deletion
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tracking.sweep_sync import sync_store
from tests.helpers.outside import keep_reference
from tests.helpers.small_store import declared
from tests.helpers.tracked import copy_database, dump

LABEL = "torchvision resnet18, random weights, at 32 px"


def begin(folder: Path, database: Path) -> tuple[Sweep, Store]:
    """A declared sweep without trials, and an empty MLflow."""
    store = Store(folder / "runs")
    copy_database(database, store.root)
    return declared(folder, store), store


def synced(store: Store) -> dict[str, Any]:
    sync_store(store, None)
    return {run["name"]: run for run in dump(store.root)}


def test_a_reference_has_a_run_below_its_sweep(tmp_path: Path, empty_database: Path) -> None:
    sweep, store = begin(tmp_path, empty_database)
    keep_reference(store.root, sweep.base_config(), {"encoder/gamma": 0.25})
    runs = synced(store)
    run = runs[LABEL]
    assert [value for value, _, _ in run["metrics"]["encoder/gamma"]] == [0.25]
    assert run["params"]["encoder.architecture"] == "torchvision:resnet18"
    assert run["tags"]["stale"] == "no"
    assert run["status"] == "FINISHED"
    assert synced(store) == runs
    shutil.move(store.root / "mlflow.db", tmp_path)
    assert synced(store)[LABEL]["metrics"] == run["metrics"]


def test_what_is_measured_again_or_deleted_has_no_old_run(
    tmp_path: Path, empty_database: Path
) -> None:
    sweep, store = begin(tmp_path, empty_database)
    keep_reference(store.root, sweep.base_config(), {"encoder/gamma": 0.25})
    synced(store)
    kept = keep_reference(store.root, sweep.base_config(), {"encoder/gamma": 0.5})
    sync_store(store, None)
    values = [run["metrics"]["encoder/gamma"] for run in dump(store.root) if run["name"] == LABEL]
    assert [rows[0][0] for rows in values] == [0.5]
    Deleter(store).delete(plan_deletion(kept.path.name[:8], store))
    assert LABEL not in synced(store)
