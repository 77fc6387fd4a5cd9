"""Earlier finished trials that a search starts from, instead of from nothing.

A point counts if the store has a finished trial of it for every seed of the sweep, of today's code
and data. Which points a search started from is logged before its first suggestion, so that later
trials do not change it. Their values are read from the store, as those of all points.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.labels import VARIANT
from care.errors import ConfigError
from care.system.files import DamagedFileError
from care.trials.identity import trial_id
from care.trials.staleness import Versions
from care.trials.state import State
from sweeps.event_log import read_decisions
from sweeps.plan import plan_trial
from sweeps.spec.expansion import Dimension
from sweeps.spec.space import Choice, Domain, comparable
from sweeps.spec.sweep import Sweep
from sweeps.store import Store, final_values, finite

Point = dict[str, Any]
Values = tuple[float, ...]


@dataclass(frozen=True)
class WarmPoint:
    """A point that a search starts from.

    Attributes:
        point: Dotted axis to value.
        values: Mean over the seeds of each of the sweep's metrics; None if a trial has none now.
    """

    point: Point
    values: Values | None


class _OutsideError(Exception):
    """A trial does not lie in the space."""


def find_points(sweep: Sweep, store: Store, versions: Versions) -> list[Point]:
    """Find the points of a sweep's space of which the store has finished trials with values."""
    found: dict[str, Point] = {}
    for identity, config in _configs(store):
        if config.get("seed") in sweep.spec.all_seeds:
            point = _locate(sweep, identity, config)
            if point is not None:
                found.setdefault(repr(sorted(point.items())), point)
    known = (found[key] for key in sorted(found))
    return [point for point in known if read_values(sweep, store, point, versions) is not None]


def _configs(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the identity and the configuration of each stored trial that can be read."""
    for folder in store.all_trials():
        try:
            record = folder.read_trial()
        except DamagedFileError:
            continue
        if record is not None:
            yield folder.trial_id, record.config


def _locate(sweep: Sweep, identity: str, config: Mapping[str, Any]) -> Point | None:
    """Return the point of the space whose trial this is; None if there is none."""
    for variant in sweep.spec.variants or (None,):
        try:
            point = sweep.space.point(
                lambda dimension: _choose(dimension, config, variant)  # noqa: B023
            )
            if trial_id(sweep.trial(point, config["seed"])) == identity:
                return point
        except (_OutsideError, ConfigError):
            continue
    return None


def _choose(dimension: Dimension, config: Mapping[str, Any], variant: str | None) -> Any:
    """Return a trial's value of a dimension.

    Raises:
        _OutsideError: The dimension does not have it.
    """
    levels = [variant if axis == VARIANT else _read(config, axis) for axis in dimension.axes]
    value = levels if len(levels) > 1 else levels[0]
    if not _contains(dimension.domain, value):
        raise _OutsideError
    return value


def _read(config: Mapping[str, Any], field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise _OutsideError
        value = value[name]
    return value


def _contains(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choice):
        return comparable(value) in set(map(comparable, domain.values))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    inside = domain.low <= value <= domain.high
    return inside and (domain.count is None or domain.value(domain.index(value)) == value)


def read_values(sweep: Sweep, store: Store, point: Point, versions: Versions) -> Values | None:
    """Return the means of a point's metrics over the seeds; None if a trial has no value."""
    columns: list[list[float]] = [[] for _ in sweep.spec.objectives]
    for seed in sweep.spec.all_seeds:
        trial = plan_trial(store, point, sweep.trial(point, seed), versions, {})
        if trial.state != State.FINISHED:
            return None
        measured = final_values(store.trial(trial.trial_id))
        for column, metric in zip(columns, sweep.spec.objectives, strict=True):
            value = finite(measured.get(metric.name))
            if value is None:
                return None
            column.append(value)
    return tuple(map(statistics.fmean, columns))


def describe_warm_start(sweep: Sweep, store: Store, versions: Versions) -> list[str]:
    """Describe the points that a search starts from, in one line; none without a warm start."""
    if not sweep.spec.search.warm_start:
        return []
    logged = read_decisions(store.sweep(sweep.spec.name)).warm_start
    if logged is None:
        count = len(find_points(sweep, store, versions))
        return [f"warm start: {_count(count)} of the store will be given to the sampler"]
    return [f"warm start: {_count(len(logged))} of the store were given to the sampler"]


def _count(number: int) -> str:
    return f"{number} earlier point{'' if number == 1 else 's'}"
