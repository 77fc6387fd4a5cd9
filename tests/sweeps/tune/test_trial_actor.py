"""A process that trains a pack: each trial's results, and the numbers that it has alone."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from care.config import TrialConfig
from care.system.claim import Claim
from care.system.files import DiskError
from care.training.trainer import Trainer
from care.training.trial_run import TrialRun
from care.trials import checkpoint
from care.trials.folder import TrialFolder
from care.trials.identity import trial_id
from care.trials.state import State
from sweeps.backends.scratch import make_scratch
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialTask
from sweeps.tune.trial_actor import TrialActor
from tests.helpers.comparing import assert_equal, assert_equal_numbers, assert_equal_to_the_bit

NAMES = ("a", "b", "c")


@pytest.fixture
def config(tiny_config: TrialConfig) -> TrialConfig:
    training = tiny_config.training.model_copy(update={"epochs": 2})
    return tiny_config.model_copy(update={"training": training})


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARE_NODE_FOLDER", str(make_scratch(tmp_path)))


class Clock:
    """A clock on which an epoch takes the time that a test says."""

    def __init__(self, epoch_seconds: float) -> None:
        self.now, self.epoch_seconds = 0.0, epoch_seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """An epoch takes a second unless a test changes that: each is reported."""
    made = Clock(1.0)
    append = TrialFolder.append_epoch

    def tick(folder: TrialFolder, *arguments: Any) -> None:
        made.now += made.epoch_seconds
        append(folder, *arguments)

    monkeypatch.setattr(TrialFolder, "append_epoch", tick)
    monkeypatch.setattr("sweeps.tune.trial_actor.time", made)
    return made


def alone(config: TrialConfig, folder: Path) -> None:
    run = TrialRun(config, TrialFolder(folder))
    while not run.finished:
        run.advance()


def pack_of(config: TrialConfig, folder: Path, neighbors: int | None = None) -> PackTask:
    trials = (TrialTask(name, config, folder / name) for name in NAMES)
    return PackTask(tuple(trials), neighbors)


def outcomes(result: PackResult) -> list[tuple[str, Outcome]]:
    return [(trial.trial_id, trial.outcome) for trial in result.trials]


def test_a_pack_whose_size_is_measured(
    config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care.training.pack_size.best_size", lambda *_: 2)
    actor = TrialActor(pack_of(config, tmp_path, neighbors=1))
    first, second = actor.step(), actor.step()
    assert sorted(outcomes(first)) == [
        ("a", Outcome.RUNNING),
        ("b", Outcome.RUNNING),
        ("c", Outcome.NOT_STARTED),
    ]
    assert (first.size, first.done) == (2, False)
    assert outcomes(second) == [("a", Outcome.FINISHED), ("b", Outcome.FINISHED)]
    assert second.done
    assert set(second.seconds) == {"start of trials", "training", "evaluation"}
    alone(config, tmp_path / "alone")
    for name in "ab":
        assert_equal_to_the_bit(tmp_path / name, tmp_path / "alone")
    assert not (tmp_path / "c").exists()


def epochs_of(actor: TrialActor) -> list[list[tuple[str, int]]]:
    """Trials and epochs of each message."""
    found = []
    while True:
        result = actor.step()
        found.append([(trial.trial_id, trial.metrics["epoch"]) for trial in result.trials])
        if result.done:
            actor.close()
            return found


def pack_of_epochs(config: TrialConfig, folder: Path, epochs: int, replay: bool) -> PackTask:
    training = config.training.model_copy(update={"epochs": epochs})
    config = config.model_copy(update={"training": training})
    return PackTask((TrialTask("a", config, folder / "a", replay=replay),))


@pytest.mark.parametrize(
    ("epoch_seconds", "replay", "reported"),
    [
        (1.0, False, [1, 2, 3, 4, 5]),
        (0.6, False, [1, 2, 3, 4, 5]),  # a second one would end too late
        (0.4, False, [2, 4, 5]),
        (0.01, False, [5]),
        (0.01, True, [1, 2, 3, 4, 5]),  # a scheduler compares each epoch
    ],
)
def test_messages_come_at_most_once_a_second(
    config: TrialConfig,
    tmp_path: Path,
    clock: Clock,
    epoch_seconds: float,
    replay: bool,
    reported: list[int],
) -> None:
    clock.epoch_seconds = epoch_seconds
    actor = TrialActor(pack_of_epochs(config, tmp_path, 5, replay))
    assert epochs_of(actor) == [[("a", epoch)] for epoch in reported]
    assert [line["epoch"] for line in TrialFolder(tmp_path / "a").read_metrics()] == [1, 2, 3, 4, 5]


def test_a_scheduler_hears_of_the_last_epoch_with_the_final_measures(
    config: TrialConfig, tmp_path: Path
) -> None:
    """Also if a process was killed before it had them: else it stopped a whole trial."""
    task = pack_of_epochs(config, tmp_path, 3, replay=True)
    assert epochs_of(TrialActor(task)) == [[("a", 1)], [("a", 2)], [("a", 3)]]
    claim = Claim.take(tmp_path / "a")
    assert claim
    with claim:
        for name in ("evaluation.json", "details.npz"):
            (tmp_path / "a" / name).unlink()
        TrialFolder(tmp_path / "a", claim).write_status(State.RUNNING, 3, 3)
    actor = TrialActor(task)
    results = [actor.step().trials[0] for _ in range(3)]
    actor.close()
    assert [(result.outcome, result.metrics["epoch"]) for result in results] == [
        (Outcome.RUNNING, 1),
        (Outcome.RUNNING, 2),
        (Outcome.FINISHED, 3),
    ]
    assert "head/gamma" in results[-1].metrics


def test_the_end_of_a_trial_waits_for_no_other(
    config: TrialConfig, tmp_path: Path, clock: Clock
) -> None:
    clock.epoch_seconds = 0.01
    longer = config.training.model_copy(update={"epochs": 4})
    other = TrialTask("b", config.model_copy(update={"training": longer}), tmp_path / "b")
    actor = TrialActor(PackTask((TrialTask("a", config, tmp_path / "a"), other)))
    assert epochs_of(actor) == [[("a", 2), ("b", 2)], [("b", 4)]]


def test_members_that_need_no_training(config: TrialConfig, tmp_path: Path) -> None:
    alone(config, tmp_path / "a")
    actor = TrialActor(pack_of(config, tmp_path))
    with Claim.take(tmp_path / "b") or pytest.fail("it is free"):
        result = actor.step()
    assert outcomes(result) == [
        ("b", Outcome.BUSY),
        ("a", Outcome.FINISHED),
        ("c", Outcome.RUNNING),
    ]
    finished = result.trials[1]
    assert finished.metrics["epoch"] == 2
    assert "head/gamma" in finished.metrics, "with its final measures"
    actor.close()
    status = TrialFolder(tmp_path / "c").read_status()
    assert status
    assert (status.state, status.epoch) == ("paused", 1)


def test_a_member_that_cannot_be_opened_leaves_the_others(
    config: TrialConfig, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "trial.json").write_text("no JSON")
    actor = TrialActor(pack_of(config, tmp_path))
    result = actor.step()
    assert sorted(outcomes(result)) == [
        ("a", Outcome.FAILED),
        ("b", Outcome.RUNNING),
        ("c", Outcome.RUNNING),
    ]
    assert result.trials[0].error
    actor.close()


def test_a_sweep_that_keeps_encoders_leaves_weights_alone(
    config: TrialConfig, tmp_path: Path
) -> None:
    """The network and the numbers are those of a sweep that keeps everything."""
    folders = {}
    for only_weights in (False, True):
        folder = folders[only_weights] = tmp_path / f"{only_weights}"
        task = TrialTask(trial_id(config), config, folder, only_weights=only_weights)
        actor = TrialActor(PackTask((task,)))
        while not actor.step().done:
            pass
        actor.close()
    kept, slim = folders[False], folders[True]
    assert_equal_numbers(slim, kept)
    assert [path.name[:7] for path in slim.glob("*.pt")] == ["weights"]
    assert len(list(kept.glob("checkpoint-*.pt"))) == 2
    networks = [
        checkpoint.load_network(folder, torch.device("cpu"), pytest.fail) for folder in (kept, slim)
    ]
    assert_equal(networks[1], networks[0])


def test_a_disk_that_is_too_full_for_the_weights_costs_no_trial(
    config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise DiskError(tmp_path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr("sweeps.tune.claimed_trial.keep_only_weights", full)
    task = TrialTask("a", config, tmp_path / "a", only_weights=True)
    actor = TrialActor(PackTask((task,)))
    actor.step()
    (result,) = actor.step().trials
    assert result.outcome == Outcome.FINISHED
    assert "its checkpoints stay" in result.warnings[-1]
    assert len(list((tmp_path / "a").glob("checkpoint-*.pt"))) == 2


def test_each_trial_of_a_pack_has_its_own_log(
    config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(trainer: Trainer, *arguments: object) -> object:
        weight = trainer.config.objective.equivariance.weight
        logging.getLogger("a.library").warning("weight %g", weight)
        if weight == 0.2:
            raise RuntimeError("broke")
        return plain(trainer, *arguments)

    plain: Callable[..., object] = Trainer._train_step
    monkeypatch.setattr(Trainer, "_train_step", step)
    tasks = []
    for name, weight in (("a", 0.1), ("b", 0.2)):
        tree = config.model_dump(mode="json")
        tree["objective"]["equivariance"]["weight"] = weight
        tasks.append(TrialTask(name, TrialConfig.model_validate(tree), tmp_path / name))
    TrialFolder(tmp_path / "a").create(tasks[0].config)
    (tmp_path / "a" / "timings.jsonl").write_text("{broken\n")
    actor = TrialActor(PackTask(tuple(tasks), None))
    while not actor.step().done:
        pass
    logging.getLogger("a.library").warning("after all")
    one, other = (TrialFolder(tmp_path / name).read_log() for name in ("a", "b"))
    assert "warning: a.library: weight 0.1\n" in one
    assert "weight 0.2" not in one
    assert "warning: timings.jsonl" in one, "a repair is of one trial"
    assert "finished after epoch 2 of 2" in one.splitlines()[-1]
    assert other.count("weight") == 1
    assert other.splitlines()[-1].endswith("RuntimeError: broke")
    assert "after all" not in one + other
