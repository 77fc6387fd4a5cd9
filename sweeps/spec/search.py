"""Settings of a sweep's search, its early stopping and its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from care.config import Model, PositiveInt
from care.config.base import refuse
from care.config.metrics import epoch_metrics, final_measures, is_final_measure
from care.errors import nearest

DesignName = Literal["random", "sobol"]
SamplerName = Literal["tpe", "random", "gp", "cmaes", "qmc", "nsga2"]

_USED_BY: dict[str, tuple[str, ...]] = {
    "multivariate": ("tpe",),
    "group": ("tpe",),
    "startup": ("tpe", "gp"),
    "population": ("cmaes", "nsga2"),
    "warm_start": ("tpe", "gp", "cmaes", "nsga2"),
}
"""The samplers that use a setting; the others have no such setting."""


class SearchConfig(Model):
    """The search: every combination of values, a design, or points that Optuna suggests.

    Attributes:
        name: ``grid``; ``random`` or ``sobol`` for a design, whose points are known before the
            first trial; or ``optuna``.
        trials: Number of points of a design, or that Optuna suggests; each is trained once per
            seed, and with each revision of ``code``.
        sampler: Optuna's sampler: ``tpe``, ``random``, ``gp`` (a Gaussian process), ``cmaes``,
            ``qmc`` (a scrambled Sobol sequence) or ``nsga2``.
        seed: Seed of the design or the sampler.
        multivariate: Whether ``tpe`` models the axes together instead of one by one.
        group: Whether multivariate ``tpe`` models axes that only some points have by themselves.
        startup: Points that ``tpe`` and ``gp`` choose at random before they model values.
        population: Points of a generation of ``cmaes`` and ``nsga2``; None for 4 + 3 ln(axes) of
            ``cmaes`` and 20 of ``nsga2``.
        warm_start: Whether the sampler gets the values of finished trials of the store that lie
            in the space, with every seed, when the search starts.
    """

    name: Literal["grid", "random", "sobol", "optuna"] = "grid"
    trials: PositiveInt = 20
    sampler: SamplerName = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0
    multivariate: bool = False
    group: bool = False
    startup: PositiveInt = 10
    population: Annotated[int, Field(ge=3)] | None = None
    warm_start: bool = False

    @property
    def suggests(self) -> bool:
        """Whether a point depends on the results of those before it."""
        return self.name == "optuna"

    @property
    def design(self) -> DesignName | None:
        """The design of the points; None for a grid or a search."""
        return self.name if self.name == "random" or self.name == "sobol" else None

    def chosen(self) -> dict[str, Any]:
        """Return the sampler's settings that differ from their defaults, by name."""
        return _changed(self, _USED_BY)


def _changed(settings: Model, names: Iterable[str]) -> dict[str, Any]:
    """Return the settings that differ from their defaults."""
    fields = type(settings).model_fields
    return {
        name: value for name in names if (value := getattr(settings, name)) != fields[name].default
    }


class SchedulerConfig(Model):
    """Early stopping: of a trial by a metric of its epochs, or of a point by its seeds so far.

    Attributes:
        name: ``none``, ``asha``, ``hyperband`` (ASHA in several brackets, some of which stop
            later), ``median``, or ``wilcoxon``, which trains no further seed of a point that is
            worse than the best one.
        grace_epochs: Epochs that every trial is trained for; the first rung.
        reduction_factor: Each rung of ``asha`` and ``hyperband`` keeps the best
            1 / ``reduction_factor`` of its trials.
        every: Epochs between two decisions of ``median``.
        least_trials: Other trials that came as far, before ``median`` stops one.
        p: ``wilcoxon`` stops a point if the one-sided p-value is below.
        least_seeds: Finished seeds of a point before ``wilcoxon`` compares it.
    """

    name: Literal["none", "asha", "hyperband", "median", "wilcoxon"] = "none"
    grace_epochs: PositiveInt = 1
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0
    every: PositiveInt = 1
    least_trials: PositiveInt = 3
    p: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    least_seeds: Annotated[int, Field(ge=2)] = 4

    @property
    def by_epoch(self) -> bool:
        """Whether it compares trials while they train."""
        return self.name in ("asha", "hyperband", "median")

    @property
    def by_seed(self) -> bool:
        """Whether it compares points before each further seed."""
        return self.name == "wilcoxon"

    def settings(self) -> dict[str, Any]:
        """Return the settings that the scheduler uses, by name.

        Those that came with a later version are left out at their defaults: the questions of
        earlier versions do not have them.
        """
        if self.name == "none":
            return {}
        if self.by_seed:
            return {"p": self.p, "least_seeds": self.least_seeds}
        used = {"grace_epochs": self.grace_epochs}
        if self.name == "median":
            return {**used, **_changed(self, ("every", "least_trials"))}
        return {**used, "reduction_factor": self.reduction_factor}


class MetricConfig(Model):
    """The metric that compares the trials.

    Attributes:
        name: A metric of every epoch or a final measure, e.g. ``encoder/probe_accuracy``.
        mode: Whether a larger or a smaller value is better.
    """

    name: str = "encoder/probe_accuracy"
    mode: Literal["max", "min"] = "max"

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        valid = (*epoch_metrics(), *final_measures())
        if name not in epoch_metrics() and not is_final_measure(name):
            close = nearest(name, valid)
            hint = f"; did you mean {close!r}?" if close else ""
            raise PydanticCustomError("name", f"allowed: {', '.join(valid)}{hint}")
        return name


def check_metrics(metrics: Sequence[MetricConfig], others: Mapping[str, Any]) -> None:
    """Refuse several metrics where one value must decide.

    Args:
        metrics: The sweep's ``metrics``; empty for one with a single ``metric``.
        others: Reasons by dotted field, each a (value, reason) of a part of the sweep that
            compares trials by one metric.

    Raises:
        PydanticCustomError: Names the field and the allowed values.
    """
    if not metrics:
        return
    names = [metric.name for metric in metrics]
    for field, (value, reason) in others.items():
        refuse(field, value, f"with one metric: {reason}; 'metrics' has {', '.join(names)}")


def check_search(search: SearchConfig, axes: Mapping[str, Any]) -> None:
    """Refuse settings that the search's sampler does not use, and axes that it cannot search.

    Args:
        search: The search.
        axes: Dotted field to its values.

    Raises:
        PydanticCustomError: Names the field and the allowed values.
    """
    if search.name != "grid" and not axes:
        raise PydanticCustomError(
            "search.name", "allowed with one axis or more", {"value": search.name}
        )
    for name, value in search.chosen().items():
        samplers = _USED_BY[name]
        if search.name != "optuna" or search.sampler not in samplers:
            with_samplers = " or ".join(f"'sampler: {sampler}'" for sampler in samplers)
            refuse(f"search.{name}", value, f"with 'name: optuna' and {with_samplers}")
    if search.group and not search.multivariate:
        refuse("search.group", True, "with 'multivariate: true'")
    if search.sampler == "cmaes" and not any(map(_is_interval, axes.values())):
        refuse("search.sampler", "cmaes", "with an axis that is an interval; tpe takes lists")


def _is_interval(declared: Any) -> bool:
    """Check that an axis is a range at every point."""
    return isinstance(declared, dict) and "values" not in declared and not declared.get("when")


_SCHEDULERS: dict[str, tuple[str, ...]] = {
    "grace_epochs": ("asha", "hyperband", "median"),
    "reduction_factor": ("asha", "hyperband"),
    "every": ("median",),
    "least_trials": ("median",),
    "p": ("wilcoxon",),
    "least_seeds": ("wilcoxon",),
}
"""The schedulers that use a setting."""


def check_scheduler(scheduler: SchedulerConfig, metric: MetricConfig, seeds: int) -> None:
    """Refuse settings that the scheduler does not use, and a metric or seeds that it cannot judge.

    Args:
        scheduler: The scheduler.
        metric: The sweep's metric.
        seeds: Number of seeds of each point.

    Raises:
        PydanticCustomError: Names the field and the allowed values.
    """
    for name, value in _changed(scheduler, _SCHEDULERS).items():
        users = _SCHEDULERS[name]
        # Without a scheduler these were never refused; files may have them.
        harmless = scheduler.name == "none" and "asha" in users
        if scheduler.name not in users and not harmless:
            refuse(f"scheduler.{name}", value, f"with {' or '.join(map(_named, users))}")
    if scheduler.by_epoch and metric.name not in epoch_metrics():
        reason = f"with {scheduler.name}, which needs a value after every epoch"
        refuse("metric.name", metric.name, f"{reason}: {', '.join(epoch_metrics())}")
    if scheduler.by_seed:
        _check_wilcoxon(scheduler, seeds)


def _named(scheduler: str) -> str:
    return f"'name: {scheduler}'"


def _check_wilcoxon(scheduler: SchedulerConfig, seeds: int) -> None:
    """Refuse numbers of seeds with which no point is ever stopped."""
    least, p = scheduler.least_seeds, scheduler.p
    if seeds < 2:
        refuse("scheduler.name", scheduler.name, "with several seeds; this sweep has one")
    # Smallest one-sided p-value of n pairs, if every pair is worse.
    needed = math.floor(-math.log2(p)) + 1
    if needed >= seeds:
        reason = (
            f"more than {2.0 ** -(seeds - 1):.3g} with {seeds} seeds, as {seeds - 1} pairs have "
            "no smaller p-value before the last seed"
        )
        refuse("scheduler.p", p, reason)
    if least < needed:
        reason = f"{needed} or more with p = {p:g}, as {least} pairs have p = {2.0**-least:.3g}"
        refuse("scheduler.least_seeds", least, f"{reason} or more")
    if least >= seeds:
        refuse("scheduler.least_seeds", least, f"fewer than the sweep's {seeds} seeds")
