"""The plan of a sweep: every trial with its state in the store. Runs and writes nothing."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analysis.adaptive_seeds import TrialValue
from analysis.labels import point_name
from care.config import TrialConfig
from care.config.fields import is_field
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.errors import ConfigError, Problem
from care.trials.hardware import Machine
from care.trials.identity import identities, trial_id
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.event_log import (
    Decisions,
    RungEntry,
    SeedEntry,
    is_of,
    read_decisions,
    stopped_points,
)
from sweeps.holds import Holds, read_holds
from sweeps.point_seeds import PointSeeds, allot_seeds
from sweeps.question import Difference, is_searched
from sweeps.spec.seeds import AdaptiveSeeds
from sweeps.spec.sweep import Sweep
from sweeps.states import MEANING, TO_TRAIN
from sweeps.store import Store, final_values, finite, trial_status

_MOST_PROBLEMS, _MOST_WRONG = 20, 200  # problems that are listed; points that are looked at


@dataclass(frozen=True)
class PlannedTrial:
    """A point of the sweep with one seed.

    Attributes:
        point: Dotted axis to value.
        config: The resolved configuration.
        state: The state of :class:`sweeps.store.TrialStatus`, or stopped by the scheduler.
        epoch: Completed epochs.
        reason: Cause of a failed, stale or damaged state, why its point was stopped, or by whose
            wish it is held; empty otherwise.
        machine: The machine that trained it, if it is neither stale nor damaged.
    """

    trial_id: str
    group_id: str
    point: dict[str, Any]
    config: TrialConfig
    state: State
    epoch: int = 0
    reason: str = ""
    machine: Machine | None = None

    @property
    def label(self) -> str:
        """Its label: ``λ=0.1 seed=2``."""
        return f"{point_name(self.point, self.point.values())} seed={self.config.seed}".strip()


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep with their states in the store.

    Attributes:
        sweep: The sweep.
        trials: Every planned trial; a trial that two points share is listed twice.
        differences: Fields in which the sweep's question differs from that of its event log. If
            there are any, the log's decisions are left out of the plan, and the sweep is not run.
        seeds: The seeds of each point of the whole sweep; None for a fixed list of seeds.
    """

    sweep: Sweep
    trials: tuple[PlannedTrial, ...]
    differences: tuple[Difference, ...] = ()
    seeds: PointSeeds | None = None

    def unique(self) -> dict[str, PlannedTrial]:
        """Return the trials by identity, each once."""
        return {trial.trial_id: trial for trial in self.trials}

    @property
    def unsuggested(self) -> int:
        """Number of trials that Optuna has not suggested yet."""
        spec = self.sweep.spec
        if not spec.search.suggests:
            return 0
        return max(0, spec.search.trials * len(spec.all_seeds) - len(self.trials))

    @property
    def wanted(self) -> int:
        """Number of all trials of the sweep."""
        return len(self.unique()) + self.unsuggested

    def counts(self) -> Counter[State]:
        """Count the trials by state, each once."""
        return Counter(trial.state for trial in self.unique().values())

    @property
    def complete(self) -> bool:
        """Whether every trial is finished, or was stopped by the scheduler."""
        return self.done == self.wanted

    @property
    def done(self) -> int:
        """Number of trials for which nothing is left to do."""
        counts = self.counts()
        return sum(counts[state] for state, meaning in MEANING.items() if meaning.complete)

    def missing(self, *, held: bool = False) -> list[PlannedTrial]:
        """List the trials to train in the order in which they start.

        Those that the sweep names come first, then those with most completed epochs.

        Args:
            held: Whether to include those that a user holds.
        """
        states = (*TO_TRAIN, State.HELD) if held else TO_TRAIN
        starts: dict[str, tuple[int, int, int]] = {}
        missing = [trial for trial in self.trials if trial.state in states]
        for trial in missing:  # a trial that two points share starts with the earlier one
            rank, by_seed = self.sweep.start_order(trial.point, trial.config.seed)
            start = rank, -trial.epoch, by_seed
            starts[trial.trial_id] = min(start, starts.get(trial.trial_id, start))
        unique = {trial.trial_id: trial for trial in missing}
        return sorted(unique.values(), key=lambda trial: starts[trial.trial_id])


def make_plan(sweep: Sweep, store: Store, versions: Versions | None = None) -> Plan:
    """Expand the axes, resolve and hash each configuration, and look it up in the store.

    The plan of an Optuna sweep has the points that were suggested so far, at most as many as the
    sweep declares now.

    Args:
        sweep: The sweep.
        store: The store.
        versions: The current code and data; results of others are stale. Read now when None.

    Raises:
        ConfigError: A point is not a valid configuration; lists each wrong field once.
    """
    versions = versions or Versions()
    if sweep.spec.adaptive:
        return _plan_adaptive(sweep, store, versions, sweep.spec.adaptive)
    decisions, differences = _decisions(sweep, store)
    configs = _configs(sweep, decisions)
    stopped, started = decisions.stopped(), store.started()
    points = stopped_points(decisions, store.trials)
    holds = read_holds(store.sweep(sweep.spec.name).path)
    trials = [
        mark_held(
            mark_stopped(plan_trial(store, point, config, versions, stopped, started), points),
            holds,
        )
        for point, config in configs
    ]
    return Plan(sweep, tuple(trials), tuple(differences))


def _plan_adaptive(sweep: Sweep, store: Store, versions: Versions, limits: AdaptiveSeeds) -> Plan:
    """Plan the seeds that each point of a grid has so far; a selection takes a part of them."""
    whole = sweep.whole()
    seeds = whole.spec.all_seeds
    trials = [(point, list(whole.trials(point))) for point in _resolvable(whole)]
    known: dict[tuple[int, int], PlannedTrial] = {}
    holds = read_holds(store.sweep(whole.spec.name).path)

    def look_up(point: int, seed: int) -> PlannedTrial:
        if (point, seed) not in known:
            levels, configs = trials[point]
            trial = plan_trial(store, levels, configs[seed], versions, {})
            known[point, seed] = mark_held(trial, holds)
        return known[point, seed]

    def value(point: int, seed: int) -> TrialValue:
        trial = look_up(point, seed)
        if trial.state != State.FINISHED:
            return TrialValue(MEANING[trial.state].over)
        values = final_values(store.trial(trial.trial_id))
        collapsed = is_collapsed(values.get(COLLAPSE_METRIC))
        return TrialValue(True, finite(values.get(whole.spec.metric.name)), collapsed)

    points = [point for point, _ in trials]
    identities = [trial_id(configs[0]) for _, configs in trials]
    allotted = allot_seeds(points, identities, limits, functools.cache(value), sweep.spec.zip)
    if not allotted.compared and len(set(identities)) > 1:
        allowed = (
            "allowed: where points differ in one axis alone; otherwise a number or list of seeds"
        )
        raise ConfigError(sweep.source, [Problem("seeds.until", limits.until, allowed)])
    chosen = sweep.selection.seeds
    planned = tuple(
        look_up(point, index)
        for point, number in enumerate(allotted.choice.numbers)
        if sweep.selection.takes(points[point])
        for index in range(number)
        if chosen is None or seeds[index] in chosen
    )
    return Plan(sweep, planned, seeds=allotted)


def _resolvable(sweep: Sweep) -> list[dict[str, Any]]:
    """List the points of a grid or a design, once each is a valid configuration."""
    points = list(sweep.points())
    _resolve(sweep, points)
    return points


def plan_configs(
    sweep: Sweep, store: Store, versions: Versions | None = None
) -> list[tuple[dict[str, Any], TrialConfig]]:
    """List the point and the configuration of each trial of a sweep, without its state.

    Raises:
        ConfigError: A point is not a valid configuration; lists each wrong field once.
    """
    if sweep.spec.adaptive:
        return [(trial.point, trial.config) for trial in make_plan(sweep, store, versions).trials]
    return _configs(sweep, _decisions(sweep, store)[0])


def _configs(sweep: Sweep, decisions: Decisions) -> list[tuple[dict[str, Any], TrialConfig]]:
    if not sweep.spec.search.suggests:
        return _resolve(sweep, sweep.points())
    _resolve(sweep, sweep.space.ends())  # so that Optuna samples no bad interval
    return _resolve(sweep, _suggested(sweep, decisions))


def trial_configs(sweep: Sweep, store: Store) -> dict[str, TrialConfig]:
    """List the configurations of a sweep's trials by identity, without their states.

    Every point that Optuna has ever suggested counts, and every seed that a point may get.

    Args:
        sweep: The sweep.
        store: The store with its decisions.

    Raises:
        ConfigError: A point is not a valid configuration.
        DamagedFileError: The log of decisions cannot be read.
    """
    if not sweep.spec.search.suggests:
        points: Iterable[dict[str, Any]] = sweep.points()
    else:
        decisions = read_decisions(store.sweep(sweep.spec.name))
        points = [suggestion.point for suggestion in decisions.suggestions]
    return {trial_id(config): config for _, config in _resolve(sweep, points)}


def plan_trial(
    store: Store,
    point: dict[str, Any],
    config: TrialConfig,
    versions: Versions,
    stopped: Mapping[str, RungEntry],
    started: Collection[str] | None = None,
) -> PlannedTrial:
    """Look up the state of one trial in the store.

    Args:
        store: The store.
        point: The trial's point.
        config: Its configuration.
        versions: The current code and data; results of others are stale.
        stopped: Trials that the sweep's scheduler ended early, by identity.
        started: The trials that the store had a moment ago, if known: others are new, and to look
            for the files of 100,000 of them would take minutes on a shared disk.
    """
    identity, group = identities(config)
    if started is not None and identity not in started:
        return PlannedTrial(identity, group, point, config, State.NEW)
    folder = store.trial(identity)
    status = trial_status(folder, versions, config)
    state = status.state
    if state in TO_TRAIN and identity in stopped and is_of(stopped[identity], folder):
        state = State.STOPPED
    return PlannedTrial(
        identity,
        group,
        point,
        config,
        state,
        status.epoch,
        status.reason,
        status.machine,
    )


def mark_stopped(trial: PlannedTrial, points: Mapping[str, SeedEntry]) -> PlannedTrial:
    """Mark a trial as stopped if its point gets no further seed.

    Args:
        trial: The trial.
        points: The stopped points by identity.
    """
    entry = points.get(trial.group_id)
    if entry is None or trial.state not in TO_TRAIN or trial.config.seed in entry.running:
        return trial
    return replace(trial, state=State.STOPPED, reason=entry.reason)


def mark_held(trial: PlannedTrial, holds: Holds) -> PlannedTrial:
    """Mark a trial as held if a user holds it and no process trains it."""
    hold = holds.of(trial.group_id, trial.config.seed)
    if hold is None or trial.state not in TO_TRAIN:
        return trial
    return replace(trial, state=State.HELD, reason=hold.wish)


def _decisions(sweep: Sweep, store: Store) -> tuple[Decisions, list[Difference]]:
    """Read the decisions of search and scheduler, and how their question differs from today's.

    Without a difference the decisions apply; otherwise none are returned.
    """
    if not is_searched(sweep):
        return Decisions(), []
    decisions = read_decisions(store.sweep(sweep.spec.name))
    differences = decisions.differences(sweep)
    return (Decisions() if differences else decisions), differences


def _suggested(sweep: Sweep, decisions: Decisions) -> Iterable[dict[str, Any]]:
    for suggestion in decisions.suggestions[: sweep.spec.search.trials]:
        yield suggestion.point


def _resolve(
    sweep: Sweep, points: Iterable[dict[str, Any]]
) -> list[tuple[dict[str, Any], TrialConfig]]:
    problems: dict[tuple[str, str], Problem] = {}
    configs, wrong = [], 0
    for point in points:
        try:
            configs += [(point, config) for config in sweep.trials(point)]
        except ConfigError as error:
            wrong += 1
            for problem in error.problems:
                # A field that does not exist is wrong whatever its value.
                value = str(problem) if is_field(problem.field) else problem.allowed
                problems.setdefault((problem.field, value), problem)
            if len(problems) >= _MOST_PROBLEMS or wrong >= _MOST_WRONG:
                break
    if problems:
        raise ConfigError(sweep.source, problems.values())
    return configs
