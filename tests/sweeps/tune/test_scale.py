"""What one trial or one result costs the driver does not grow with the number of trials.

Counted is work, not time: calls of functions, resumed generators, opened files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from care.config.metrics import epoch_metrics
from care.trials.state import State
from sweeps.account import Meter
from sweeps.plan import make_plan
from sweeps.progress import Board
from sweeps.spec.sweep import Sweep
from sweeps.store import Store
from sweeps.tracking import BackgroundSync
from sweeps.tune.callback import DriverCallback
from sweeps.tune.messages import Outcome
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import NextTry
from sweeps.tune.scheduler import FirstComeScheduler
from tests.helpers import messages
from tests.helpers.declaring import WEIGHT, fabricate, load
from tests.helpers.messages import task

FEW, MANY = 40, 400
TUNE_STATES = (Trial.PENDING, Trial.PAUSED, Trial.RUNNING, Trial.TERMINATED, Trial.ERROR)


def sweep_of(folder: Path, trials: int) -> Sweep:
    folder.mkdir()
    return load(folder, axes={WEIGHT: [number / trials for number in range(trials)]}, seeds=1)


def calls(action: Callable[[], object]) -> int:
    """Functions called and generators resumed, of Python and of C."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def board_of(tmp_path: Path) -> Callable[[int], Board]:
    def make(trials: int) -> Board:
        sweep = sweep_of(tmp_path / str(trials), trials)
        board = Board(sweep.spec.metric, trials)
        board.plan(make_plan(sweep, Store(tmp_path / "runs")), lambda _: None)
        return board

    return make


def test_a_result_on_the_board(board_of: Callable[[int], Board]) -> None:
    """Each result is reported, and the pool is told what is left."""

    def result(board: Board) -> None:
        board.report(next(iter(board.trials)), State.RUNNING, {"epoch": 1})
        board.left()

    few, many = board_of(FEW), board_of(MANY)
    assert calls(lambda: result(few)) == calls(lambda: result(many))
    assert (few.left(), many.left()) == (FEW, MANY)


def queue_of(tasks: int) -> TaskQueue:
    """Tasks that were all begun and have all to wait before they are tried again."""
    queue = TaskQueue(lambda *_: NextTry(after=3600.0, share=1))
    for number in range(tasks):
        queue.put(task(str(number)))
        queue.take(str(number))
        queue.end(str(number))
    return queue


def test_a_task_while_others_wait() -> None:
    waiting = task("next")

    def turn(queue: TaskQueue) -> None:
        queue.put(waiting)
        assert queue.take("key")
        queue.end("key")

    few, many = queue_of(FEW), queue_of(MANY)
    assert calls(lambda: turn(many)) <= calls(lambda: turn(few))
    assert (len(few), len(many)) == (FEW + 1, MANY + 1)


def test_news_for_mlflow_while_it_is_behind() -> None:
    def behind(trials: int) -> BackgroundSync:
        tracker = BackgroundSync(lambda _: None)
        for number in range(trials):
            tracker.touch(str(number))
        return tracker

    few, many = behind(FEW), behind(MANY)
    assert calls(lambda: few.touch("0")) == calls(lambda: many.touch("0"))


def test_a_trial_of_the_plan(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")

    def planning(trials: int) -> int:
        sweep = sweep_of(tmp_path / str(trials), trials)
        for trial in make_plan(sweep, store).trials:
            fabricate(store, trial.config, State.FINISHED, 3)
        return calls(lambda: make_plan(sweep, store))

    planning(1)  # what is done once a process
    once, twice, four_times = planning(20), planning(40), planning(80)
    assert four_times - twice == pytest.approx(2 * (twice - once), rel=0.02)


def test_a_trial_that_its_pack_returned_unopened_is_still_new(
    board_of: Callable[[int], Board],
) -> None:
    board = board_of(2)
    first, second = board.trials
    callback = DriverCallback(board, queue_of(0), lambda _: None, [board.metric.name])
    outcomes = {first: Outcome.RUNNING, second: Outcome.NOT_STARTED}
    result = messages.result(outcomes, {"epoch": 1})
    callback.on_trial_result(0, [], messages.tune_trial(first, second), result)
    assert board.counts() == {State.RUNNING: 1, State.NEW: 1}


def test_a_trial_given_up_for_a_full_disk_was_not_lost(board_of: Callable[[int], Board]) -> None:
    board = board_of(2)
    full, silent = board.trials
    queue = queue_of(0)
    queue.given_up.update((full, silent))
    board.report(full, State.PAUSED, error="disk: No space left on device")
    callback = DriverCallback(board, queue, lambda _: None, [board.metric.name])
    callback.on_trial_complete(0, [], messages.tune_trial(full, silent))
    reasons = {identity: (error.kind, error.message) for identity, error in callback.lost.items()}
    assert reasons == {
        full: ("disk", "disk: No space left on device"),
        silent: ("lost", "Ray gives no reason"),
    }


def test_tune_is_left_little_of_a_result(board_of: Callable[[int], Board]) -> None:
    """Of every number that it gets, Tune keeps statistics, which it writes when a launch ends."""
    board = board_of(1)
    (identity,) = board.trials
    callback = DriverCallback(board, queue_of(0), lambda _: None, [board.metric.name])
    of_the_end = {"epoch": 3, board.metric.name: 0.5}
    finished = {identity: Outcome.FINISHED}
    result = messages.result(finished, {**dict.fromkeys(epoch_metrics(), 0.25), **of_the_end})
    callback.on_trial_result(0, [], messages.tune_trial(identity), result)
    assert result == messages.result(finished, of_the_end)
    assert board.best() == (board.trials[identity].point, 0.5, 1)


def test_tune_is_left_little_of_a_trial_that_is_over(board_of: Callable[[int], Board]) -> None:
    """Tune keeps each trial until a launch ends, and pickles its configuration then."""
    board = board_of(2)
    callback = DriverCallback(board, queue_of(0), lambda _: None, [board.metric.name])
    for identity, end in zip(
        board.trials, (callback.on_trial_complete, callback.on_trial_error), strict=True
    ):
        trial = messages.tune_trial(identity)
        before = len(trial.get_json_state()[0])
        trial.run_metadata.update_metric("done", True)
        end(0, [], trial)
        trial.invalidate_json_state()
        assert len(trial.get_json_state()[0]) < before / 2
        assert trial.run_metadata.metric_analysis == {}


def test_the_hours_while_many_processes_train() -> None:
    """The driver asks for the hours many times for each result."""

    def meter_of(processes: int) -> Meter:
        meter = Meter()
        for number in range(processes):
            meter.begin(str(number), 1)
        return meter

    few, many = meter_of(FEW), meter_of(MANY)
    assert calls(few.read) == calls(many.read)


@dataclass
class WaitingTrial:
    """What a scheduler sees of one of Tune's trials."""

    status: str

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)


def test_the_next_trial_after_many_that_are_over() -> None:
    def scheduler_after(over: int) -> FirstComeScheduler:
        scheduler = FirstComeScheduler()
        for status in (*[Trial.TERMINATED] * over, Trial.PAUSED, Trial.PENDING, Trial.PENDING):
            scheduler.on_trial_add(None, WaitingTrial(status))
        assert scheduler.choose_trial_to_run(None)
        return scheduler

    few, many = scheduler_after(FEW), scheduler_after(MANY)
    assert calls(lambda: few.choose_trial_to_run(None)) == calls(
        lambda: many.choose_trial_to_run(None)
    )


@given(st.lists(st.sampled_from(TUNE_STATES), max_size=12), st.data())
def test_trials_start_in_the_order_of_tunes_own_scheduler(
    statuses: list[str], data: st.DataObject
) -> None:
    trials = [WaitingTrial(status) for status in statuses]
    ours, tunes = FirstComeScheduler(), FIFOScheduler()
    for trial in trials:
        ours.on_trial_add(None, trial)
    controller = SimpleNamespace(get_trials=lambda: trials)
    for _ in range(3):
        assert ours.choose_trial_to_run(controller) is tunes.choose_trial_to_run(controller)
        for trial in trials:
            if not trial.is_finished():
                trial.status = data.draw(st.sampled_from(TUNE_STATES))
