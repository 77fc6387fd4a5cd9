"""The points of a sweep's space: combinations of the values of its axes.

Axes that are zipped take their values together and form one *dimension*. An axis with a condition
has the level ``unused`` at points where the condition does not hold.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.labels import UNUSED, value_label
from care.errors import ConfigError, Problem, nearest
from sweeps.spec.axes import Axis
from sweeps.spec.space import Choice, Domain, comparable, listed

Point = dict[str, Any]
"""Dotted axis to value, in the order of the declaration."""
_MOST_TRIES = 20_000
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Dimension:
    """An axis, or axes that take their values together.

    Attributes:
        axes: The axes.
        domain: The values of one axis, or a :class:`Choice` of tuples with a value for each.
        when: Field to the values at which it exists; empty if it exists at every point.
    """

    axes: tuple[str, ...]
    domain: Domain
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def levels(self, value: Any) -> Point:
        """Return the value of each axis."""
        if len(self.axes) == 1:
            return {self.axes[0]: value}
        return dict(zip(self.axes, value, strict=True))

    @property
    def absent(self) -> Point:
        """The level of each axis at points where the condition does not hold."""
        return dict.fromkeys(self.axes, UNUSED)

    @property
    def is_listed(self) -> bool:
        """Whether a grid can take its values."""
        return isinstance(self.domain, Choice) or self.domain.step is not None

    @functools.cached_property
    def wanted(self) -> dict[str, frozenset[Hashable]]:
        """The condition with values that can be looked up."""
        return {name: frozenset(map(comparable, values)) for name, values in self.when.items()}


class Space:
    """The space that a sweep's axes span.

    Args:
        axes: The axes in the order of the declaration.
        zips: Groups of axes that take their values together.
        needs: Returns the axes that the value of a field depends on.
        read: Returns the value of a field at a point, of which only the axes that the field needs
            are decided; raises :class:`ConfigError` if there is no such field.

    Attributes:
        axes: Every axis, in the order of the declaration.
        dimensions: Every dimension; one with a condition comes after those that it depends on.
        conditional: The axes with a condition.
    """

    def __init__(
        self,
        axes: Mapping[str, Axis],
        zips: Sequence[Sequence[str]],
        needs: Callable[[str], set[str]],
        read: Callable[[Point, str], Any],
    ) -> None:
        self.axes = tuple(axes)
        self.conditional = frozenset(name for name, axis in axes.items() if axis.when)
        self._needs, self._read = needs, read
        self.dimensions = _make_dimensions(axes, zips)
        if self.conditional:
            self.dimensions = self._order_by_need()

    def grid(self) -> Iterator[Point]:
        """Yield every combination of listed values, the last axis varying fastest."""
        if not self.conditional and len(self.dimensions) == len(self.axes):
            for values in itertools.product(*(listed(one.domain) for one in self.dimensions)):
                yield dict(zip(self.axes, values, strict=True))
            return
        for point in self._walk(self.dimensions, {}):
            yield self._in_order(point)

    def ends(self, fixed: Mapping[str, Any] | None = None) -> Iterator[Point]:
        """Yield the point of the first values, then each other value or end of each dimension.

        The others keep their first values, except those that a condition depends on.

        Args:
            fixed: Axes that have one value at every point.
        """
        fixed = fixed or {}
        yield self._complete({}, fixed)
        for dimension in self.dimensions:
            decided = self._activate(dimension, fixed)
            if decided is None:
                continue
            for value in self._ends_of(dimension, fixed)[0 if dimension.when else 1 :]:
                yield self._complete({**decided, **dimension.levels(value)}, fixed)

    def point(self, choose: Callable[[Dimension], Any]) -> Point:
        """Make a point, whose dimensions that exist have the values of ``choose``."""
        point: Point = {}
        for dimension in self.dimensions:
            exists = self._holds(dimension, point)
            point |= dimension.levels(choose(dimension)) if exists else dimension.absent
        return self._in_order(point)

    def size(self, most: int) -> int:
        """Count the points of the grid, up to one more than ``most``."""
        if not self.conditional:
            count = math.prod(
                len(one.domain.values) if isinstance(one.domain, Choice) else one.domain.count or 1
                for one in self.dimensions
            )
            return min(count, most + 1)
        return sum(1 for _ in itertools.islice(self._walk(self.dimensions, {}), most + 1))

    def levels(self) -> dict[str, tuple[Any, ...]]:
        """List the levels of each axis over the grid, in the order of the declaration."""
        columns: dict[str, tuple[Any, ...]] = {}
        for dimension in self.dimensions:
            rows = [dimension.levels(value) for value in listed(dimension.domain)]
            rows += [dimension.absent] if dimension.when else []
            for axis in dimension.axes:
                unique = {comparable(row[axis]): row[axis] for row in reversed(rows)}
                columns[axis] = tuple(reversed(unique.values()))
        return {axis: columns[axis] for axis in self.axes}

    def check(self, source: str) -> None:
        """Refuse conditions on unknown fields or ranges, and those that hold at no point.

        Raises:
            ConfigError: Names the axis, its condition and the values that the field takes.
        """
        for dimension in self.dimensions:
            for name in dimension.when:
                self._check_condition(dimension, name, source)
            if dimension.when and self._activate(dimension, {}) is None:
                raise ConfigError(source, [self._never_holds(dimension)])

    def _check_condition(self, dimension: Dimension, name: str, source: str) -> None:
        field, wanted = f"axes.{dimension.axes[0]}.when.{name}", _short(dimension.when[name])
        for one in self._above([name]):
            if not one.is_listed:
                allowed = f"allowed: a field with listed values; {one.axes[0]} has a range"
                raise ConfigError(source, [Problem(field, wanted, allowed)])
        try:
            self._read(self._complete({}, {}), name)
        except ConfigError as error:
            problem = error.problems[0]
            known = [*self.axes, *([problem.nearest] if problem.nearest else [])]
            if not self._needs(name) or self._activate(dimension, {}) is None:
                close = nearest(name, known)
                raise ConfigError(
                    source, [Problem(field, wanted, problem.allowed, close)]
                ) from error

    def _never_holds(self, dimension: Dimension) -> Problem:
        field = f"axes.{dimension.axes[0]}.when"
        for name, wanted in dimension.when.items():
            taken = self._values_of(name)
            if not dimension.wanted[name] & set(map(comparable, taken)):
                labels = [value_label(value) for value in taken]
                listed_labels = ", ".join(labels[:_MOST_SHOWN])
                close = nearest(str(wanted[0]), [one for one in taken if isinstance(one, str)])
                allowed = f"allowed: a value that {name} has in this sweep ({listed_labels})"
                return Problem(f"{field}.{name}", _short(wanted), allowed, close)
        shown = {name: _short(values) for name, values in dimension.when.items()}
        return Problem(field, shown, "allowed: conditions that hold together at a point")

    def _values_of(self, name: str) -> list[Any]:
        """List the values that a field takes over the points of the dimensions that it needs."""
        values: dict[Hashable, Any] = {}
        for point in itertools.islice(self._walk(self._above([name]), {}), _MOST_TRIES):
            try:
                value = self._read(point, name)
            except ConfigError:
                continue
            values.setdefault(comparable(value), value)
        return list(values.values())

    def _order_by_need(self) -> tuple[Dimension, ...]:
        """Order the dimensions so that each comes after those that its condition needs.

        Raises:
            ConfigError: Conditions depend on each other.
        """
        left, ordered = list(self.dimensions), []
        decided: set[str] = set()
        while left:
            ready = next((one for one in left if self._directly(one) <= decided), None)
            if ready is None:
                names = ", ".join(one.axes[0] for one in left if one.when)
                field = f"axes.{next(one.axes[0] for one in left if one.when)}.when"
                allowed = "allowed: conditions that do not depend on each other"
                raise ConfigError("axes", [Problem(field, names, allowed)])
            left.remove(ready)
            ordered.append(ready)
            decided |= set(ready.axes)
        return tuple(ordered)

    def _directly(self, dimension: Dimension) -> set[str]:
        return {axis for name in dimension.when for axis in self._needs(name)}

    def _above(self, names: Sequence[str]) -> list[Dimension]:
        """List the dimensions that decide fields, in the order of decision."""
        wanted = {axis for name in names for axis in self._needs(name)}
        above: list[Dimension] = []
        for dimension in reversed(self.dimensions):
            if wanted & set(dimension.axes):
                wanted |= self._directly(dimension)
                above.insert(0, dimension)
        return above

    def _walk(self, dimensions: Sequence[Dimension], fixed: Mapping[str, Any]) -> Iterator[Point]:
        """Yield every combination of the dimensions' values; each yields one and the same dict."""
        point: Point = {}
        stack = [self._options(dimensions[0], point, fixed)] if dimensions else []
        if not dimensions:
            yield point
        while stack:
            levels = next(stack[-1], None)
            if levels is None:
                stack.pop()
                for axis in dimensions[len(stack)].axes:
                    point.pop(axis, None)
                continue
            point.update(levels)
            if len(stack) == len(dimensions):
                yield point
            else:
                stack.append(self._options(dimensions[len(stack)], point, fixed))

    def _options(
        self, dimension: Dimension, point: Point, fixed: Mapping[str, Any]
    ) -> Iterator[Point]:
        if not self._holds(dimension, point):
            return iter([dimension.absent])
        if not dimension.is_listed:
            return map(dimension.levels, self._ends_of(dimension, fixed))
        rows = map(dimension.levels, listed(dimension.domain))
        return (row for row in rows if _agrees(row, fixed))

    def _holds(self, dimension: Dimension, point: Point) -> bool:
        try:
            return all(
                comparable(self._read(point, name)) in wanted
                for name, wanted in dimension.wanted.items()
            )
        except ConfigError:  # the field does not exist at this point, e.g. with this objective
            return False

    def _ends_of(self, dimension: Dimension, fixed: Mapping[str, Any]) -> list[Any]:
        return [value for value in dimension.domain.ends if _agrees(dimension.levels(value), fixed)]

    def _activate(self, dimension: Dimension, fixed: Mapping[str, Any]) -> Point | None:
        """Find levels of other axes at which a dimension exists; None if it never does."""
        if not dimension.when:
            return {}
        walk = self._walk(self._above(list(dimension.when)), fixed)
        for point in itertools.islice(walk, _MOST_TRIES):
            if self._holds(dimension, point):
                return dict(point)
        return None

    def _complete(self, decided: Point, fixed: Mapping[str, Any]) -> Point:
        """Make a point of decided levels; dimensions without one take their first value."""
        point: Point = {}
        for dimension in self.dimensions:
            if not self._holds(dimension, point):
                point |= dimension.absent
            elif dimension.axes[0] in decided:
                point |= {axis: decided[axis] for axis in dimension.axes}
            else:
                point |= dimension.levels(self._ends_of(dimension, fixed)[0])
        return self._in_order(point)

    def _in_order(self, point: Point) -> Point:
        return {axis: point[axis] for axis in self.axes}


def _make_dimensions(
    axes: Mapping[str, Axis], zips: Sequence[Sequence[str]]
) -> tuple[Dimension, ...]:
    """Make the dimensions of axes; a group of zipped ones has the position of its first."""
    groups = {name: tuple(group) for group in zips for name in group}
    dimensions: list[Dimension] = []
    for name, axis in axes.items():
        group = groups.get(name)
        if group is None:
            dimensions.append(Dimension((name,), axis.domain, axis.when))
        elif name == group[0]:
            rows = zip(*(listed(axes[one].domain) for one in group), strict=True)
            dimensions.append(Dimension(group, Choice(tuple(rows))))
    return tuple(dimensions)


def _agrees(levels: Point, fixed: Mapping[str, Any]) -> bool:
    return all(levels[axis] == fixed[axis] for axis in levels if axis in fixed)


def _short(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)
