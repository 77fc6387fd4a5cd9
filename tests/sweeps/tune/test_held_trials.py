"""Trials that are held and released while their sweep runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from optuna.trial import TrialState
from ray.tune.search import Searcher

from care.trials.state import State
from sweeps.cli.sweep_hold import hold_command, release_command
from sweeps.plan import make_plan
from sweeps.spec.sweep import load_sweep
from sweeps.store import Store
from sweeps.tune.messages import Outcome
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import NextTry
from sweeps.tune.search import ListSearch
from tests.helpers import messages
from tests.helpers.declaring import WEIGHT, declare
from tests.helpers.processes import alive, descendants, lines_in, start_care, wait_for
from tests.helpers.searching import Driver, optuna_sweep

RUN = ("sweep", "run", "sweep.yaml", "--no-report")


def queue_of(*names: str) -> tuple[TaskQueue, set[str]]:
    """Make a queue, where paused trials return at once, and the names that are held in it."""
    held: set[str] = set()
    queue = TaskQueue(lambda _, outcome: NextTry(0, 1) if outcome == Outcome.PAUSED else None)
    queue.is_held = lambda task: task.trial_id in held
    for name in names:
        queue.put(messages.task(name))
    return queue, held


def test_held_trials_are_set_aside_and_come_back_first() -> None:
    queue, held = queue_of("a", "b", "c")
    held.add("a")
    queue.sort_held()
    search = ListSearch(queue)
    assert search.suggest("1") == queue.running("1").to_config()
    assert queue.running("1").trial_ids == ["b"]
    held.clear()
    queue.sort_held()
    search.suggest("2")
    assert queue.running("2").trial_ids == ["a"]


def test_a_running_trial_that_is_held_pauses_and_the_rest_ends() -> None:
    queue, held = queue_of("a", "b")
    search = ListSearch(queue)
    search.suggest("1")
    held.add("a")
    queue.sort_held()
    search.on_trial_complete("1", messages.result({"a": Outcome.PAUSED}))
    search.suggest("2")
    assert queue.running("2").trial_ids == ["b"]
    assert search.suggest("3") is None
    search.on_trial_complete("2", messages.result({"b": Outcome.FINISHED}))
    assert search.suggest("4") == Searcher.FINISHED, "held trials keep no driver"


def test_optuna_goes_on_as_if_a_held_point_ran(tmp_path: Path) -> None:
    sweep = optuna_sweep(tmp_path, seeds=1, search={"name": "optuna", "trials": 4})
    driver = Driver(sweep, tmp_path / "log")
    queue, held = driver.search._queue, set[str]()
    queue.is_held = lambda task: task.trial_id in held
    driver.search.suggest("1")
    (first,) = queue.running("1").trial_ids
    held.add(first)
    queue.sort_held()
    driver.search.on_trial_complete("1", messages.result({first: Outcome.PAUSED}))
    for key in "234":
        driver.search.suggest(key)
        assert first not in queue.running(key).trial_ids
        driver.complete(key, 0.5)
    assert driver.search.suggest("5") == Searcher.FINISHED
    states = [trial.state for trial in driver.search.study.trials]
    assert states == [TrialState.RUNNING, *[TrialState.COMPLETE] * 3]
    held.clear()
    queue.sort_held()
    driver.search.suggest("6")
    assert queue.running("6").trial_ids == [first]


def test_held_while_it_runs_killed_and_released(tmp_path: Path) -> None:
    """Two points share a process: when one is held, both save their step, and one continues."""
    file = declare(
        tmp_path,
        axes={WEIGHT: [0.01, 0.3]},
        overrides={"training.epochs": 9},
        resources={"pack": 2},
    )
    store = Store(tmp_path / "runs")

    def epochs(weight: float) -> list[int]:
        """Logged epochs of each trial that was started."""
        found = []
        for folder in store.all_trials():
            record = folder.read_trial()
            if record and record.config["objective"]["equivariance"]["weight"] == weight:
                found.append(lines_in(folder.path / "metrics.jsonl"))
        return found

    def count(state: State) -> int:
        return make_plan(load_sweep(file), store).counts()[state]

    run = start_care(*RUN, cwd=tmp_path)
    wait_for(lambda: len(epochs(0.01)) == 2 and min(epochs(0.01)) > 0)
    hold_command("tiny", ["λ=0.01"], store.root)
    wait_for(lambda: sum(epochs(0.3)) > sum(epochs(0.01)))
    before = sum(epochs(0.01))
    assert before < 18
    assert count(State.HELD) == 2
    orphans = descendants(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    wait_for(lambda: not alive(orphans))  # they train on for a moment
    assert count(State.HELD) == 2

    trained = sum(epochs(0.3))
    run = start_care(*RUN, cwd=tmp_path)
    wait_for(lambda: sum(epochs(0.3)) > trained)
    assert sum(epochs(0.01)) == before, "the next run respects it"
    release_command("tiny", ["seed=0"], store.root)
    said, _ = run.communicate(timeout=240)
    assert run.returncode == 1, "one is left"
    assert "λ=0.01 seed=0: released" in said
    assert "held: λ=0.01 seed=1, by " in said
    assert "Finished but for 1 held trial. To release: care sweep release tiny" in said
    assert count(State.FINISHED) == 3
    assert epochs(0.3) == [9, 9]
    assert 9 in epochs(0.01)
