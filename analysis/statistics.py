"""Means with their uncertainty: t-intervals over seeds, differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
# Equal values differ by less than this after a sum and a division.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
        mean: NaN when there is no value.
        low: Lower end of the 95 % t-interval; NaN with fewer than two values.
        high: Upper end.
        n: Values.
        digits: Decimals for people.
    """

    mean: float
    low: float
    high: float
    n: int
    digits: int = 3

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and does not hold 0."""
        return self.low > 0 or self.high < 0

    @property
    def value(self) -> str:
        """The mean, for people."""
        return "–" if self.n == 0 else _number(self.mean, self.digits)

    @property
    def interval(self) -> str:
        """``± 0.128, n = 3``: half of the interval, which is symmetric, and what it rests on."""
        if math.isnan(self.low):
            return f"n = {self.n}"
        return f"± {_number(self.high - self.mean, self.digits)}, n = {self.n}"


def _number(value: float, digits: int) -> str:
    if abs(value) < _ROUNDING:
        value = 0.0
    plain = value == 0 or abs(value) >= 10**-digits
    text = f"{value:.{digits}f}" if plain else f"{value:.1g}"
    return text.replace("-", "−")


def estimate(values: Sequence[float], digits: int = 3) -> Estimate:
    """The mean of independent values with its 95 % t-interval; NaN and infinities are left out.

    Args:
        values: One a seed.
        digits: Decimals for people.
    """
    known = np.array([value for value in values if math.isfinite(value)], dtype=float)
    n = len(known)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, digits)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1, digits)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * known.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - reach, mean + reach, n, digits)


def paired_differences(values: pd.Series, baseline: pd.Series) -> pd.Series:
    """``values`` minus ``baseline`` for each seed that has both; both are indexed by seed."""
    return (values - baseline).dropna()


@dataclass(frozen=True)
class Trend:
    """A rank correlation.

    Attributes:
        rho: Spearman's ρ in [-1, 1]; NaN where it is not defined.
        n: Points.
    """

    rho: float
    n: int


def spearman(x: Sequence[float], y: Sequence[float]) -> Trend:
    """Spearman's ρ of y over x; NaN with fewer than three points or where one is constant."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(points) < 3 or any(len(set(column)) == 1 for column in zip(*points, strict=True)):
        return Trend(math.nan, len(points))
    xs, ys = zip(*points, strict=True)
    return Trend(float(stats.spearmanr(xs, ys).statistic), len(points))
