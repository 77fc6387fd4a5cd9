"""What the report needs to know of a sweep besides its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from care.trials.hardware import Mixture
from care.trials.state import State


@dataclass(frozen=True)
class Member:
    """One planned trial of a sweep.

    Attributes:
        trial_id: Identity.
        group_id: Identity without the seed.
        seed: The seed.
        axes: Dotted field to value.
        state: As in the plan.
        reason: Why it is failed, stale or damaged.
    """

    trial_id: str
    group_id: str
    seed: int
    axes: dict[str, Any]
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Reproduction:
    """What of the paper a sweep reproduces.

    Attributes:
        what: E.g. ``Table 1, CIFAR-10``.
        figure: How it is drawn; a name of :data:`analysis.paper_figures.FIGURES`, or ``table``.
        metric: The measure that the paper's numbers are of; None where it gives none.
        percent: Whether the paper's numbers are hundredfold ours.
        values: The paper's (value, spread) by variant; spread None where none is printed.
        differing: (field, the paper's value, the value here) of each setting that differs.
        assumed: What neither the paper nor the authors' code says.
        missing: What is not reproduced, and why.
    """

    what: str
    figure: str
    metric: str | None
    percent: bool
    values: dict[str, tuple[float, float | None]]
    differing: list[tuple[str, str, str]]
    assumed: tuple[str, ...]
    missing: str


@dataclass(frozen=True)
class SweepSummary:
    """A sweep as its author declared it and as the plan sees it.

    Attributes:
        name: The sweep's name.
        description: A sentence.
        members: Every planned trial.
        metric: What the sweep is judged by.
        mode: Whether more or less of it is better.
        spec_yaml: The declaration.
        experiment_yaml: The base configuration, resolved.
        command: What runs it.
        code_version: Of the code that wrote the report.
        reproduction: What of the paper it reproduces, if anything.
        mixed: What its trials differ in besides their configuration.
    """

    name: str
    description: str
    members: list[Member]
    metric: str
    mode: Literal["max", "min"]
    spec_yaml: str
    experiment_yaml: str
    command: str
    code_version: str
    reproduction: Reproduction | None = None
    mixed: tuple[Mixture, ...] = ()
