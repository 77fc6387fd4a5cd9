"""The history of a search: the value of each suggestion, and the best one so far."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.collect import tabulate
from analysis.comparison import Comparison, Point
from analysis.labels import point_name
from analysis.levels import to_level
from analysis.pareto import Objective
from analysis.summary import Member, SweepSummary
from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.trials.state import State

LEAST_SUGGESTIONS = 3
_REFERENCE_MARGIN = 0.1  # of the range of values, beyond the worst


@dataclass(frozen=True)
class Suggested:
    """A point that a search suggested.

    Attributes:
        number: Its number, from 1.
        point: The point.
        name: Its name.
        values: Mean over the seeds of each metric; NaN for one that is missing. Empty if a trial
            did not finish.
        state: ``finished``, ``collapsed``, ``stopped`` by a scheduler, ``failed``, or ``open``.
    """

    number: int
    point: Point
    name: str
    values: tuple[float, ...]
    state: str


@dataclass(frozen=True)
class History:
    """The suggestions of a search in their order.

    Attributes:
        objectives: The metrics.
        suggestions: The suggestions.
        best: The best value so far of each metric, after each suggestion; NaN before the first.
        hypervolume: Of the front so far, after each suggestion; empty with one metric.
        reference: The corner of the hypervolume, a value of each metric; empty with one metric.
    """

    objectives: tuple[Objective, ...]
    suggestions: tuple[Suggested, ...]
    best: tuple[tuple[float, ...], ...]
    hypervolume: tuple[float, ...]
    reference: tuple[float, ...]


def read_history(comparison: Comparison, summary: SweepSummary) -> History | None:
    """Read the history of a search; None for a grid, or without three points with values."""
    if not summary.searched:
        return None
    objectives = summary.objectives or (Objective(summary.metric, summary.mode),)
    rows = {str(row["trial_id"]): row for row in comparison.trials.to_dict("records")}
    seeds = len({member.seed for member in summary.members})
    suggestions = []
    for start in range(0, len(summary.members) - seeds + 1, seeds):
        members = summary.members[start : start + seeds]
        suggestions.append(_suggested(start // seeds + 1, comparison, members, rows, objectives))
    counted = [one.values if one.state == State.FINISHED else () for one in suggestions]
    if sum(map(bool, counted)) < LEAST_SUGGESTIONS:
        return None
    signs = [1 if objective.mode == "min" else -1 for objective in objectives]
    best = tuple(
        _best_so_far([one[index] if one else math.nan for one in counted], sign)
        for index, sign in enumerate(signs)
    )
    volumes, reference = _volumes(counted, signs) if len(objectives) > 1 else ((), ())
    return History(tuple(objectives), tuple(suggestions), best, volumes, reference)


def _suggested(
    number: int,
    comparison: Comparison,
    members: Sequence[Member],
    rows: Mapping[str, Mapping[Hashable, object]],
    objectives: Sequence[Objective],
) -> Suggested:
    point = tuple(to_level(members[0].axes[axis]) for axis in comparison.axes)
    of_trials = [rows[member.trial_id] for member in members]
    # A point that was worse has the mean of the seeds that were trained.
    trained = [
        rows[member.trial_id]
        for member in members
        if member.state != State.STOPPED or not comparison.raced
    ]
    values = tuple(
        math.fsum(_number(row.get(objective.metric)) for row in trained) / len(trained)
        for objective in objectives
    )
    state = _state(members, of_trials)
    name = point_name(comparison.axes, point)
    known = state not in ("failed", "open") and all(map(math.isfinite, values))
    if not known and state == State.FINISHED:
        state = "failed"
    return Suggested(number, point, name, values if known else (), state)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _state(members: Sequence[Member], rows: Sequence[Mapping[Hashable, object]]) -> str:
    states = {member.state for member in members}
    if states == {State.FINISHED}:
        levels = [_number(row.get(COLLAPSE_METRIC)) for row in rows]
        return "collapsed" if any(map(is_collapsed, levels)) else State.FINISHED.value
    if states <= {State.FINISHED, State.STOPPED}:
        return State.STOPPED.value
    ended = {State.FINISHED, State.STOPPED, State.FAILED, State.STALE, State.DAMAGED}
    return "failed" if states <= ended else "open"


def _best_so_far(values: Sequence[float], sign: int) -> tuple[float, ...]:
    """Return the best value after each one: the smallest if ``sign`` is 1, the largest if -1."""
    losses = np.fmin.accumulate(sign * np.array(values))  # of a number and NaN: the number
    return tuple((sign * losses).tolist())


def _volumes(
    counted: Sequence[tuple[float, ...]], signs: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute the hypervolume after each suggestion, and its corner.

    The corner lies a tenth of each metric's range beyond its worst value, so that the ends of the
    front count. It depends on the whole search: volumes of two searches are not comparable.
    """
    losses = [tuple(s * v for s, v in zip(signs, one, strict=True)) for one in counted if one]
    corner = []
    for column in zip(*losses, strict=True):
        low, high = min(column), max(column)
        corner.append(high + _REFERENCE_MARGIN * ((high - low) or abs(high) or 1.0))
    volumes: list[float] = []
    front: list[tuple[float, ...]] = []
    for one in counted:
        loss = tuple(sign * value for sign, value in zip(signs, one, strict=True)) if one else None
        volume = volumes[-1] if volumes else 0.0
        if loss is not None and not any(_covers(other, loss) for other in front):
            front = [loss, *(other for other in front if not _covers(loss, other))]
            volume = max(volume, hypervolume(front, tuple(corner)))  # rounding must not lower it
        volumes.append(volume)
    reference = tuple(sign * value for sign, value in zip(signs, corner, strict=True))
    return tuple(volumes), reference


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def hypervolume(points: Sequence[tuple[float, ...]], corner: tuple[float, ...]) -> float:
    """Compute the volume between points and a corner, by slices along the last metric.

    Args:
        points: Values of each metric, smaller is better.
        corner: The corner; points that are not better than it in each metric do not count.
    """
    inside = [one for one in points if all(a < b for a, b in zip(one, corner, strict=True))]
    if not inside:
        return 0.0
    if len(corner) == 1:
        return corner[0] - min(one[0] for one in inside)
    inside.sort(key=lambda one: one[-1])
    total, below = 0.0, list[tuple[float, ...]]()
    for index, one in enumerate(inside):
        part = one[:-1]
        if not any(_covers(other, part) for other in below):
            below = [part, *(other for other in below if not _covers(part, other))]
        end = inside[index + 1][-1] if index + 1 < len(inside) else corner[-1]
        if end > one[-1]:
            total += (end - one[-1]) * hypervolume(below, corner[:-1])
    return total


def tabulate_history(comparison: Comparison, history: History) -> pd.DataFrame:
    """Make a row for each suggestion: its point, state and values, and the best so far."""
    rows = []
    for index, one in enumerate(history.suggestions):
        row: dict[str, object] = {"suggestion": one.number}
        row |= dict(zip(comparison.axes, one.point, strict=True))
        row["state"] = one.state
        for place, objective in enumerate(history.objectives):
            row[objective.metric] = one.values[place] if one.values else math.nan
            row[f"best {objective.metric}"] = history.best[place][index]
        if history.hypervolume:
            row["hypervolume"] = history.hypervolume[index]
        rows.append(row)
    return tabulate(rows, comparison.axes)
