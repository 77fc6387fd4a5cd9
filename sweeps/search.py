"""Optuna through Ray Tune's OptunaSearch, with state that is rebuilt from the store.

A point is suggested once and trained with every seed; Optuna is told the mean. Each suggestion and
each told value is an event in the sweep's log, written before it takes effect. A new launch replays
the log in order. The sampler's randomness is a function of (seed, number of the suggestion), so the
next suggestion is the one that an undisturbed launch would have made.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from care.errors import ConfigError, Problem
from care.randomness import torch_seed
from sweeps.axes import AxisRange
from sweeps.launch.tasks import TaskQueue
from sweeps.spec import Sweep, SweepSpec
from sweeps.store import SweepFolder

# How a point and seed become what the trainable takes.
MakeConfig = Callable[[dict[str, Any], int], dict[str, Any]]


@dataclass
class _Suggestion:
    """A point on its way: which seeds were handed out, what came back."""

    point: dict[str, Any]
    to_run: list[int]
    values: dict[int, float | None] = field(default_factory=dict)


def _distributions(sweep: Sweep) -> dict[str, optuna.distributions.BaseDistribution]:
    space: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, values in sweep.spec.ranges().items():
        if isinstance(values, AxisRange):
            space[name] = optuna.distributions.FloatDistribution(
                values.low, values.high, log=values.log
            )
        else:
            space[name] = optuna.distributions.CategoricalDistribution(values)
    return space


def _sampler(name: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """A sampler for one suggestion; arguments pinned, because Optuna's defaults change."""
    derived = torch_seed(seed, "suggestion", number) % 2**32
    if name == "random":
        return optuna.samplers.RandomSampler(seed=derived)
    return optuna.samplers.TPESampler(
        seed=derived,
        n_startup_trials=10,
        n_ei_candidates=24,
        multivariate=False,
        group=False,
        constant_liar=True,
        consider_endpoints=False,
    )


class ListSearch(Searcher):  # type: ignore[misc]
    """Hands out the tasks of a queue."""

    def __init__(self, queue: TaskQueue) -> None:
        super().__init__()
        self._queue = queue

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task; None when one may come back later; or FINISHED."""
        task = self._queue.take(trial_id)
        return str(Searcher.FINISHED) if task is None and self._queue.over else task

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note what a pack says of its members."""
        self._queue.note(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Put back what is not over; nothing depends on other results."""
        if result and not error:
            self._queue.note(trial_id, result)
        self._queue.end(trial_id, ended_with(result, error))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the store is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles a search for its own restore, which is never used."""
        return {}


def ended_with(result: dict[str, Any] | None, error: bool) -> str | None:
    """What a trial's process said last; None when it was lost, even if it said something before."""
    return None if error else (result or {}).get("outcome")


class StudySearch(Searcher):  # type: ignore[misc]
    """Suggests (point, seed) pairs; see the module's text.

    Args:
        sweep: The sweep, whose axes are the space.
        folder: Its folder; the log is replayed at once.
        make_config: Turns a point and a seed into the trainable's configuration.
        queue: Where tasks whose try ended early wait for the next one.
    """

    def __init__(
        self, sweep: Sweep, folder: SweepFolder, make_config: MakeConfig, queue: TaskQueue
    ) -> None:
        spec = sweep.spec
        super().__init__(metric=spec.metric.name, mode=spec.metric.mode)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spec, self._folder, self._make_config = spec, folder, make_config
        self._queue = queue
        self._inner = OptunaSearch(
            space=_distributions(sweep),
            metric=spec.metric.name,
            mode=spec.metric.mode,
            sampler=_sampler(spec.search.sampler, spec.search.seed, 0),
            study_name=spec.name,
        )
        self._open: dict[int, _Suggestion] = {}
        self._count = 0
        self._replay(folder.events())

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        study: optuna.Study = self._inner._ot_study
        return study

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next point and seed; None when one may come back later; or FINISHED."""
        task = self._queue.take(trial_id)
        if task is None and not self._queue.stopping:
            task = self._put_next(trial_id)
        return str(Searcher.FINISHED) if task is None and self._queue.over else task

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Optuna is told final values only."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note a seed's value; once a point has all of them, tell Optuna the mean."""
        number, seed = self._queue.running(trial_id)["suggested"]
        outcome = ended_with(result, error)
        if not self._queue.end(trial_id, outcome):
            return
        value = (result or {}).get(self._spec.metric.name)
        if error or outcome == "failed" or value is None or not math.isfinite(value):
            value = None
        self._folder.log(
            {
                "event": "value",
                "number": number,
                "seed": seed,
                "metric": self._spec.metric.name,
                "value": value,
            }
        )
        self._note(number, seed, value)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the sweep's log is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the sweep's log is the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles a search for its own restore, which is never used."""
        return {}

    def _put_next(self, trial_id: str) -> dict[str, Any] | None:
        """The first seed that was never handed out, of a new point if need be."""
        number = next((n for n, open_ in self._open.items() if open_.to_run), None)
        if number is None:
            if self._count >= self._spec.search.trials:
                return None
            number = self._suggest_new()
        suggestion = self._open[number]
        seed = suggestion.to_run.pop(0)
        self._queue.put({**self._make_config(suggestion.point, seed), "suggested": (number, seed)})
        return self._queue.take(trial_id)

    def _suggest_new(self) -> int:
        number = self._count
        self._count += 1
        # Tune's own search would let the sampler's generator run on, which no replay could follow.
        self.study.sampler = _sampler(self._spec.search.sampler, self._spec.search.seed, number)
        point = _flat(self._inner.suggest(str(number)))
        self._folder.log({"event": "suggest", "number": number, "point": point})
        self._open[number] = _Suggestion(point, list(self._spec.seeds))
        return number

    def _note(self, number: int, seed: int, value: float | None) -> None:
        """Keep a seed's value; the last one of its point tells Optuna the mean."""
        suggestion = self._open[number]
        suggestion.values[seed] = value
        if len(suggestion.values) < len(self._spec.seeds):
            return
        mean = _mean(list(suggestion.values.values()))
        result = None if mean is None else {self._spec.metric.name: mean}
        self._inner.on_trial_complete(str(number), result, error=mean is None)
        del self._open[number]

    def _replay(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            problem = _other_search(self._spec, event)
            if problem:
                raise ConfigError(self._spec.name, [problem])
            if event["event"] == "suggest":
                self.study.enqueue_trial(event["point"])
                self._inner.suggest(str(event["number"]))
                self._open[event["number"]] = _Suggestion(event["point"], list(self._spec.seeds))
                self._count = event["number"] + 1
            elif event["event"] == "value":
                self._open[event["number"]].to_run.remove(event["seed"])
                self._note(event["number"], event["seed"], event["value"])


def _other_search(spec: SweepSpec, event: dict[str, Any]) -> Problem | None:
    """What in ``spec`` an event of the log cannot belong to: its results would mislead Optuna."""
    if event["event"] == "suggest":
        return _other_space(spec, event["point"])
    if event["event"] == "value":
        if event["seed"] not in spec.seeds:
            return _began("seeds", list(spec.seeds), f"seeds with {event['seed']}")
        if event["metric"] != spec.metric.name:
            return _began("metric.name", spec.metric.name, event["metric"])
    return None


def _other_space(spec: SweepSpec, point: dict[str, Any]) -> Problem | None:
    if set(point) != set(spec.axes):
        return _began("axes", ", ".join(sorted(spec.axes)), ", ".join(sorted(point)))
    for name, values in spec.ranges().items():
        value = point[name]
        inside = (
            values.low <= value <= values.high if isinstance(values, AxisRange) else value in values
        )
        if not inside:
            return _began(f"axes.{name}", spec.axes[name], f"values with {value}")
    return None


def _began(field: str, value: object, allowed: str) -> Problem:
    return Problem(field, value, f"allowed: {allowed}, which this sweep began with; or a new name")


def _mean(values: list[float | None]) -> float | None:
    """The mean, or None when a seed has no value: a point is judged by all seeds or not at all."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _flat(suggested: dict[str, Any] | None) -> dict[str, Any]:
    """OptunaSearch unflattens names at '/', which dotted fields do not have."""
    assert suggested is not None
    return dict(suggested)
