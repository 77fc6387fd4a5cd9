"""A process whose trial the code of a snapshot trains: its results, and when it pauses."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from care.config import TrialConfig
from care.system.claim import release_dead
from care.trials.folder import TrialFolder
from care.trials.identity import identities
from care.trials.pinned import pin
from care.trials.state import State
from sweeps.backends.scratch import make_scratch
from sweeps.holds import Wish, hold, release_all
from sweeps.revisions.snapshot import copy_code, read_version
from sweeps.tune.messages import Outcome, PackTask, TrialResult, TrialTask
from sweeps.tune.node import Node
from sweeps.tune.snapshot_actor import SnapshotActor

EPOCHS = 100_000  # shorter than the wait for an answer each; no test waits for the last


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    copy_code("", folder / "copy")
    return (folder / "copy").rename(folder / read_version(folder / "copy"))


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("CARE_NODE_FOLDER", str(make_scratch(tmp_path)))
    return Node.of_this_process()


@pytest.fixture
def task(tiny_config: TrialConfig, snapshot: Path, tmp_path: Path) -> TrialTask:
    parts = {
        "training": tiny_config.training.model_copy(update={"epochs": EPOCHS}),
        "data": tiny_config.data.model_copy(update={"train_images": 256, "test_images": 64}),
        "runtime": tiny_config.runtime.model_copy(update={"threads": 1}),
    }
    config = pin(tiny_config.model_copy(update=parts), snapshot.name)
    ids = identities(config)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    folder = tmp_path / ids.trial
    return TrialTask(ids.trial, config, folder, group_id=ids.group, holds=sweep, snapshot=snapshot)


def step(actor: SnapshotActor) -> TrialResult:
    (result,) = actor.step().trials
    return result


def open_again(task: TrialTask) -> TrialResult:
    """Take a task as a process does that comes to it later."""
    actor = SnapshotActor(PackTask((task,)))
    try:
        return step(actor)
    finally:
        actor.close()


def state(task: TrialTask) -> tuple[State, int]:
    status = TrialFolder(task.folder).read_status()
    assert status
    return State(status.state), status.epoch


def test_a_trial_pauses_in_the_middle_when_its_node_does(task: TrialTask, node: Node) -> None:
    """Epochs that are shorter than the wait for an answer make no difference."""
    actor = SnapshotActor(PackTask((task,)))
    assert step(actor).outcome == Outcome.RUNNING
    assert step(actor).outcome == Outcome.RUNNING
    node.pause_trials()
    assert step(actor).outcome == Outcome.PAUSED
    paused = state(task)
    assert paused[0] == State.PAUSED
    assert 0 < paused[1] < EPOCHS
    assert open_again(task).outcome == Outcome.PAUSED
    node.resume()
    assert open_again(task).outcome == Outcome.RUNNING
    starts = TrialFolder(task.folder).read_starts()
    assert [start.epoch for start in starts] == [0, paused[1]]


def test_a_node_has_a_trial_from_its_claim_until_it_is_left(task: TrialTask, node: Node) -> None:
    """A node on a cluster forgets a trial that has no claim: nobody would wait for its end."""
    looks: list[tuple[int, bool]] = []
    stepped = threading.Event()

    def look() -> None:
        while not stepped.wait(0.005):
            trials = node.trials()
            looks.append((len(trials), any(map(release_dead, trials))))

    watch = threading.Thread(target=look)
    watch.start()
    actor = SnapshotActor(PackTask((task,)))
    try:
        step(actor)
        assert node.trials() == [task.folder]
        step(actor)
    finally:
        stepped.set()
        watch.join()
    assert {count for count, _ in looks} == {0, 1}
    assert not any(dead for _, dead in looks)
    actor.close()
    assert not node.trials()


def test_a_trial_that_a_user_holds_pauses_until_it_is_released(task: TrialTask) -> None:
    assert task.holds
    actor = SnapshotActor(PackTask((task,)))
    assert step(actor).outcome == Outcome.RUNNING
    hold(task.holds, [Wish(task.group_id, "a point", None)], "ada")
    while (result := step(actor)).outcome == Outcome.RUNNING:
        pass
    assert result.outcome == Outcome.PAUSED
    epoch = state(task)[1]
    assert epoch < EPOCHS
    assert open_again(task).outcome == Outcome.PAUSED
    assert state(task) == (State.PAUSED, epoch)
    release_all(task.holds)
    assert open_again(task).outcome == Outcome.RUNNING


def test_a_trial_whose_snapshot_is_gone_fails_with_the_reason(
    task: TrialTask, tmp_path: Path
) -> None:
    assert task.snapshot
    gone = tmp_path / "code" / task.snapshot.name
    lost = TrialTask(task.trial_id, task.config, task.folder, snapshot=gone)
    result = open_again(lost)
    assert result.outcome == Outcome.FAILED
    assert "the copy of its code is gone; run the sweep again" in str(result.error)
    assert state(lost)[0] == State.FAILED
