"""The answer of a sweep, read from the store for its run in MLflow."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from analysis.pareto import Objective
from analysis.summary import Member
from care.errors import CareError
from care.trials.records import Values
from care.trials.state import State
from sweeps.account import Ending
from sweeps.plan import Plan, PlannedTrial
from sweeps.plan_remarks import describe_stopped_points
from sweeps.process.imports import large_imports
from sweeps.states import UNFINISHED, in_words
from sweeps.store import Store
from sweeps.tracking.marks import short_digest

if TYPE_CHECKING:
    from analysis.overview import Overview


@dataclass(frozen=True)
class SweepAnswer:
    """The content of a sweep's run.

    Attributes:
        overview: The answer; None before a trial is finished, and without axes.
        axes: The axes, the one on x first.
        numeric: Whether the values on x are numbers.
        counts: Numbers of trials by state, in words.
        complete: Whether nothing is left to run.
        stale: Whether a trial was trained by other code or data.
        description: The sweep's description.
        declaration: The resolved sweep as YAML.
        ending: Why its last run stopped early, and its hours.
        monitored: The metrics of held-out samples that its trials report while they train.
        several: Whether it compares its points by several metrics.
        stopped: A line for each point that got no further seed, as it was worse.
    """

    overview: Overview | None
    axes: tuple[str, ...]
    numeric: bool
    counts: str
    complete: bool
    stale: bool
    description: str
    declaration: str
    ending: Ending
    monitored: tuple[str, ...] = ()
    several: bool = False
    stopped: tuple[str, ...] = ()


def answer_key(
    plan: Plan,
    states: Mapping[str, State],
    versions: Mapping[str, str],
    ending: Ending,
) -> str:
    """Hash the inputs of a sweep's answer; the arguments are those of :meth:`AnswerReader.read`."""
    trials = [
        (trial.trial_id, states.get(trial.trial_id, trial.state), versions.get(trial.trial_id, ""))
        for trial in plan.trials
    ]
    lines = [describe_stopped_points(plan), ending.lines()]
    return short_digest([trials, plan.unsuggested, _declaration(plan), *filter(None, lines)])


class AnswerReader:
    """Reads the answer of a sweep, and each finished trial's files once.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._values: dict[tuple[str, str], Values] = {}

    def read(
        self,
        plan: Plan,
        states: Mapping[str, State],
        versions: Mapping[str, str],
        ending: Ending,
    ) -> SweepAnswer:
        """Read the answer.

        Args:
            plan: The plan of all trials of the sweep.
            states: The trials' states where they differ from the plan's.
            versions: A text by trial that changes when the trial does.
            ending: The end of the last run; empty while one runs.
        """
        with large_imports():
            from analysis.overview import build_overview

        spec = plan.sweep.spec
        members = [_member(trial, states) for trial in plan.trials]
        by_id = {member.trial_id: member.state for member in members}
        pending = {identity for identity, state in by_id.items() if state in UNFINISHED}
        if plan.unsuggested:  # steps are levels, and more levels will come
            pending = set(by_id)
        overview = build_overview(
            members,
            self.read_values(by_id, versions),
            spec.metric.name,
            spec.metric.mode,
            pending,
            with_picture=not pending,
            added_seeds=plan.seeds is not None,
            objectives=[Objective(one.name, one.mode) for one in spec.metrics],
            zips=spec.zip,
            raced=spec.scheduler.by_seed,
        )
        counts = in_words({state: list(by_id.values()).count(state) for state in State})
        axes = overview.axes if overview else tuple(members[0].axes if members else ())
        return SweepAnswer(
            overview=overview,
            axes=axes,
            numeric=overview.numeric if overview else False,
            counts=counts,
            complete=not pending,
            stale=State.STALE in by_id.values(),
            description=spec.description,
            declaration=_declaration(plan),
            monitored=plan.sweep.base_config().evaluation.monitor.metrics,
            several=bool(spec.metrics),
            stopped=tuple(describe_stopped_points(plan)),
            ending=ending,
        )

    def read_values(
        self, states: Mapping[str, State], versions: Mapping[str, str]
    ) -> dict[str, Values]:
        """Read the final values of the finished ones among trials, by identity.

        Args:
            states: The trials, with their states.
            versions: As of :meth:`read`.
        """
        from analysis.collect import read_final_values

        found = {}
        for identity, state in states.items():
            if state != State.FINISHED:
                continue
            key = identity, versions.get(identity, "")
            if key not in self._values:
                # A trial that was damaged since the plan is left out, as one without numbers.
                with contextlib.suppress(CareError):
                    self._values[key] = read_final_values(self._store.trial(identity))
            if key in self._values:
                found[identity] = self._values[key]
        return found


def _member(trial: PlannedTrial, states: Mapping[str, State]) -> Member:
    state = states.get(trial.trial_id, trial.state)
    return Member(trial.trial_id, trial.group_id, trial.config.seed, trial.point, state)


def _declaration(plan: Plan) -> str:
    sweep = plan.sweep
    tree = sweep.spec.model_dump(mode="json")
    base = sweep.base_config().model_dump(mode="json", exclude={"runtime"})
    return yaml.safe_dump({**tree, "experiment": base}, sort_keys=False, allow_unicode=True)
