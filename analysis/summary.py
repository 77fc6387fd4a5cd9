"""The report's facts about a sweep, besides its trials' numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from analysis.adaptive_seeds import PointVerdict
from analysis.pareto import Objective
from care.trials.hardware import Mixture
from care.trials.state import State

ANSWER = "answer.txt"
"""The report's file with the answer for the terminal."""


@dataclass(frozen=True)
class Member:
    """One planned trial of a sweep.

    Attributes:
        trial_id: Identity.
        group_id: Identity without the seed.
        seed: The seed.
        axes: Dotted field to value.
        state: As in the plan.
        reason: Cause of a failed, stale or damaged state, or why its point was stopped.
    """

    trial_id: str
    group_id: str
    seed: int
    axes: dict[str, Any]
    state: State
    reason: str = ""


@dataclass(frozen=True)
class ReferenceEncoder:
    """An encoder that the sweep did not train, measured on its data.

    Attributes:
        reference_id: Identity in the store; empty if it was not measured.
        label: Its name.
        measures: Its measures by name; empty if they do not count.
        reason: Why there are no measures that count; empty otherwise.
    """

    reference_id: str
    label: str
    measures: dict[str, float]
    reason: str = ""


@dataclass(frozen=True)
class Reproduction:
    """The table or figure of the paper that a sweep reproduces.

    Attributes:
        what: Its name, e.g. ``Table 1, CIFAR-10``.
        figure: A name of :data:`analysis.paper_figures.FIGURES`, or ``table``.
        metric: The measure of the paper's numbers; None if the paper prints none.
        percent: Whether the paper's numbers are in percent.
        values: The paper's (value, spread) by variant; spread None if the paper prints none.
        differing: (field, the paper's value, the value here) of each setting that differs.
        assumed: Settings that neither the paper nor the authors' code gives.
        missing: The parts that are not reproduced, with reasons.
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
class AddedSeeds:
    """The seeds of a sweep that adds them until a point is decided.

    Attributes:
        looks: The numbers of seeds at which points are compared.
        compared: Number of points that are compared with a baseline.
        text: The decisions in one line.
        rows: The levels of each compared point, axis to value, and its verdict.
    """

    looks: tuple[int, ...]
    compared: int
    text: str
    rows: tuple[tuple[dict[str, Any], PointVerdict], ...]


@dataclass(frozen=True)
class SweepSummary:
    """A sweep's declaration and its planned trials.

    Attributes:
        name: The sweep's name.
        description: One sentence.
        members: Every planned trial.
        metric: The sweep's metric.
        mode: Whether a larger or a smaller value of it is better.
        spec_yaml: The declaration.
        experiment_yaml: The base configuration, resolved.
        command: The command that runs the sweep.
        code_version: Version of the code that wrote the report.
        reproduction: The table or figure of the paper that it reproduces, if any.
        mixed: Facts beside the configuration in which its trials differ.
        references: Encoders that it did not train, measured on its data.
        seeds: The seeds that were added until points were decided; None for a list of seeds.
        objectives: Its metrics, if it has several; ``metric`` is the first.
        notes: Sentences about how its points were chosen, why it stopped early, and its hours.
        zips: Groups of axes that take their values together.
        searched: Whether a search suggested its points, in the order of ``members``.
        raced: Whether a point that was worse than the best one got no further seeds.
        computed_by: What computes numbers of the report outside this package, with its version.
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
    references: tuple[ReferenceEncoder, ...] = ()
    seeds: AddedSeeds | None = None
    objectives: tuple[Objective, ...] = ()
    notes: tuple[str, ...] = ()
    zips: tuple[tuple[str, ...], ...] = ()
    searched: bool = False
    raced: bool = False
    computed_by: tuple[str, ...] = ()
