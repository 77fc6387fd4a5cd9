"""The question of a search or scheduler: the settings that must not change between its trials.

Optuna's values and ASHA's rungs compare trials with each other. A comparison is valid only between
trials of one metric, one base configuration and one search space. A sweep may grow: more
``search.trials``, more seeds and, in a grid, more values of an axis do not change the question.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.labels import CODE, VARIANT
from care.config import TrialConfig
from care.errors import ConfigError, Problem
from care.trials.identity import canonical, flatten
from sweeps.spec.axes import Axis
from sweeps.spec.space import Choice, listed
from sweeps.spec.sweep import Sweep

_UNUSED = "unused"
_NO_VARIANT = ""


@dataclass(frozen=True)
class Difference:
    """A field in which a sweep's question differs from that of its log.

    Attributes:
        field: Dotted field of the sweep or of its base configuration.
        began: The value at the start of the search.
        now: The value today.
    """

    field: str
    began: object
    now: object

    def __str__(self) -> str:
        return f"{self.field}: {self.began} → {self.now}"


@dataclass(frozen=True)
class Question:
    """The settings by which a search or scheduler compares trials, as JSON values.

    Attributes:
        settings: Dotted field to value: metric, search and scheduler, without ``search.trials``.
        axes: Axis to its values, or to ``{low, high, log}``.
        seeds: Seeds of each point.
        base: Variant (empty without variants) to field to the field's values over the axes. Fields
            that are axes, or that cannot change a number, are left out.
    """

    settings: dict[str, Any]
    axes: dict[str, Any]
    seeds: list[int]
    base: dict[str, dict[str, list[Any]]]


class OtherQuestionError(ConfigError):
    """A sweep's question differs from that of the search under its name.

    Args:
        sweep: The sweep.
        differences: The fields that differ.
        advice: The ways to continue.
    """

    def __init__(self, sweep: Sweep, differences: Sequence[Difference], advice: str) -> None:
        super().__init__(
            sweep.source,
            [
                Problem(each.field, each.now, f"this search began with {each.began!r}")
                for each in differences
            ],
        )
        self.args = (f"{self.args[0]}\n{advice}",)


def is_searched(sweep: Sweep) -> bool:
    """Check that a search or scheduler makes decisions that depend on other trials."""
    return sweep.spec.search.suggests or sweep.spec.scheduler.name != "none"


def question_of(sweep: Sweep) -> Question:
    """Derive the question of a sweep from its declaration.

    Raises:
        ConfigError: A value of an axis is not valid.
    """
    spec = sweep.spec
    settings: dict[str, Any] = (
        {"metrics": [metric.model_dump() for metric in spec.metrics]}
        if spec.metrics
        else {"metric.name": spec.metric.name, "metric.mode": spec.metric.mode}
    )
    settings |= {"search.name": spec.search.name, "scheduler.name": spec.scheduler.name}
    if spec.search.name != "grid":
        settings |= {"search.sampler": spec.search.sampler, "search.seed": spec.search.seed}
        # Defaults are left out: the questions of earlier versions do not have them.
        settings |= {f"search.{name}": value for name, value in spec.search.chosen().items()}
    scheduler = spec.scheduler.settings()
    settings |= {f"scheduler.{name}": value for name, value in scheduler.items()}
    if spec.zip:
        settings["zip"] = [list(group) for group in spec.zip]
    settings |= {f"expressions.{field}": text for field, text in spec.expressions.items()}
    axes = {name: _record(axis, spec.search.name) for name, axis in spec.parsed_axes().items()}
    if spec.code:  # a name may stand for other code another day
        axes[CODE] = [revision.code_version for revision in spec.code.values()]
    values = (settings, axes, sorted(spec.all_seeds), _base(sweep))
    return Question(*json.loads(json.dumps(values)))


def _record(axis: Axis, search: str) -> Any:
    """Convert an axis to JSON values; a grid's, which may grow, to its values."""
    domain = axis.domain
    if isinstance(domain, Choice) or search == "grid":
        values = list(listed(domain))
        return {"values": values, "when": axis.when} if axis.when else values
    record: dict[str, Any] = {"low": domain.low, "high": domain.high, "log": domain.log}
    record |= {} if domain.step is None else {"step": domain.step}
    return record | ({"when": axis.when} if axis.when else {})


def differences(began: Question, now: Question) -> list[Difference]:
    """List the fields in which two questions differ; empty if ``now`` only grew."""
    changed = [
        Difference(name, began.settings.get(name, _UNUSED), now.settings.get(name, _UNUSED))
        for name in {**began.settings, **now.settings}
        if began.settings.get(name) != now.settings.get(name)
    ]
    grows = now.settings["search.name"] == "grid"
    changed += _different_axes(began.axes, now.axes, grows)
    if not _within(began.seeds, now.seeds):
        changed.append(Difference("seeds", began.seeds, now.seeds))
    return changed + _different_base(began.base, now.base, set(began.axes) | set(now.axes))


def _different_axes(
    began: dict[str, Any], now: dict[str, Any], grows: bool
) -> Iterator[Difference]:
    for name in {**began, **now}:
        old, new = began.get(name, _UNUSED), now.get(name, _UNUSED)
        more = grows and isinstance(old, list) and isinstance(new, list) and _within(old, new)
        if old != new and not more:
            yield Difference(f"axes.{name}", old, new)


def _different_base(
    began: dict[str, dict[str, list[Any]]], now: dict[str, dict[str, list[Any]]], axes: set[str]
) -> list[Difference]:
    """List the fields of the base that differ, each once even if all variants differ."""
    changed: dict[str, Difference] = {}
    for variant in sorted(began.keys() & now.keys()):
        for name in sorted({*began[variant], *now[variant]}):
            if _is_in(name, axes):
                continue  # reported as a difference of the axes
            old = began[variant].get(name, [_UNUSED])
            new = now[variant].get(name, [_UNUSED])
            if not _within(old, new):
                changed.setdefault(name, Difference(name, _unwrap(old), _unwrap(new)))
    return [changed[name] for name in sorted(changed)]


def _within(few: list[Any], many: list[Any]) -> bool:
    return all(value in many for value in few)


def _unwrap(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _base(sweep: Sweep) -> dict[str, dict[str, list[Any]]]:
    variants = sweep.spec.axes.get(VARIANT)
    if variants is None:
        return {_NO_VARIANT: _fields(sweep, {})}
    return {name: _fields(sweep, {VARIANT: name}) for name in variants}


def _fields(sweep: Sweep, fixed: dict[str, Any]) -> dict[str, list[Any]]:
    """Map each field to its different values over the axes, one axis varied at a time.

    A field may be unused at some values of an axis: at λ = 0 no other field of L_equi is used.
    """
    trees = [dict(flatten(canonical(config))) for config in _corners(sweep, fixed)]
    axes = {*sweep.spec.axes, "seed"}
    names = {name for tree in trees for name in tree if not _is_in(name, axes)}
    fields: dict[str, list[Any]] = {}
    for name in sorted(names):
        values = fields.setdefault(name, [])
        for tree in trees:
            value = tree.get(name, _UNUSED)
            if value not in values:
                values.append(value)
    return fields


def _corners(sweep: Sweep, fixed: dict[str, Any]) -> Iterator[TrialConfig]:
    """Yield the configuration at the axes' first values, then at each other value of each axis."""
    seed = sweep.spec.all_seeds[0]
    for point in sweep.space.ends(fixed):
        yield sweep.trial(point, seed)


def _is_in(field: str, axes: set[str]) -> bool:
    return any(field == axis or field.startswith(f"{axis}.") for axis in axes)
