"""The searches that Ray Tune takes its trials from: a queue, or Optuna's study.

A study suggests a point once; all seeds of the point are trained, and Optuna gets the mean. Each
suggestion is an event in the sweep's log, written before it takes effect. Values are not logged but
read from the store at a start: a trial that was deleted, archived or made stale has none until it
is trained again. The sampler's randomness is a function of (seed, number of the suggestion), so an
interrupted search makes the suggestions of an uninterrupted one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sweeps.event_log import Suggestion
from sweeps.plan import PlannedTrial
from sweeps.spec.schema import SweepSpec
from sweeps.states import MEANING, UNFINISHED
from sweeps.store import finite
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialTask
from sweeps.tune.queue import TaskQueue
from sweeps.tune.samplers import Generations, make_sampler
from sweeps.tune.study_space import StudySpace
from sweeps.warm_start import Values, WarmPoint


@dataclass(frozen=True)
class SearchedPoint:
    """A point that Optuna suggested.

    Attributes:
        suggestion: Its number in the study, and its values.
        trials: One per seed.
    """

    suggestion: Suggestion
    trials: tuple[PlannedTrial, ...]


@dataclass(frozen=True)
class SearchedTrials:
    """Access of a search to the trials of its points.

    Attributes:
        enter: Logs a suggestion, then plans its trials.
        values: Returns the metrics of a planned trial that is over, None if one has no value.
        task: Makes the task that trains a planned trial.
    """

    enter: Callable[[Suggestion], SearchedPoint]
    values: Callable[[PlannedTrial], Values | None]
    task: Callable[[PlannedTrial], TrialTask]


NOT_TRAINED: Values = ()
"""Stands for the values of a seed that is not trained, since its point is worse with others."""

# The scheduler stops a trial after it has reported an epoch as running.
_WITH_VALUE = (Outcome.FINISHED, Outcome.RUNNING)
DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


class ListSearch(Searcher):  # type: ignore[misc]
    """Hands out the tasks of a queue."""

    def __init__(self, queue: TaskQueue) -> None:
        super().__init__()
        self._queue = queue

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next task; None while one may return later; FINISHED when none will."""
        return _suggestion(self._queue.take(trial_id), self._queue)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note the outcomes of a task's trials."""
        self._queue.report(trial_id, PackResult.from_result(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Put back the trials that are not over; nothing depends on other results."""
        self._queue.report(trial_id, PackResult.from_result(result))
        self._queue.end(trial_id, lost=error)

    def save(self, checkpoint_path: str) -> None:
        """No-op: the store is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """No-op: the store is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves a search for its own restore, which is never used."""
        return {}


def _suggestion(task: PackTask | None, queue: TaskQueue) -> dict[str, Any] | str | None:
    """Answer Tune: the task's configuration, None, or FINISHED."""
    if task is not None:
        return task.to_config()
    return str(Searcher.FINISHED) if queue.over else None


class StudySearch(Searcher):  # type: ignore[misc]
    """Suggests points by Optuna and hands out their trials, one a task.

    Args:
        spec: The sweep.
        space: Its space as Optuna's parameters.
        points: Points that were suggested before, in order; the caller has put those of their
            trials that are to be trained into ``queue``.
        trials: Plans the trials of new points.
        queue: Tasks that wait.
        warm_start: Points that the search starts from; the study has them first.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: StudySpace,
        points: Sequence[SearchedPoint],
        trials: SearchedTrials,
        queue: TaskQueue,
        warm_start: Sequence[WarmPoint] = (),
    ) -> None:
        super().__init__(metric=spec.metric.name, mode=spec.metric.mode)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec, self._space, self._trials, self._queue = spec, space, trials, queue
        self._generations = Generations()
        self.study = optuna.create_study(
            study_name=spec.name,
            directions=[DIRECTIONS[metric.mode] for metric in spec.objectives],
        )
        self._open: dict[int, SearchedPoint] = {}
        self._count = 0
        self._values: dict[str, Values | None] = {}
        self._queued: set[str] = set()
        queue.on_stop.append(self._leave_out)
        self._first = len(warm_start)  # the suggestions' place in the study
        for number, known in enumerate(warm_start):
            state = TrialState.FAIL if known.values is None else TrialState.COMPLETE
            self._add(known.point, state, known.values)
            if spec.search.sampler == "nsga2":  # CMA-ES estimates its first distribution of them
                self._generations.add(number, 0, ())
        for point in points:
            self._replay(point.suggestion)
            self._enter(point)
            self._queued.update(trial.trial_id for trial in self._to_run(point))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next task; None while one may return later; FINISHED when none will."""
        task = self._queue.take(trial_id)
        while task is None and not self._queue.stopping and self._count < self._spec.search.trials:
            self._suggest_new()
            task = self._queue.take(trial_id)
        return _suggestion(task, self._queue)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """No-op: Optuna gets final values only."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note a trial's value; once a point has all of them, Optuna gets the mean."""
        (task,), last = self._queue.running(trial_id).trials, PackResult.from_result(result)
        self._queue.report(trial_id, last)
        if not self._queue.end(trial_id, lost=error):
            return
        values = None
        if last.trials and not error and last.trials[0].outcome in _WITH_VALUE:
            values = values_of(self._spec, last.trials[0].metrics)
        self._end(task.trial_id, values)

    def _leave_out(self, trial_id: str) -> None:
        """Note that a trial is not trained, since its point was stopped."""
        self._end(trial_id, NOT_TRAINED)

    def _end(self, trial_id: str, values: Values | None) -> None:
        self._values[trial_id] = values
        for point in list(self._open.values()):
            self._close(point)

    def save(self, checkpoint_path: str) -> None:
        """No-op: the store and the sweep's log are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """No-op: the store and the sweep's log are the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves a search for its own restore, which is never used."""
        return {}

    def _replay(self, suggestion: Suggestion) -> None:
        """Enter a point of an earlier launch, without asking the sampler again."""
        self._add(suggestion.point, TrialState.RUNNING)
        number = self._first + suggestion.number
        self._generations.add(number, suggestion.generation, suggestion.parents)

    def _add(
        self, point: Mapping[str, Any], state: TrialState, values: Values | None = None
    ) -> None:
        params = self._space.params(point)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=params,
                distributions={name: self._space.distributions[name] for name in params},
                values=values,
            )
        )

    def _suggest_new(self) -> None:
        number, known = self._count, set(self._generations.parents)
        # A sampler of the whole search would let its generator run on, which no replay follows.
        self.study.sampler = make_sampler(
            self._spec.search,
            self._space.unconditional,
            number,
            self._generations,
            self.study.trials[: self._first],
        )
        asked = self.study.ask()
        chosen = self._space.point(self._space.suggest(asked))
        generation = self._generations.of_point.get(asked.number)
        made = [] if generation in known else self._generations.parents.get(generation or 0, ())
        point = self._trials.enter(Suggestion(number, chosen, generation, tuple(made)))
        self._enter(point)
        for trial in self._to_run(point):
            self._queued.add(trial.trial_id)
            self._queue.put(self._trials.task(trial))

    def _enter(self, point: SearchedPoint) -> None:
        """Take the values of trials that are over and are never trained again."""
        self._count = point.suggestion.number + 1
        self._open[point.suggestion.number] = point
        for trial in point.trials:
            known = trial.trial_id in self._values or trial.trial_id in self._queued
            if MEANING[trial.state].over and not known:
                self._values[trial.trial_id] = self._trials.values(trial)
        self._close(point)

    def _to_run(self, point: SearchedPoint) -> list[PlannedTrial]:
        """List its trials that were not handed out yet; points may share trials."""
        return [
            trial
            for trial in point.trials
            if trial.state in UNFINISHED
            and trial.trial_id not in self._values
            and trial.trial_id not in self._queued
        ]

    def _close(self, point: SearchedPoint) -> None:
        """Give Optuna the mean over a point's trials if all have ended."""
        identities = [trial.trial_id for trial in point.trials]
        if not self._values.keys() >= set(identities):
            return
        means = _means([self._values[identity] for identity in identities])
        number = point.suggestion.number
        state = TrialState.FAIL if means is None else TrialState.COMPLETE
        self.study.tell(self._first + number, means, state=state)
        del self._open[number]


def values_of(spec: SweepSpec, metrics: Mapping[str, float]) -> Values | None:
    """Return the values of a sweep's metrics; None if one has no finite value."""
    values = [finite(metrics.get(metric.name)) for metric in spec.objectives]
    known = [value for value in values if value is not None]
    return tuple(known) if len(known) == len(values) else None


def _means(values: list[Values | None]) -> Values | None:
    """Return the means; None if a seed has no value: the others would compare unlike points.

    A point that was stopped since it is worse has the mean of the seeds that were trained.
    """
    trained = [value for value in values if value != NOT_TRAINED]
    known = [value for value in trained if value is not None]
    if not known or len(known) < len(trained):
        return None
    return tuple(map(statistics.fmean, zip(*known, strict=True)))
