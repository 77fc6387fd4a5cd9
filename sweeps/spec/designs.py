"""Designs: points drawn from a space before anything is trained, at random or by Sobol's sequence.

A point is a function of (seed, its number, the space), so a design that grows keeps its points.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from care.errors import ConfigError, Problem
from sweeps.spec.expansion import Dimension, Point, Space
from sweeps.spec.search import DesignName
from sweeps.spec.space import Choice, Domain, comparable, listed

Draw = Callable[[Dimension, int], float]
"""Returns a number from 0 to below 1 for a dimension of the point with an index."""
_DIGITS = 6  # of a drawn number: more would be noise, and depend on the machine's logarithm
_DRAWS = 50
_LEAST_DRAWS = 1000


def draw_points(
    space: Space, design: DesignName, number: int, seed: int, paired: str | None = None
) -> Iterator[Point]:
    """Yield different points of a space.

    Args:
        space: The space.
        design: ``random``, or ``sobol`` for points that cover the space evenly.
        number: Number of points that are drawn.
        seed: Seed of the design.
        paired: An axis with listed values, each of which every drawn point has in turn. The other
            axes have the values that they would have without it.

    Raises:
        ConfigError: The space has fewer points.
    """
    drawn = [dimension for dimension in space.dimensions if dimension.axes != (paired,)]
    pairs = [dimension for dimension in space.dimensions if dimension.axes == (paired,)]
    draw = _random_numbers(seed) if design == "random" else _sobol_numbers(drawn, seed, number)
    seen: set[Hashable] = set()
    count = 0
    for index in range(max(_DRAWS * number, _LEAST_DRAWS)):
        before = len(seen)
        for levels in itertools.product(*(listed(dimension.domain) for dimension in pairs)):
            fixed = {pair.axes: level for pair, level in zip(pairs, levels, strict=True)}
            point = space.point(functools.partial(_pick_at, draw, index, fixed))
            key = tuple(map(comparable, point.values()))
            if key not in seen:
                seen.add(key)
                yield point
        count += len(seen) > before
        if count == number:
            return
    allowed = f"allowed: at most {count} points, as so many different ones were drawn"
    raise ConfigError("search", [Problem("search.trials", number, allowed)])


def _pick_at(
    draw: Draw, index: int, fixed: Mapping[tuple[str, ...], Any], dimension: Dimension
) -> Any:
    if dimension.axes in fixed:
        return fixed[dimension.axes]
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


def _sobol_numbers(dimensions: Sequence[Dimension], seed: int, number: int) -> Draw:
    """Make Sobol's sequence, moved by a random vector modulo 1 (Cranley and Patterson, 1976)."""
    from scipy.stats import qmc

    engine = qmc.Sobol(len(dimensions), scramble=False)
    columns = {dimension.axes: column for column, dimension in enumerate(dimensions)}
    offset = _random_numbers(seed)
    rows: list[Any] = []

    def draw(dimension: Dimension, index: int) -> float:
        while index >= len(rows):
            balanced = 2 ** math.ceil(math.log2(max(2, number)))
            rows.extend(engine.random(len(rows) or balanced))
        at = rows[index][columns[dimension.axes]]
        return float((at + offset(dimension, -1)) % 1.0)

    return draw
