"""Remarks on a plan: trials with problems, and facts in which compared trials differ."""

from __future__ import annotations

from collections import Counter

from care.trials.hardware import Mixture, compare_machines
from care.trials.state import State
from sweeps.plan import Plan


def find_mixtures(plan: Plan) -> list[Mixture]:
    """Find the facts, e.g. the device, in which trials that the sweep compares differ."""
    trained = [trial for trial in plan.unique().values() if trial.machine is not None]
    machines = [trial.machine for trial in trained if trial.machine is not None]
    return compare_machines(
        machines, [trial.config.training.precision != "auto" for trial in trained]
    )


def plan_remarks(plan: Plan) -> list[str]:
    """Describe the problems of trials and the facts in which they differ, a line each."""
    trials = plan.unique().values()
    stale = [trial.reason for trial in trials if trial.state == State.STALE]
    reasons = [f"{count} stale: {reason}" for reason, count in Counter(stale).items()]
    problems = [
        f"{trial.state}: {trial.label} ({trial.trial_id}): {trial.reason}"
        for trial in trials
        if trial.reason and trial.state != State.STALE
    ]
    return [*reasons, *problems, *map(str, find_mixtures(plan))]
