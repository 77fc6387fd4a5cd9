"""Wilcoxon's test over the seeds of a point: a point that is worse gets no further seed.

As Optuna's ``WilcoxonPruner``, whose steps are problem instances; here they are seeds. A decision
is a function of the values of the trials that have ended, and each one is logged before it takes
effect. So a new launch neither repeats nor changes it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from analysis.best_point import find_best_point
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.trials.state import State
from sweeps.event_log import SeedEntry, created
from sweeps.plan import PlannedTrial
from sweeps.spec.search import MetricConfig, SchedulerConfig
from sweeps.store import Store, final_values, finite

Values = Mapping[int, float]
"""A point's values by seed."""


class Verdict(NamedTuple):
    """The comparison of a point with the best one.

    Attributes:
        best: Identity of the best point.
        seeds: Seeds that both points have.
        p: One-sided p-value that the point is worse.
        stopped: Whether the point is to be stopped.
    """

    best: str
    seeds: tuple[int, ...]
    p: float
    stopped: bool


def compare_with_best(
    own: Values, others: Mapping[str, Values], mode: Literal["max", "min"], p: float, least: int
) -> Verdict | None:
    """Compare a point with the best of the others, by the seeds that both have.

    A point whose mean over these seeds is not worse is never stopped, whatever its ranks.

    Args:
        own: The point's values.
        others: Values by the identity of a point.
        mode: Whether a larger or a smaller value is better.
        p: The point is stopped if the p-value is below.
        least: Smallest number of pairs.

    Returns:
        The comparison; None if no other point has enough of the seeds.
    """
    rivals = {name: one for name, one in others.items() if len(own.keys() & one.keys()) >= least}
    best = find_best_point(rivals, mode).point
    if best is None:
        return None
    seeds = tuple(sorted(own.keys() & rivals[best].keys()))
    differences = [own[seed] - rivals[best][seed] for seed in seeds]
    sign = 1 if mode == "max" else -1
    means = [statistics.fmean(one[seed] for seed in seeds) for one in (own, rivals[best])]
    found = worse_p(differences, mode)
    return Verdict(best, seeds, found, sign * means[0] < sign * means[1] and found < p)


def worse_p(differences: Sequence[float], mode: Literal["max", "min"]) -> float:
    """Compute the one-sided p-value of Wilcoxon's signed-rank test that a point is worse.

    Args:
        differences: The point's value minus that of the best point, by seed.
        mode: Whether a larger or a smaller value is better.

    Example:
        >>> worse_p([-0.1, -0.2, -0.3, -0.4], "max")
        0.0625
    """
    from scipy.stats import wilcoxon  # takes half a second

    alternative: Literal["less", "greater"] = "less" if mode == "max" else "greater"
    # Halves of zeros count on both sides, so that equal values are no error.
    return float(wilcoxon(differences, alternative=alternative, zero_method="zsplit").pvalue)


@dataclass
class _Point:
    """A point and its trials.

    Attributes:
        point: Dotted axis to value.
        trials: Identity of the trial by seed.
        values: The sweep's metric of the finished trials, by seed.
        handed_out: Seeds that a process has, or that return to the queue.
        collapsed: Whether a trial nearly collapsed.
        stopped: Whether it gets no further seed.
    """

    point: dict[str, Any]
    trials: dict[int, str] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)
    handed_out: set[int] = field(default_factory=set)
    collapsed: bool = False
    stopped: bool = False


class SeedPruner:
    """Decides before each further seed of a point whether it is trained.

    Args:
        config: The scheduler's settings.
        metric: The metric that compares the points.
        store: Holds the trials' values.
        log: Called with each decision before it takes effect.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        metric: MetricConfig,
        store: Store,
        log: Callable[[SeedEntry], None],
    ) -> None:
        self._config, self._metric, self._store, self._log = config, metric, store, log
        self._points: dict[str, _Point] = {}
        self._of_trial: dict[str, tuple[str, int]] = {}
        self._admitted: set[str] = set()

    def enter(self, trial: PlannedTrial) -> None:
        """Enter a trial of the sweep, with its value if it is finished."""
        if trial.trial_id in self._of_trial:
            return
        point = self._points.setdefault(trial.group_id, _Point(trial.point))
        point.trials[trial.config.seed] = trial.trial_id
        self._of_trial[trial.trial_id] = trial.group_id, trial.config.seed
        if trial.state == State.FINISHED:
            self._read(trial.trial_id)
        elif trial.state in (State.PAUSED, State.RUNNING) or (
            trial.state == State.HELD and trial.machine is not None
        ):  # an earlier launch started it
            self._admitted.add(trial.trial_id)

    def replay(self, entries: Iterable[SeedEntry]) -> None:
        """Take the decisions of earlier launches, after all trials were entered."""
        for entry in entries:
            point = self._points.get(entry.group_id)
            if point is None:
                continue
            point.stopped |= entry.stopped
            started = (*entry.running, *(() if entry.stopped else (entry.seed,)))
            self._admitted.update(point.trials[seed] for seed in started if seed in point.trials)

    def should_wait(self, trial_id: str) -> bool:
        """Return whether a decision about a trial's point will know more after running trials."""
        point = self._point(trial_id)
        if trial_id in self._admitted or point.stopped or not point.handed_out:
            return False
        return len(point.values) + len(point.handed_out) >= self._config.least_seeds

    def admit(self, trial_id: str) -> bool:
        """Decide whether a trial that is about to start is trained.

        Returns:
            False if its point is stopped.
        """
        point, (group, seed) = self._point(trial_id), self._of_trial[trial_id]
        if trial_id not in self._admitted:
            if not point.stopped and len(point.values) >= self._config.least_seeds:
                self._judge(group, seed)
            if point.stopped:
                return False
            self._admitted.add(trial_id)
        point.handed_out.add(seed)
        return True

    def is_stopped(self, trial_id: str) -> bool:
        """Return whether a trial is not trained, since its point is stopped."""
        return self._point(trial_id).stopped and trial_id not in self._admitted

    def end(self, trial_id: str, *, finished: bool) -> None:
        """Note that a trial ended for good, with its value if it is finished."""
        group, seed = self._of_trial[trial_id]
        self._points[group].handed_out.discard(seed)
        if finished:
            self._read(trial_id)

    def _point(self, trial_id: str) -> _Point:
        return self._points[self._of_trial[trial_id][0]]

    def _read(self, trial_id: str) -> None:
        """Read the value of a trial from the store, as every later launch will."""
        group, seed = self._of_trial[trial_id]
        values = final_values(self._store.trial(trial_id))
        value = finite(values.get(self._metric.name))
        if value is not None:
            self._points[group].values[seed] = value
        self._points[group].collapsed |= is_collapsed(values.get(COLLAPSE_METRIC))

    def _judge(self, group: str, seed: int) -> None:
        """Compare a point with the best one, log the decision, and note it."""
        point = self._points[group]
        own = dict(sorted(point.values.items()))
        others = {
            name: other.values
            for name, other in self._points.items()
            # A stopped point is worse than another one over more seeds.
            if name != group and not other.stopped and not other.collapsed
        }
        settings = self._config
        found = compare_with_best(own, others, self._metric.mode, settings.p, settings.least_seeds)
        best = self._points[found.best] if found else None
        seeds = found.seeds if found else tuple(own)
        entry = SeedEntry(
            group_id=group,
            seed=seed,
            point=point.point,
            seeds=seeds,
            values=tuple(own[one] for one in seeds),
            best=best.point if best else None,
            best_values=tuple(best.values[one] for one in seeds) if best else (),
            p=found.p if found else None,
            stopped=bool(found and found.stopped),
            running=tuple(sorted(self._started(point))),
            trials={point.trials[one]: self._created(point.trials[one]) for one in seeds},
        )
        self._log(entry)
        point.stopped = entry.stopped

    def _started(self, point: _Point) -> list[int]:
        """List the seeds that were handed out, now or before, and have no value."""
        return [
            seed
            for seed, identity in point.trials.items()
            if identity in self._admitted and seed not in point.values
        ]

    def _created(self, trial_id: str) -> str:
        return created(self._store.trial(trial_id))
