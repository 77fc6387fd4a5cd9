"""Play a search by Optuna: the driver's part without Ray Tune, a store or training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from care.config import TrialConfig
from care.system.rng import generator
from care.trials.state import State
from sweeps.event_log import Suggestion, begin, read_decisions
from sweeps.plan import PlannedTrial
from sweeps.spec.sweep import Sweep
from sweeps.store import SweepFolder
from sweeps.tune.messages import Outcome, PackTask, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.retry import NextTry
from sweeps.tune.search import SearchedPoint, SearchedTrials, StudySearch, values_of
from sweeps.tune.study_space import StudySpace
from tests.helpers import messages
from tests.helpers.declaring import SPLITS, WEIGHT, load

METRIC, LOSS = "heldout/gamma", "train/loss"
IN_FLIGHT = 2
POINTS = 14  # after 10 at random, TPE chooses by their values
Event = dict[str, Any]


def optuna_sweep(folder: Path, **changes: Any) -> Sweep:
    declared = {
        "axes": {WEIGHT: {"low": 1e-3, "high": 1, "log": True}, SPLITS: [4, 8, 16]},
        "seeds": 2,
        "search": {"name": "optuna", "trials": POINTS},
        "metric": {"name": METRIC, "mode": "min"},
        **changes,
    }
    return load(folder, **declared)


def measure(point: dict[str, Any], seed: int) -> float | None:
    """A metric with a best point; some seeds fail, one way or another."""
    luck = int(generator(seed, str(sorted(point.items()))).integers(8))
    if luck == 0:
        return None
    if luck == 1:
        return math.nan
    return float((math.log10(point[WEIGHT]) + 1.5) ** 2 + point[SPLITS] / 100 + seed / 10)


def metrics_of(value: float | None) -> dict[str, float]:
    """The metrics of a trial by the value of one; the other goes up and down with it."""
    return {} if value is None else {METRIC: value, LOSS: value * 7.3 % 1}


Results = dict[str, float | None]


def identity_of(point: dict[str, Any], seed: int) -> str:
    return f"{sorted(point.items())} {seed}"


def planned(point: dict[str, Any], seed: int, results: Results, tiny: TrialConfig) -> PlannedTrial:
    """A trial as the store knows it, which holds the results of all launches."""
    identity = identity_of(point, seed)
    state = State.NEW
    if identity in results:
        state = State.FAILED if results[identity] is None else State.FINISHED
    config = tiny.model_copy(update={"seed": seed})
    return PlannedTrial(identity, str(point), point, config, state)


def trial_in(suggested: Any) -> str:
    """Return the identity of the one trial that a search suggested."""
    (identity,) = PackTask.from_config(suggested).trial_ids
    return identity


NOT_OVER = (Outcome.PAUSED, Outcome.BUSY)


def queue() -> TaskQueue:
    """Trials that were paused or busy are tried again at once, lost ones never."""
    return TaskQueue(lambda _, outcome: NextTry(0, 1) if outcome in NOT_OVER else None)


class Driver:
    """Plays Ray Tune: keeps trials in flight and completes them in an order of its own.

    What a launch leaves is the sweep's log and the results, as a store has them.
    """

    def __init__(self, sweep: Sweep, path: Path, results: Results | None = None) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.sweep, self.folder = sweep, SweepFolder(path)
        self.results: Results = {} if results is None else results
        self.trained: dict[str, tuple[dict[str, Any], int]] = {}
        begin(self.folder, sweep)
        points = list(map(self._point, read_decisions(self.folder).suggestions))
        waiting = queue()
        new = [trial for point in points for trial in point.trials if trial.state == "new"]
        for trial in {trial.trial_id: trial for trial in new}.values():
            waiting.put(self._task(trial))
        trials = SearchedTrials(
            self._enter,
            lambda trial: values_of(sweep.spec, metrics_of(self.results[trial.trial_id])),
            self._task,
        )
        self.search = StudySearch(sweep.spec, StudySpace(sweep.space), points, trials, waiting)
        self.flying: dict[str, str] = {}
        self._names = map(str, itertools.count())

    def _task(self, trial: PlannedTrial) -> TrialTask:
        self.trained[trial.trial_id] = (trial.point, trial.config.seed)
        return messages.task(trial.trial_id)

    def _enter(self, suggestion: Suggestion) -> SearchedPoint:
        self.folder.log(suggestion.record())
        return self._point(suggestion)

    def _point(self, suggestion: Suggestion) -> SearchedPoint:
        config = self.sweep.base_config()
        seeds = self.sweep.spec.all_seeds
        return SearchedPoint(
            suggestion,
            tuple(planned(suggestion.point, seed, self.results, config) for seed in seeds),
        )

    def complete(self, name: str, value: float | None) -> None:
        """A trial ended with a value, or failed."""
        (identity,) = self.search._queue.running(name).trial_ids
        self.results[identity] = value
        outcome = Outcome.FAILED if value is None else Outcome.FINISHED
        metrics = metrics_of(value)
        self.search.on_trial_complete(name, messages.result({identity: outcome}, metrics))

    def fill(self) -> None:
        while len(self.flying) < IN_FLIGHT:
            name = next(self._names)
            suggested = self.search.suggest(name)
            if suggested is None or suggested == Searcher.FINISHED:
                return
            self.flying[name] = trial_in(suggested)

    def complete_one(self) -> None:
        """Which one depends on nothing but how many were completed before."""
        names = list(self.flying)
        name = names[int(generator(1, "completes", len(self.results)).integers(len(names)))]
        self.complete(name, measure(*self.trained[self.flying.pop(name)]))

    def run(self) -> Iterator[None]:
        """To the end; stops after everything that may have changed the log or the results."""
        self.fill()
        yield
        while self.flying:
            self.complete_one()
            yield
            self.fill()
            yield


def trials(search: StudySearch) -> list[tuple[int, dict[str, Any], TrialState, Any]]:
    def key(trial: FrozenTrial) -> tuple[int, dict[str, Any], TrialState, Any]:
        one = trial.values[0] if trial.values and len(trial.values) == 1 else trial.values
        return trial.number, trial.params, trial.state, one

    return [key(trial) for trial in search.study.trials]


@dataclass
class Moment:
    """All that a launch which ended now would leave, and the study that it had."""

    events: list[Event]
    results: Results
    study: list[Any]

    @classmethod
    def of(cls, driver: Driver) -> Moment:
        return cls(driver.folder.events(), dict(driver.results), trials(driver.search))


def interrupt_again_and_again(whole: Driver, log: Path) -> None:
    """Search again with five steps a launch, and check that it makes the same decisions.

    Args:
        whole: An undisturbed search, which has ended.
        log: A new folder.
    """
    results: Results = {}
    for _ in range(len(whole.results)):  # a launch ends one trial or more
        parts = Driver(whole.sweep, log, results)
        for _, _ in zip(parts.run(), range(5), strict=False):
            pass
    assert trials(parts.search) == trials(whole.search)
    assert parts.folder.events()[1:] == whole.folder.events()[1:]
