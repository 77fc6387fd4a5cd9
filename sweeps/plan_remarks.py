"""Remarks on a plan: trials with problems, and facts in which compared trials differ."""

from __future__ import annotations

import math
from collections import Counter

from care.config.cost import monitor_share
from care.trials.hardware import Mixture, compare_machines
from care.trials.state import State
from sweeps.plan import Plan

_MONITOR_SHARE = 0.02


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
    return [*reasons, *problems, *map(str, find_mixtures(plan)), *_describe_monitor(plan)]


def _describe_monitor(plan: Plan) -> list[str]:
    """Describe a chosen ``evaluation.monitor`` that costs more than 2 % of the passes to come."""
    shares = [
        (monitor_share(trial.config) or 0.0, trial.config)
        for trial in plan.missing()
        if not trial.config.evaluation.monitor.is_default
    ]
    share, config = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    if config is None or share <= _MONITOR_SHARE:
        return []
    every = math.ceil(config.evaluation.monitor.every * share / _MONITOR_SHARE)
    less = "fewer images cost less"
    if every <= config.training.epochs:
        less = f"'every: {every}' would take 2 %"
    return [f"evaluation.monitor takes about {share:.0%} of the training's passes; {less}"]
