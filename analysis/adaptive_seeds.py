"""Which points of a sweep get more seeds: those whose difference to the baseline is not decided.

Every point is compared with its baseline, seed by seed, at a few numbers of seeds, the *looks*. A
point is decided once its corrected p-value is at most 5 %. The correction has two parts:

- over the looks by Bonferroni: a p-value is multiplied by the number of looks, and the smallest so
  far counts. So it stays valid wherever the seeds end.
- over the points by Holm (Scandinavian Journal of Statistics 6, 1979).

So with a probability of 95 % no point without an effect is called decided, for normally distributed
differences, whatever the dependence between points. Decisions are a function of the trials' values:
they depend neither on the order nor on the times at which trials end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

LEVEL = 0.05
_GROWTH = 1.5  # from one look to the next: each further look costs power, and a wait for all trials

Verdict = Literal["decided", "undecided", "not compared"]


class TrialValue(NamedTuple):
    """The state of a trial for the comparison.

    Attributes:
        over: Whether it is neither to be trained nor training.
        value: The sweep's metric; None without one.
        collapsed: Whether its embeddings are nearly one point.
    """

    over: bool
    value: float | None = None
    collapsed: bool = False


@dataclass(frozen=True)
class PointVerdict:
    """The comparison of a point with its baseline.

    Attributes:
        point: Index of the point.
        seeds: Number of its seeds.
        pairs: Number of seeds with a value at both points.
        difference: Mean difference of the pairs; NaN without pairs.
        low: Lower end of its 95 % t-interval, without correction; NaN with fewer than two pairs.
        high: Upper end.
        p: p-value corrected over looks and points.
        verdict: Whether the difference is decided.
    """

    point: int
    seeds: int
    pairs: int
    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict


@dataclass
class SeedChoice:
    """The seeds of every point.

    Attributes:
        numbers: Number of seeds by point.
        verdicts: The latest comparison of each compared point, in the order of the points.
        history: The comparisons at each look whose trials are all over.
        waiting: Whether trials of the last look are not over.
    """

    numbers: list[int]
    verdicts: dict[int, PointVerdict] = field(default_factory=dict)
    history: list[list[PointVerdict]] = field(default_factory=list)
    waiting: bool = False

    @property
    def undecided(self) -> int:
        """Number of points that are not decided yet."""
        return sum(one.verdict == "undecided" for one in self.verdicts.values())


def list_looks(least: int, most: int) -> list[int]:
    """List the numbers of seeds at which points are compared: 3, 5, 8, 10 for 3 to 10."""
    looks = [least]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, math.ceil(_GROWTH * looks[-1]))))
    return looks


def choose_seeds(
    baselines: Sequence[int | None],
    value: Callable[[int, int], TrialValue],
    least: int,
    most: int,
) -> SeedChoice:
    """Choose the number of seeds of every point.

    Args:
        baselines: For each point the index of its baseline; None for one that is not compared, as
            it is a baseline itself.
        value: Returns the state of a point's trial by point and index of the seed.
        least: Seeds of every point.
        most: Largest number of seeds.
    """
    looks = list_looks(least, most)
    choice = SeedChoice([least] * len(baselines))
    open_points = [point for point, baseline in enumerate(baselines) if baseline is not None]
    smallest = dict.fromkeys(open_points, 1.0)
    for look in looks:
        involved = {*open_points, *(_baseline(baselines, point) for point in open_points)}
        for point in involved:
            choice.numbers[point] = look
        if not all(value(point, seed).over for point in involved for seed in range(look)):
            choice.waiting = True
            break
        found = [_compare(baselines, point, value, look) for point in open_points]
        for one in found:
            smallest[one.point] = min(smallest[one.point], len(looks) * one.p)
        _judge(choice, found, smallest)
        open_points = [
            point for point in open_points if choice.verdicts[point].verdict == "undecided"
        ]
        if not open_points:
            break
    choice.verdicts = dict(sorted(choice.verdicts.items()))
    return choice


def _judge(choice: SeedChoice, found: list[PointVerdict], smallest: dict[int, float]) -> None:
    """Correct the comparisons of a look, and note them; earlier ones get their present p-value."""
    corrected = dict(zip(smallest, adjust_by_holm(list(smallest.values())), strict=True))
    for one in [*choice.verdicts.values(), *found]:
        verdict = one.verdict
        if verdict == "undecided" and corrected[one.point] <= LEVEL:
            verdict = "decided"
        choice.verdicts[one.point] = PointVerdict(
            one.point,
            one.seeds,
            one.pairs,
            one.difference,
            one.low,
            one.high,
            corrected[one.point],
            verdict,
        )
    choice.history.append([choice.verdicts[one.point] for one in found])


def _baseline(baselines: Sequence[int | None], point: int) -> int:
    baseline = baselines[point]
    assert baseline is not None
    return baseline


def _compare(
    baselines: Sequence[int | None],
    point: int,
    value: Callable[[int, int], TrialValue],
    seeds: int,
) -> PointVerdict:
    """Compare a point with its baseline; the p-value is not corrected yet.

    A point without two pairs, or with a nearly collapsed trial on either side, is not compared.
    """
    baseline = _baseline(baselines, point)
    pairs = [(value(point, seed), value(baseline, seed)) for seed in range(seeds)]
    differences = [
        one.value - other.value
        for one, other in pairs
        if one.value is not None and other.value is not None
    ]
    collapsed = any(one.collapsed or other.collapsed for one, other in pairs)
    compared = len(differences) > 1 and not collapsed
    mean, half = _interval(differences)
    return PointVerdict(
        point,
        seeds,
        len(differences),
        mean,
        mean - half,
        mean + half,
        paired_p(differences) if compared else 1.0,
        "undecided" if compared else "not compared",
    )


def _interval(differences: Sequence[float]) -> tuple[float, float]:
    """Compute the mean and half of its 95 % t-interval."""
    n = len(differences)
    mean = math.fsum(differences) / n if n else math.nan
    if n < 2:
        return mean, math.nan
    from scipy import special

    error = math.sqrt(_variance(differences, mean) / n)
    return mean, float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * error


def _variance(values: Sequence[float], mean: float) -> float:
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def paired_p(differences: Sequence[float]) -> float:
    """Compute the two-sided p-value of the paired t-test of a mean of 0.

    Args:
        differences: One per seed, two or more. Equal ones have no spread to judge by: they get the
            p-value of the sign test.

    Example:
        >>> round(paired_p([0.1, 0.2, 0.3]), 4)
        0.0742
    """
    n = len(differences)
    mean = math.fsum(differences) / n
    variance = _variance(differences, mean)
    if max(differences) == min(differences):
        return 1.0 if mean == 0 else 2.0 ** (1 - n)
    from scipy import special

    return 2 * float(special.stdtr(n - 1, -abs(mean) / math.sqrt(variance / n)))


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's method; each is at most 1.

    Example:
        >>> adjust_by_holm([0.01, 0.5, 0.02])
        [0.03, 0.5, 0.04]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
