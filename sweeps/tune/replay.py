"""Search and scheduler of a launch, rebuilt by replaying the store and the sweep's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ray.tune.search import Searcher

from care.config import TrialConfig
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.event_log import (
    RungEntry,
    SeedEntry,
    Suggestion,
    WarmStartLine,
    created,
    is_of,
    present_seed_entries,
    read_decisions,
    stopped_points,
)
from sweeps.plan import Plan, PlannedTrial, make_plan, mark_stopped, plan_trial
from sweeps.progress import Board
from sweeps.store import Store, SweepFolder, final_value, final_values
from sweeps.tune.messages import TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.scheduler import ReplayableScheduler, build_scheduler
from sweeps.tune.search import (
    NOT_TRAINED,
    ListSearch,
    SearchedPoint,
    SearchedTrials,
    StudySearch,
    values_of,
)
from sweeps.tune.seed_pruner import SeedPruner
from sweeps.tune.study_space import StudySpace
from sweeps.warm_start import Values, WarmPoint, find_points, read_values

MakeTask = Callable[[TrialConfig, dict[str, Any]], TrialTask]


class Replay:
    """Rebuilds the search and the scheduler that a launch passes to Ray Tune.

    Args:
        plan: The sweep compared with the store when the launch starts.
        store: Holds its trials.
        folder: The sweep's folder, whose log takes new decisions.
        board: Takes the trials of new points.
        task: Makes a task of a configuration and its point.

    Attributes:
        scheduler: The scheduler that judges epochs, or None.
    """

    def __init__(
        self, plan: Plan, store: Store, folder: SweepFolder, board: Board, task: MakeTask
    ) -> None:
        self._plan, self._store, self._folder = plan, store, folder
        self._board, self._task = board, task
        self._versions = Versions()
        self._spec = plan.sweep.spec
        self._decisions = read_decisions(folder)
        self.scheduler = self._build_scheduler()
        self._pruner = self._build_pruner()

    def search(self, queue: TaskQueue) -> Searcher:
        """Build the search, which hands out the tasks of ``queue`` and those of new points."""
        queue.pruner = self._pruner
        queue.on_stop.append(lambda identity: self._board.report(identity, State.STOPPED))
        if not self._spec.search.suggests:
            return ListSearch(queue)
        trials = SearchedTrials(
            self._enter, self._values, lambda trial: self._task(trial.config, trial.point)
        )
        space = StudySpace(self._plan.sweep.space)
        points, warm = list(self._points()), list(self._warm_start())
        return StudySearch(self._spec, space, points, trials, queue, warm)

    def _warm_start(self) -> Iterator[WarmPoint]:
        """Yield the points that the search starts from; they are chosen and logged only once."""
        if not self._spec.search.warm_start:
            return
        sweep, points = self._plan.sweep, self._decisions.warm_start
        if points is None:
            points = tuple(find_points(sweep, self._store, self._versions))
            self._folder.log(WarmStartLine(points).record())
        for point in points:
            yield WarmPoint(point, read_values(sweep, self._store, point, self._versions))

    def _build_scheduler(self) -> ReplayableScheduler | None:
        epochs = self._plan.sweep.base_config().training.epochs
        scheduler = build_scheduler(
            self._spec.scheduler,
            self._spec.metric,
            epochs,
            lambda entry: self._folder.log(entry.record()),
        )
        if scheduler is not None:
            scheduler.replay(self._standing())
            for trial in self._plan.unique().values():
                _learn(scheduler, trial, self._store)
        return scheduler

    def _build_pruner(self) -> SeedPruner | None:
        if not self._spec.scheduler.by_seed:
            return None

        def log(entry: SeedEntry) -> None:
            self._folder.log(entry.record())

        pruner = SeedPruner(self._spec.scheduler, self._spec.metric, self._store, log)
        for trial in self._whole().trials:
            pruner.enter(trial)
        pruner.replay(present_seed_entries(self._decisions, self._store.trials))
        return pruner

    def _whole(self) -> Plan:
        """Return the plan of all trials: a part of a sweep that is run competes with the whole."""
        sweep = self._plan.sweep
        return make_plan(sweep.whole(), self._store) if sweep.selection else self._plan

    def _standing(self) -> Iterator[RungEntry]:
        """Yield the rung entries of trials that still lie in the store and are not stale."""
        trials = self._whole().unique()
        for entry in self._decisions.rungs:
            trial = trials.get(entry.trial_id)
            if trial is None or trial.state in (State.STALE, State.DAMAGED):
                continue
            if is_of(entry, self._store.trial(entry.trial_id)):
                yield entry

    def _points(self) -> Iterator[SearchedPoint]:
        seeds = len(self._spec.all_seeds)
        for number in range(len(self._plan.trials) // seeds):
            trials = self._plan.trials[number * seeds : (number + 1) * seeds]
            yield SearchedPoint(self._decisions.suggestions[number], trials)

    def _enter(self, suggestion: Suggestion) -> SearchedPoint:
        """Log a new point, then plan its trials."""
        self._folder.log(suggestion.record())
        sweep, point = self._plan.sweep, suggestion.point
        decisions = read_decisions(self._folder)
        stopped, points = decisions.stopped(), stopped_points(decisions, self._store.trials)
        trials = tuple(
            mark_stopped(
                plan_trial(self._store, point, sweep.trial(point, seed), self._versions, stopped),
                points,
            )
            for seed in self._spec.all_seeds
        )
        if self._pruner:
            for trial in trials:
                self._pruner.enter(trial)
        self._board.suggest(trials, self._final_value)
        if self.scheduler is not None:
            for trial in trials:
                _learn(self.scheduler, trial, self._store)
        return SearchedPoint(suggestion, trials)

    def _values(self, trial: PlannedTrial) -> Values | None:
        """Return the metrics of a trial that is over."""
        if trial.state == State.FINISHED:
            return values_of(self._spec, final_values(self._store.trial(trial.trial_id)))
        if trial.state == State.STOPPED and self._pruner:
            return NOT_TRAINED
        if trial.state == State.STOPPED:  # by a scheduler, which compares by one metric
            return (read_decisions(self._folder).stopped()[trial.trial_id].value,)
        return None

    def _final_value(self, identity: str) -> float | None:
        return final_value(self._store.trial(identity), self._spec.metric.name)


def _learn(scheduler: ReplayableScheduler, trial: PlannedTrial, store: Store) -> None:
    """Enter a finished trial into the rungs, even if another sweep trained it."""
    if trial.state == State.FINISHED:
        folder = store.trial(trial.trial_id)
        # The last epoch is no decision: a trial that reached it has finished.
        scheduler.learn(trial.trial_id, created(folder), folder.read_metrics()[:-1])
