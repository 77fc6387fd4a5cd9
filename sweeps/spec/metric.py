"""Check that the trials of a sweep measure its metric when the sweep needs it."""

from __future__ import annotations

from care.config import TrialConfig
from care.errors import ConfigError, Problem
from care.registry import MONITORED, READOUTS
from sweeps.spec.schema import SweepSpec


def check_metric(spec: SweepSpec, config: TrialConfig, source: str) -> None:
    """Refuse a metric that a trial's ``evaluation`` does not measure, or not when it is needed.

    Args:
        spec: The sweep.
        config: One of its trials.
        source: The sweep's file, for the message.

    Raises:
        ConfigError: Names the field and the allowed values.
    """
    for index, metric in enumerate(spec.objectives):
        field = f"metrics.{index}.name" if spec.metrics else "metric.name"
        _check_measured(spec, config, source, field, metric.name)


def _check_measured(
    spec: SweepSpec, config: TrialConfig, source: str, field: str, name: str
) -> None:
    monitor = config.evaluation.monitor
    for readout, names in READOUTS.items():
        if name in names and readout not in config.evaluation.readouts:
            allowed = f"allowed with {readout!r} in evaluation.readouts"
            raise ConfigError(source, [Problem(field, name, allowed)])
    missing = next((key for key, entry in MONITORED.items() if name in entry.names), None)
    if missing is None:
        return
    if name not in monitor.metrics:
        measured = ", ".join(monitor.measures)
        allowed = f"allowed with {missing!r} in evaluation.monitor.measures, which are: {measured}"
        raise ConfigError(source, [Problem(field, name, allowed)])
    grace, every = spec.scheduler.grace_epochs, monitor.every
    if spec.scheduler.by_epoch and grace % every and grace < config.training.epochs:
        allowed = (
            f"allowed: a multiple of {every}, e.g. {grace + -grace % every}, as {name} is measured "
            f"every {every} epochs (evaluation.monitor.every)"
        )
        raise ConfigError(source, [Problem("scheduler.grace_epochs", grace, allowed)])
