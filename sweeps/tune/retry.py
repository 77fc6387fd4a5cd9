"""Decide whether and when an unfinished trial is retried, and with which share of a machine.

Two things are bounded: starts without progress, from the trial's log of starts, and consecutive
disk errors. A node may be pre-empted any number of times. A trial whose process dies at one step
again and again is given up.
"""

from __future__ import annotations

from dataclasses import dataclass

from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from sweeps.tune.messages import Outcome, TrialTask, UnopenedStarts

_DRAINING_SECONDS = 1.0
_BUSY_SECONDS = 5.0
_DISK_SECONDS = 10.0
# A file server may be unavailable for a while; a full disk needs the user, whom the log warns.
_DISK_TRIES = 90
# A machine whose memory is full may have room soon.
_UNOPENED_SECONDS = 5.0


@dataclass(frozen=True)
class NextTry:
    """The next try of a trial.

    Attributes:
        after: Seconds to wait.
        share: Factor on the trial's share of a machine.
        unopened: Losses so far, for the next decision.
    """

    after: float
    share: int
    unopened: UnopenedStarts | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Decides whether a trial is retried.

    Attributes:
        retries: Tries without progress after the first one.
        largest_share: Factor at which a trial shares its GPU, or machine, with no other.
    """

    retries: int
    largest_share: int

    def __call__(self, task: TrialTask, outcome: Outcome) -> NextTry | None:
        """Return the next try after one that ended with ``outcome``; None if the trial is over."""
        share = task.share
        if outcome == Outcome.PAUSED:
            return NextTry(_DRAINING_SECONDS, share)
        if outcome in (Outcome.OUT_OF_MEMORY, Outcome.NOT_STARTED):
            return NextTry(0.0, share)
        if outcome == Outcome.BUSY:
            return NextTry(_BUSY_SECONDS, share)
        if outcome == Outcome.DISK_ERROR:
            return NextTry(_DISK_SECONDS, share) if task.disk_errors < _DISK_TRIES else None
        return self._after_loss(task) if outcome == Outcome.LOST else None

    def _after_loss(self, task: TrialTask) -> NextTry | None:
        try:
            return self._after_readable_loss(task)
        except DamagedFileError:  # the plan shows it as damaged
            return None

    def _after_readable_loss(self, task: TrialTask) -> NextTry | None:
        """Retry a trial whose process was lost, with more of the machine from the second time on.

        A process that dies twice at one step often ran out of memory, which the kernel does not
        report; a larger share leaves fewer trials beside it.
        """
        folder, share = TrialFolder(task.folder), task.share
        larger = min(2 * share, self.largest_share)
        status = folder.read_status()
        if status and status.error and status.error.kind == "out_of_memory":
            return NextTry(0.0, larger) if share < self.largest_share else None
        unopened = _unopened_starts(folder, task.unopened)
        losses = folder.count_starts_without_progress() + unopened.losses
        if losses > self.retries:
            return None
        after = _UNOPENED_SECONDS if unopened.losses else 0.0
        return NextTry(after, larger if losses > 1 else share, unopened)


def _unopened_starts(folder: TrialFolder, before: UnopenedStarts | None) -> UnopenedStarts:
    starts = len(folder.read_starts())
    if before is None:
        return UnopenedStarts(starts, 0 if starts else 1)
    return UnopenedStarts(starts, before.losses + 1 if starts == before.starts else 0)
