"""Remarks on a plan beside its counts: trials in trouble, and machines that trials mix."""

from __future__ import annotations

from collections import Counter

from care.trials.hardware import Mixture, find_mixtures
from care.trials.state import State
from sweeps.plan import Plan


def mixed(plan: Plan) -> list[Mixture]:
    """Name the facts in which trials differ whose numbers would be compared."""
    trained = [trial for trial in plan.unique().values() if trial.machine is not None]
    machines = [trial.machine for trial in trained if trial.machine is not None]
    return find_mixtures(machines, [trial.config.training.precision != "auto" for trial in trained])


def plan_remarks(plan: Plan) -> list[str]:
    """Return lines for people: problems of trials, and facts in which trials differ."""
    trials = plan.unique().values()
    stale = [trial.reason for trial in trials if trial.state == State.STALE]
    reasons = [f"{count} stale: {reason}" for reason, count in Counter(stale).items()]
    shown = [trial for trial in trials if trial.reason and trial.state != State.STALE]
    problems = [
        f"{trial.state}: {trial.label} ({trial.trial_id}): {trial.reason}" for trial in shown
    ]
    return [*reasons, *problems, *map(str, mixed(plan))]
