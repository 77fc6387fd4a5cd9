"""A driver, or a trial's process, that was away while another one took over writes nothing more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care.config import TrialConfig
from care.system import heartbeat as liveness
from care.system.claim import Claim, LostClaimError
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.backends.scratch import make_scratch
from sweeps.backends.slurm.state_files import Head, HeadState, PoolFolder, PoolStatus
from sweeps.plan import make_plan
from sweeps.process.signals import Interrupt
from sweeps.progress import Board
from sweeps.store import Store, SweepFolder
from sweeps.tracking.sweep_sync import SweepSync
from sweeps.tune.disk_wait import PatientFolder
from sweeps.tune.messages import Outcome, PackTask, TrialTask
from sweeps.tune.trial_actor import TrialActor
from tests.helpers.declaring import load


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.prepare()
    return store


def take_over(folder: Path) -> Claim:
    """Claim what a process on another machine has, which is silent."""
    file = folder / "claim-000001"
    elsewhere = {"boot": "elsewhere", "machine": ""}
    file.write_text(json.dumps({**json.loads(file.read_text()), **elsewhere}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "LEASE_SECONDS", 0.0)
        assert Claim.take(folder) is None
        successor = Claim.take(folder)
    assert successor
    return successor


@pytest.fixture
def drivers(store: Store) -> tuple[Claim, Claim]:
    """The claims of a driver on another machine that was away, and of its successor here."""
    folder = store.sweep("tiny").path
    away = Claim.take(folder)
    assert away
    return away, take_over(folder)


def test_its_decisions_do_not_reach_the_log(
    store: Store, drivers: tuple[Claim, Claim], log_lines: list[str]
) -> None:
    path = store.sweep("tiny").path
    away, successor = (SweepFolder(path, claim) for claim in drivers)
    successor.log({"event": "rung", "trial_id": "a"})
    with pytest.raises(LostClaimError):
        PatientFolder(away, lambda: False).log({"event": "rung", "trial_id": "b"})
    successor.log({"event": "rung", "trial_id": "c"})
    assert [event["trial_id"] for event in successor.events()] == ["a", "c"]
    assert log_lines == [], "it does not wait for a disk"


def test_its_trials_are_asked_to_pause(drivers: tuple[Claim, Claim]) -> None:
    away, _ = drivers
    interrupt = Interrupt()
    away.when_lost(interrupt.request)
    with pytest.raises(LostClaimError):
        away.check()
    assert interrupt.requested


def test_its_pool_does_not_mislead_the_workers(store: Store, drivers: tuple[Claim, Claim]) -> None:
    old, new = PoolFolder(store, "tiny"), PoolFolder(store, "tiny")
    new.path.mkdir(parents=True)
    old.writer, new.writer = drivers
    new.write_head(Head(state=HeadState.RUNNING, generation="new", address="here:1"))
    status = PoolStatus(
        at=0.0, counts={}, running=(), metric="head/gamma", best=None, seconds_left=None
    )
    writes: list[Callable[[], Any]] = [
        lambda: old.write_head(Head(state=HeadState.ENDED)),
        lambda: old.write_status(status),
    ]
    for write in writes:
        with pytest.raises(LostClaimError):
            write()
    assert new.head().generation == "new"
    assert new.status() is None


def test_it_sends_nothing_to_mlflow(
    tmp_path: Path,
    store: Store,
    drivers: tuple[Claim, Claim],
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[str],
) -> None:
    sent: list[str] = []
    for name in ("sync_sweep", "sync_trial", "attach", "recall", "confirm"):
        monkeypatch.setattr(
            f"sweeps.tracking.mlflow_sync.MlflowSync.{name}",
            lambda *_, name=name: sent.append(name),
        )
    sweep = load(tmp_path)
    plan = make_plan(sweep, store)
    board = Board(sweep.spec.metric, plan.wanted)
    board.plan(plan, lambda _: None)
    tracking = SweepSync(sweep, store, board, None, drivers[0])
    tracking.start(plan)
    tracking.touch(plan.trials[0].trial_id)
    tracking.finish(plan, None, lambda: False)
    assert sent == []
    assert log_lines == []


def test_a_trial_that_was_taken_over_is_elsewhere(
    tmp_path: Path, tiny_config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARE_NODE_FOLDER", str(make_scratch(tmp_path)))
    monkeypatch.setattr("sweeps.tune.trial_actor.REPORT_SECONDS", 0.0)  # an epoch a step
    folder = tmp_path / trial_id(tiny_config)
    actor = TrialActor(PackTask((TrialTask(folder.name, tiny_config, folder),)))
    assert [trial.outcome for trial in actor.step().trials] == [Outcome.RUNNING]
    trial = TrialFolder(folder, take_over(folder))
    trial.write_status(State.RUNNING, 1, tiny_config.training.epochs)
    before = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    result = actor.step()
    assert result.done
    assert [(trial.outcome, trial.error) for trial in result.trials] == [(Outcome.BUSY, None)]
    actor.close()
    assert {path.name: path.read_bytes() for path in folder.glob("[!.]*")} == before
