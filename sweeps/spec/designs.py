"""Designs: points drawn from a space before anything is trained, at random or by Sobol's sequence.

A point is a function of (seed, its number, the space), so a design that grows keeps its points.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from care.errors import ConfigError, Problem
from sweeps.spec.expansion import Dimension, Point, Space
from sweeps.spec.search import DesignName
from sweeps.spec.space import Choice, Domain, comparable

Draw = Callable[[Dimension, int], float]
"""Returns a number from 0 to below 1 for a dimension of the point with an index."""
_DIGITS = 6  # of a drawn number: more would be noise, and depend on the machine's logarithm
_DRAWS = 50
_LEAST_DRAWS = 1000


def draw_points(space: Space, design: DesignName, number: int, seed: int) -> Iterator[Point]:
    """Yield different points of a space.

    Args:
        space: The space.
        design: ``random``, or ``sobol`` for points that cover the space evenly.
        number: Number of points.
        seed: Seed of the design.

    Raises:
        ConfigError: The space has fewer points.
    """
    draw = _random_numbers(seed) if design == "random" else _sobol_numbers(space, seed, number)
    seen: set[Hashable] = set()
    for index in range(max(_DRAWS * number, _LEAST_DRAWS)):
        point = space.point(functools.partial(_pick_at, draw, index))
        key = tuple(map(comparable, point.values()))
        if key not in seen:
            seen.add(key)
            yield point
        if len(seen) == number:
            return
    allowed = f"allowed: at most {len(seen)} points, as so many different ones were drawn"
    raise ConfigError("search", [Problem("search.trials", number, allowed)])


def _pick_at(draw: Draw, index: int, dimension: Dimension) -> Any:
    return pick(dimension.domain, draw(dimension, index))


def pick(domain: Domain, fraction: float) -> Any:
    """Return the value of a domain at a fraction from 0 to below 1 of its length."""
    if isinstance(domain, Choice):
        return domain.values[int(fraction * len(domain.values))]
    if domain.count is not None and not domain.log:
        return domain.value(min(int(fraction * domain.count), domain.count - 1))
    low, high = float(domain.low), float(domain.high)
    if domain.integer:  # each integer has the interval of the numbers that are rounded to it
        low, high = low - 0.5, high + 0.5
    if domain.log:
        low, high = math.log(low), math.log(high)
    number = low + fraction * (high - low)
    number = math.exp(number) if domain.log else number
    rounded = round(number) if domain.integer else float(f"{number:.{_DIGITS}g}")
    return min(max(rounded, domain.low), domain.high)


def _random_numbers(seed: int) -> Draw:
    def draw(dimension: Dimension, index: int) -> float:
        return random.Random(f"{seed}:{index}:{','.join(dimension.axes)}").random()

    return draw


def _sobol_numbers(space: Space, seed: int, number: int) -> Draw:
    """Make Sobol's sequence, moved by a random vector modulo 1 (Cranley and Patterson, 1976)."""
    from scipy.stats import qmc

    engine = qmc.Sobol(len(space.dimensions), scramble=False)
    columns = {dimension.axes: column for column, dimension in enumerate(space.dimensions)}
    offset = _random_numbers(seed)
    rows: list[Any] = []

    def draw(dimension: Dimension, index: int) -> float:
        while index >= len(rows):
            balanced = 2 ** math.ceil(math.log2(max(2, number)))
            rows.extend(engine.random(len(rows) or balanced))
        at = rows[index][columns[dimension.axes]]
        return float((at + offset(dimension, -1)) % 1.0)

    return draw
