"""A sweep's space as the parameters of an Optuna study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from analysis.labels import UNUSED, axis_name, value_label
from sweeps.spec.expansion import Dimension, Point, Space
from sweeps.spec.space import Choice, Domain, Range, comparable

_STORABLE = (bool, int, float, str, type(None))


def make_distribution(domain: Domain) -> BaseDistribution:
    """Make the distribution of an axis's parameter.

    A range of real numbers with steps becomes the integers from 0, the indices of its values.
    Optuna's own steps give 0.30000000000000004 where the axis has 0.3, so that a study which is
    rebuilt from its points would differ from the study that made them.
    """
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if _is_indexed(domain):
        return IntDistribution(0, (domain.count or 1) - 1)
    if domain.integer:
        step = 1 if domain.step is None else int(domain.step)
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _is_indexed(domain: Domain) -> bool:
    return isinstance(domain, Range) and domain.step is not None and not domain.integer


class StudySpace:
    """Converts points of a space to the parameters of Optuna's trials, and back.

    A parameter has the name of its axis; zipped axes have one parameter, whose values are their
    rows in words. A conditional axis has its parameter only in trials where it exists.

    Args:
        space: The sweep's space.

    Attributes:
        distributions: The distribution of each parameter.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._words = {one.axes: _in_words(one) for one in space.dimensions}
        self.distributions = {
            parameter(one): make_distribution(Choice(tuple(words)) if words else one.domain)
            for one in space.dimensions
            for words in [self._words[one.axes]]
        }

    @property
    def unconditional(self) -> dict[str, BaseDistribution]:
        """The distributions of the parameters that every trial has."""
        names = {parameter(one) for one in self._space.dimensions if not one.when}
        return {name: one for name, one in self.distributions.items() if name in names}

    def suggest(self, trial: optuna.trial.BaseTrial) -> Point:
        """Ask a trial for the parameters of a point, and return the point's parameters."""
        params: dict[str, Any] = {}

        def ask(dimension: Dimension) -> Any:
            name = parameter(dimension)
            params[name] = _ask(trial, name, self.distributions[name])
            return self._value(dimension, params[name])

        self._space.point(ask)
        return params

    def point(self, params: Mapping[str, Any]) -> Point:
        """Convert the parameters of a trial to a point."""
        return self._space.point(
            lambda dimension: self._value(dimension, params[parameter(dimension)])
        )

    def params(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a point to the parameters of a trial."""
        return {
            parameter(dimension): self._param(dimension, point)
            for dimension in self._space.dimensions
            if not (dimension.when and point[dimension.axes[0]] == UNUSED)
        }

    def shown(self, point: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Convert a point to parameters, and their distributions, for people to read.

        An axis of real numbers with steps has its values, not their indices.
        """
        params, distributions = self.params(point), dict(self.distributions)
        for dimension in self._space.dimensions:
            name, domain = parameter(dimension), dimension.domain
            if name in params and isinstance(domain, Range) and _is_indexed(domain):
                params[name] = point[dimension.axes[0]]
                distributions[name] = FloatDistribution(domain.low, domain.high, step=domain.step)
        return params, {name: distributions[name] for name in params}

    def _value(self, dimension: Dimension, param: Any) -> Any:
        words, domain = self._words[dimension.axes], dimension.domain
        if words:
            return words[param]
        return domain.value(param) if isinstance(domain, Range) and _is_indexed(domain) else param

    def _param(self, dimension: Dimension, point: Mapping[str, Any]) -> Any:
        words, domain = self._words[dimension.axes], dimension.domain
        levels = [point[axis] for axis in dimension.axes]
        value: Any = levels if len(levels) > 1 else levels[0]
        if words:
            wanted = comparable(value)
            return next(word for word, one in words.items() if comparable(one) == wanted)
        return domain.index(value) if isinstance(domain, Range) and _is_indexed(domain) else value


def parameter(dimension: Dimension) -> str:
    """Return the name of a dimension's parameter."""
    return " & ".join(dimension.axes)


def _ask(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _in_words(dimension: Dimension) -> dict[str, Any]:
    """Name the values of zipped axes, of lists and of mappings, which Optuna cannot store.

    Returns:
        Words to value; empty if Optuna can store the values themselves.
    """
    domain = dimension.domain
    if not isinstance(domain, Choice) or _are_storable(domain.values):
        return {}
    words: dict[str, Any] = {}
    for number, value in enumerate(domain.values):
        word = _describe(dimension, value)
        words[f"{word} ({number})" if word in words else word] = value
    return words


def _are_storable(values: tuple[Any, ...]) -> bool:
    return all(
        isinstance(value, _STORABLE) and not (isinstance(value, float) and math.isnan(value))
        for value in values
    )


def _describe(dimension: Dimension, value: Any) -> str:
    if len(dimension.axes) == 1:
        return value_label(value)
    return " ".join(
        f"{axis_name(axis)}={value_label(level)}" for axis, level in dimension.levels(value).items()
    )
