"""Disk usage: every file counts once, and what a collection frees is known before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from care.errors import ConfigError
from care.trials import checkpoint
from care.trials.state import State
from sweeps.disk.network_size import network_bytes
from sweeps.disk.scan import Kind
from sweeps.disk.units import format_bytes, parse_age
from sweeps.disk.usage import NO_SWEEP, SHARED, measure_usage
from sweeps.plan import trial_configs
from sweeps.store import Store
from tests.helpers.damaging import DAMAGES
from tests.helpers.declaring import WEIGHT, fabricate
from tests.helpers.small_store import declared, finished


def apparent(root: Path) -> int:
    """Bytes of all files below a folder, each inode once."""
    sizes = {}
    for folder, _, names in os.walk(root):
        for name in names:
            status = (Path(folder) / name).lstat()
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def test_all_files_count_once(store: Store) -> None:
    store.archive(finished(store)[0].trial_id)
    (store.root / "mlflow.db").write_bytes(bytes(5000))
    (store.root / "mlflow-artifacts" / "run").mkdir(parents=True)
    (store.root / "mlflow-artifacts" / "run" / "page.html").write_bytes(bytes(300))
    report = store.sweep("tiny").report
    report.mkdir()
    (report / "report.html").write_bytes(bytes(700))
    pool = store.sweep("tiny").path / "pool" / "code" / "abc" / "care"
    pool.mkdir(parents=True)
    (pool / "file.py").write_bytes(bytes(900))
    usage = measure_usage(store)
    assert usage.bytes == apparent(store.root)
    assert usage.kinds[Kind.MLFLOW] == 5300
    assert usage.kinds[Kind.REPORTS] == 700
    assert usage.kinds[Kind.CODE] == 900
    assert usage.kinds[Kind.ARCHIVE] == apparent(store.root / "archive")
    networks = store.trials.rglob("checkpoint-*.pt")
    assert usage.kinds[Kind.CHECKPOINTS] == sum(path.stat().st_size for path in networks)
    assert usage.sweeps["tiny"].trials == 2
    assert usage.sweeps["tiny"].frees == usage.frees.total()


def test_the_logs_of_a_living_holder_count_once(store: Store) -> None:
    from care.system.claim import Claim
    from care.trials.folder import TrialFolder

    trial = finished(store)[0]
    claim = Claim.take(trial.path)
    assert claim
    with claim:
        TrialFolder(trial.path, claim).append_start(0, 0)
        kinds = measure_usage(store).kinds
    before = measure_usage(store).kinds
    assert kinds[Kind.LOGS] == pytest.approx(before[Kind.LOGS], abs=500)  # the claim's own files


def test_trials_of_two_sweeps_and_of_none_have_rows_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for name, values in (("first", [0, 0.1]), ("second", [0.1, 0.2])):
        sweep = declared(tmp_path, store, name=name, axes={WEIGHT: values})
        for config in trial_configs(sweep, store).values():
            fabricate(store, config, State.FINISHED, 3)
    fabricate(store, config.model_copy(update={"seed": 99}), State.FINISHED, 3)
    usage = measure_usage(store)
    rows = {name: row.trials for name, row in usage.sweeps.items()}
    assert rows == {"first": 2, "second": 2, SHARED: 2, NO_SWEEP: 1}
    trials = sum(row.bytes for row in usage.sweeps.values())
    assert trials == apparent(store.trials) + apparent(store.root / "sweeps")


def test_a_sweep_that_cannot_be_read_is_named(store: Store) -> None:
    DAMAGES["cut"](store.sweep("tiny").path / "sweep.json")
    usage = measure_usage(store)
    assert list(usage.unreadable) == ["tiny"]
    assert usage.sweeps[NO_SWEEP].trials == 3
    assert usage.bytes == apparent(store.root)


def test_the_size_of_a_network_is_known_from_its_checkpoint(store: Store) -> None:
    trial = finished(store)[0]
    newest = max(trial.path.glob("checkpoint-*.pt"))
    estimate = network_bytes(newest)
    assert estimate
    assert checkpoint.keep_only_weights(trial.path, 3, trial.trial_id, pytest.fail)
    (weights,) = trial.path.glob("weights-*.pt")
    assert estimate == pytest.approx(weights.stat().st_size, rel=0.05)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "flipped"])
def test_a_damaged_checkpoint_has_no_known_size(store: Store, damage: str) -> None:
    path = max(finished(store)[0].path.glob("checkpoint-*.pt"))
    intact = network_bytes(path)
    DAMAGES[damage](path)
    assert network_bytes(path) in (None, intact)  # a flipped bit may be within a tensor


def test_words_for_sizes() -> None:
    sizes = [0, 999, 1000, 99_960, 1_550_000, 999_999_999, 3 * 10**15]
    words = ["0 B", "999 B", "1.0 kB", "100 kB", "1.6 MB", "1.0 GB", "3.0 PB"]
    assert [format_bytes(size) for size in sizes] == words


@pytest.mark.parametrize("text", ["", "30", "d", "3m", "-3d", "1.5d", "30 days"])
def test_ages(text: str) -> None:
    assert [parse_age(age) for age in ("12h", "30d", "4w")] == [43_200, 2_592_000, 2_419_200]
    with pytest.raises(ConfigError, match=r"--older: got .*; allowed: .* 12h, 30d or 4w"):
        parse_age(text)
