"""The trials of a sweep whose encoders MLflow keeps as models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from care.config.metrics import COLLAPSE_METRIC, is_collapsed
from care.trials.records import Values
from care.trials.state import State
from sweeps.plan import Plan
from sweeps.spec.search import MetricConfig
from sweeps.store import finite


@dataclass(frozen=True)
class ModelChoice:
    """The trials of a sweep with a model.

    Attributes:
        wanted: Identities of those that get one.
        kept: Identities of those that keep one they have, e.g. as stale: no model is lost when
            the code changes.
    """

    wanted: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()


def choose_models(
    plan: Plan, read: Callable[[Mapping[str, State]], Mapping[str, Values]]
) -> ModelChoice:
    """Choose the trials with a model, as the sweep's ``tracking.models`` declares.

    Args:
        plan: The plan of all trials of the sweep.
        read: Reads the final values of the finished ones among trials, given with their states.
    """
    spec = plan.sweep.spec
    trials = {identity: trial.state for identity, trial in plan.unique().items()}
    finished = tuple(one for one, state in trials.items() if state == State.FINISHED)
    if spec.tracking.models == "none":
        return ModelChoice()
    if spec.tracking.models == "all":
        return ModelChoice(finished, frozenset(trials))
    best = find_best_trial(read(trials), spec.metric)
    return ModelChoice((best,), frozenset([best])) if best else ModelChoice((), frozenset(trials))


def find_best_trial(values: Mapping[str, Values], metric: MetricConfig) -> str:
    """Find the trial with the best value, the first of equal ones; empty without a value.

    Trials that nearly collapsed are left out.

    Args:
        values: The final values of finished trials, by identity.
        metric: The metric that compares them.
    """
    sign = -1 if metric.mode == "max" else 1
    rated = [
        (sign * value, place, identity)
        for place, (identity, found) in enumerate(values.items())
        if (value := finite(found.get(metric.name))) is not None
        and not is_collapsed(found.get(COLLAPSE_METRIC))
    ]
    return min(rated)[2] if rated else ""
