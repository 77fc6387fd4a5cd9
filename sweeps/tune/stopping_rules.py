"""Rules that end a trial early: ASHA, Hyperband and the median rule, without Ray Tune's state.

A rule keeps a record of values, of which more is better. What it decides is a function of the
record, so it decides alike after the record was rebuilt from a log.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket


class StoppingRule(Protocol):
    """Decides which trials end early."""

    def judge(self, trial_id: str, epoch: int, value: float) -> bool | None:
        """Enter a value and return whether its trial stops; None if nothing is due."""

    def enter(self, trial_id: str, epoch: int, value: float) -> bool:
        """Enter a value without a decision; return whether it is new in the record."""

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """List (epochs, value by trial identity) of the record, last first."""


@dataclass(frozen=True)
class _Key:
    """A trial under its identity in the store; Tune's own ids change every launch."""

    trial_id: str


class HalvingRule:
    """Asynchronous successive halving by Ray Tune's brackets; one is ASHA, several are Hyperband.

    Args:
        grace: Epochs before the first rung of the first bracket.
        epochs: Of a whole trial.
        factor: Each rung keeps the best 1 / ``factor`` of its trials.
        brackets: Their number. Each begins one rung later, and has fewer trials. A trial's bracket
            is a function of its identity.
    """

    def __init__(self, grace: int, epochs: int, factor: float, brackets: int) -> None:
        # A trial ends by finishing, with its evaluation, not by reaching the last epoch.
        self._brackets = [
            _Bracket(grace, epochs, factor, number, stop_last_trials=False)
            for number in range(brackets)
        ]
        # The shares of Hyperband (Li et al. 2018, algorithm 1), as Optuna's pruner has them.
        self._shares = [
            math.ceil(brackets * factor**late / (late + 1)) for late in reversed(range(brackets))
        ]

    @staticmethod
    def most_brackets(grace: int, epochs: int, factor: float) -> int:
        """Return the number of brackets that have a rung."""
        return int(np.log(epochs / grace) / np.log(factor)) + 1

    def bracket(self, trial_id: str) -> int:
        """Return the index of a trial's bracket."""
        place = zlib.crc32(trial_id.encode()) % sum(self._shares)
        for index, share in enumerate(self._shares):
            if place < share:
                return index
            place -= share
        raise AssertionError("the shares add up to their sum")

    def judge(self, trial_id: str, epoch: int, value: float) -> bool | None:
        """Enter a value and return whether its trial stops; None between two rungs."""
        bracket = self._brackets[self.bracket(trial_id)]
        before = _size(bracket)
        action = bracket.on_result(_Key(trial_id), epoch, value)
        return bool(action == TrialScheduler.STOP) if _size(bracket) > before else None

    def enter(self, trial_id: str, epoch: int, value: float) -> bool:
        """Enter a value without a decision; return whether its rung did not have it."""
        return self.judge(trial_id, epoch, value) is not None

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """List (epochs, value by trial identity) of each rung, bracket by bracket, last first."""
        return [
            (milestone, dict(values))
            for bracket in self._brackets
            for milestone, values in bracket._rungs
        ]


def _size(bracket: Any) -> int:
    return sum(len(values) for _, values in bracket._rungs)


class MedianRule:
    """The median rule (Golovin et al. 2017), as Ray Tune's ``MedianStoppingRule`` has it.

    A trial stops if its best value so far is worse than the median, over the other trials that came
    as far, of their mean values so far.

    Args:
        grace: The first epoch that is judged, and the first that is in a mean.
        every: Epochs between two decisions.
        least: Other trials that there must be.
    """

    def __init__(self, grace: int, every: int, least: int) -> None:
        self._grace, self._every, self._least = grace, every, least
        self._values: dict[str, dict[int, float]] = {}

    def judge(self, trial_id: str, epoch: int, value: float) -> bool | None:
        """Enter a value and return whether its trial stops; None if the epoch is not due."""
        if not self.enter(trial_id, epoch, value):
            return None
        means = [
            float(np.mean(so_far))
            for other, values in self._values.items()
            if other != trial_id
            and max(values) >= epoch
            and (so_far := [values[at] for at in sorted(values) if at <= epoch])
        ]
        if len(means) < self._least:
            return False
        own = self._values[trial_id]
        return max(own[at] for at in own if at <= epoch) < float(np.median(means))

    def enter(self, trial_id: str, epoch: int, value: float) -> bool:
        """Enter a value without a decision; return whether it is due and new."""
        due = epoch >= self._grace and (epoch - self._grace) % self._every == 0
        values = self._values.setdefault(trial_id, {}) if due else {}
        if not due or epoch in values:
            return False
        values[epoch] = value
        return True

    def rungs(self) -> list[tuple[float, dict[str, float]]]:
        """List (epochs, value by trial identity) of each epoch that was judged, last first."""
        epochs = sorted({epoch for values in self._values.values() for epoch in values})
        return [
            (
                epoch,
                {name: values[epoch] for name, values in self._values.items() if epoch in values},
            )
            for epoch in reversed(epochs)
        ]
