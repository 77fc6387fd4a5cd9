"""Short forms of the messages between the driver, Ray Tune and a process that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from care.config import TrialConfig
from sweeps.tune.messages import Outcome, PackResult, PackTask, TrialResult, TrialTask

CONFIG = TrialConfig()


def task(trial_id: str, **changes: Any) -> TrialTask:
    """Make a task of the default trial in a folder that is not there."""
    values = {"config": CONFIG, "folder": Path("trials") / trial_id, **changes}
    return TrialTask(trial_id, **values)


def tune_trial(*trial_ids: str, key: str = "tune") -> Any:
    """Make one of Tune's trials, which its scheduler and callbacks get."""
    config = PackTask(tuple(task(trial_id) for trial_id in trial_ids)).to_config()
    return Trial("CareTrainable", config=config, trial_id=key, stub=True)


def result(
    outcomes: dict[str, Outcome], metrics: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Make a result of Tune's, with the outcome of each trial and metrics of all of them."""
    trials = [TrialResult(name, outcome, "", metrics or {}) for name, outcome in outcomes.items()]
    done = all(trial.done for trial in trials)
    return PackResult(tuple(trials), done, **more).to_result()


def epoch(trial_id: str, metrics: dict[str, Any], created: str = "") -> dict[str, Any]:
    """Make the result of an epoch of a trial that trains alone."""
    trial = TrialResult(trial_id, Outcome.RUNNING, created, metrics)
    return PackResult((trial,)).to_result()
