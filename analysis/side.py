"""One side of a comparison of two sweeps: its trials, wherever their folders are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from analysis.summary import SweepSummary
from care.trials.state import State


@dataclass(frozen=True)
class SideTrial:
    """A planned trial.

    Attributes:
        folder: Its folder, in the store's ``trials/`` or ``archive/``.
        trial_id: Identity.
        point: Dotted axis to value.
        seed: The seed.
        state: Its state; only finished trials are compared.
        reason: Cause of another state.
    """

    folder: Path
    trial_id: str
    point: dict[str, Any]
    seed: int
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Side:
    """A sweep, or its trials of one version of the code.

    Attributes:
        label: Its name on the page, e.g. ``digits-lambda@ast1-9f3c``.
        axes: Dotted fields.
        metric: The sweep's metric.
        mode: Whether a larger or a smaller value of it is better.
        trials: Every planned trial.
    """

    label: str
    axes: tuple[str, ...]
    metric: str
    mode: Literal["max", "min"]
    trials: tuple[SideTrial, ...]

    def counts(self) -> str:
        """Return the number of trials by state, each once: ``12 finished, 6 stale``."""
        states = Counter({trial.trial_id: trial.state for trial in self.trials}.values())
        listed = [f"{states[state]} {state.value}" for state in State if states[state]]
        return ", ".join(listed) or "no trials"


def make_side(label: str, store_trials: Path, summary: SweepSummary) -> Side:
    """Make the side of a sweep's present trials.

    Args:
        label: Its name on the page.
        store_trials: The folder of the trials' folders.
        summary: The sweep.
    """
    trials = tuple(
        SideTrial(
            store_trials / member.trial_id,
            member.trial_id,
            member.axes,
            member.seed,
            member.state,
            member.reason,
        )
        for member in summary.members
    )
    axes = tuple(summary.members[0].axes) if summary.members else ()
    return Side(label, axes, summary.metric, summary.mode, trials)


def distinguish(one: Side, other: Side) -> tuple[Side, Side]:
    """Add the store to the labels of two sides of one name, if their stores differ."""
    stores = [str(side.trials[0].folder.parents[1]) if side.trials else "" for side in (one, other)]
    if one.label != other.label or stores[0] == stores[1]:
        return one, other
    return (
        replace(one, label=f"{one.label} in {stores[0]}"),
        replace(other, label=f"{other.label} in {stores[1]}"),
    )
