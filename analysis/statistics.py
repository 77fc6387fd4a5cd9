"""Means with t-intervals over seeds, differences paired by seed, and rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
Array = NDArray[Any]
_ROUNDING = 1e-12  # largest rounding error of a sum and a division of equal values


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
        mean: The mean; NaN without values.
        low: Lower end of the 95 % t-interval; NaN with fewer than two values.
        high: Upper end; NaN with fewer than two values.
        n: Number of values.
        digits: Decimals of the text.
    """

    mean: float
    low: float
    high: float
    n: int
    digits: int = 3

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def value(self) -> str:
        """The mean as text; – without values."""
        return "–" if self.n == 0 else _format(self.mean, self.digits)

    @property
    def interval(self) -> str:
        """Half the width of the interval and n as text: ``± 0.128, n = 3``."""
        if math.isnan(self.low):
            return f"n = {self.n}"
        return f"± {_format(self.high - self.mean, self.digits)}, n = {self.n}"


def _format(value: float, digits: int) -> str:
    if abs(value) < _ROUNDING:
        value = 0.0
    plain = value == 0 or abs(value) >= 10**-digits
    text = f"{value:.{digits}f}" if plain else f"{value:.1g}"
    return text.replace("-", "−")


def estimate(values: Sequence[float], digits: int = 3) -> Estimate:
    """Estimate the mean of independent values with its 95 % t-interval.

    Args:
        values: One per seed; NaN and infinities are left out.
        digits: Decimals of the text.
    """
    known = np.array([value for value in values if math.isfinite(value)], dtype=float)
    n = len(known)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, digits)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1, digits)
    half = float(_quantile(n - 1) * known.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n, digits)


@dataclass(frozen=True)
class Estimates:
    """Means and intervals as arrays; see :class:`Estimate` for each."""

    mean: Array
    low: Array
    high: Array
    n: Array

    def row(self, index: int) -> Estimate:
        """Return the estimate of one row."""
        mean, low, high = (float(part[index]) for part in (self.mean, self.low, self.high))
        return Estimate(mean, low, high, int(self.n[index]))


def estimate_rows(values: Array) -> Estimates:
    """Estimate the mean of each row, as :func:`estimate` does; fast, for thousands of rows.

    Args:
        values: A row each, with a column for each seed; NaN and infinities are left out.
    """
    known = np.isfinite(values)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=1) / n
        deviations = np.where(known, values - mean[:, None], 0.0)
        deviation = np.sqrt((deviations**2).sum(axis=1) / (n - 1))
        quantiles = np.array([math.nan, math.nan, *map(_quantile, range(1, values.shape[1]))])
        half = quantiles[n] * deviation / np.sqrt(n)
    return Estimates(mean, mean - half, mean + half, n)


@cache
def _quantile(freedom: int) -> float:
    """Return the quantile of the t-distribution for the interval."""
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def paired_differences(values: pd.Series, baseline: pd.Series) -> pd.Series:
    """Subtract ``baseline`` from ``values`` for each seed that has both; the index is the seed."""
    return (values - baseline).dropna()


@dataclass(frozen=True)
class Trend:
    """A rank correlation.

    Attributes:
        rho: Spearman's ρ in [-1, 1]; NaN where it is not defined.
        n: Number of points.
    """

    rho: float
    n: int


def spearman(x: Sequence[float], y: Sequence[float]) -> Trend:
    """Compute Spearman's ρ of y over x; NaN with fewer than three points or a constant side."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(a) and math.isfinite(b)]
    if len(points) < 3 or any(len(set(column)) == 1 for column in zip(*points, strict=True)):
        return Trend(math.nan, len(points))
    ranks = pd.DataFrame(points).rank()
    return Trend(float(np.corrcoef(ranks, rowvar=False)[0, 1]), len(points))
