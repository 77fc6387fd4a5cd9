"""Training of several trials in one process, a step of each in turn.

Each trial keeps its own folder, claim, checkpoints and failures. The trials share batches and
augmented views (:mod:`care.data.shared_batches`), which are computed once. A trial's numbers are
those of the trial alone, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from care.data.shared_batches import check_members
from care.training.stepwise import Stepwise
from care.training.trial_run import TrialRun
from care.trials.process_log import owned_by
from care.trials.records import Values

EpochResult = Values | None | Exception
"""Result of :meth:`TrialRun.steps`: an epoch's metrics, None when paused, or its error."""


@dataclass(frozen=True)
class Round:
    """One step of the trials that are behind, or of all trials.

    Attributes:
        ended: The trials whose epoch ended with this step, or that paused or failed.
        together: Whether all trials took the step.
        last: Whether no trial has a step left.
    """

    ended: Mapping[TrialRun, EpochResult]
    together: bool
    last: bool


def lockstep(
    runs: Collection[TrialRun], stop: Callable[[], bool] = lambda: False
) -> Iterator[Round]:
    """Train the trials with the lowest epoch for one epoch; the others wait.

    Trials that are behind catch up before the others continue. An error ends its own trial only.

    Args:
        runs: Trials that share their batches. The caller may add trials between rounds;
            it must remove those that paused or failed before the next epoch.
        stop: Called between steps; True saves a trial's step and pauses it.

    Raises:
        ConfigError: A trial cannot share batches with the others.
    """
    epoch = min((run.epoch for run in runs if not run.finished), default=0)
    started: set[TrialRun] = set()
    training: dict[TrialRun, Stepwise[Values | None]] = {}
    while True:
        unfinished = [run for run in runs if run.epoch == epoch and not run.finished]
        if joining := [run for run in unfinished if run not in started]:
            check_members([run.config for run in runs])
            started.update(joining)
            training |= {run: run.steps(stop) for run in joining}
        if not training:
            return
        least = min(run.position for run in training)
        behind = [run for run in training if run.position == least]
        together = len(behind) == len(training)
        ended: dict[TrialRun, EpochResult] = {}
        for run in behind:
            with owned_by(run.folder):
                over, outcome = _advance(training[run])
            if over:
                ended[run] = outcome
                del training[run]
        yield Round(ended, together, last=not training)


def _advance(steps: Stepwise[Values | None]) -> tuple[bool, EpochResult]:
    """Take a step; return whether the steps have ended, and how."""
    try:
        next(steps)
    except StopIteration as done:
        metrics: Values | None = done.value
        return True, metrics
    except Exception as error:  # noqa: BLE001 - the trial's own; the caller reports it
        return True, error
    return False, None
