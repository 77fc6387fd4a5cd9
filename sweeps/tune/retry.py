"""Another try for a trial that is not over: whether, when, and with how much of a machine.

Only tries without progress count, by the trial's own log of starts, and disk errors in a row. A
node may be pre-empted any number of times, but a trial that kills its process at one step again and
again is given up.
"""

from __future__ import annotations

from dataclasses import dataclass

from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder
from sweeps.tune.messages import Outcome, TrialTask, UnopenedLosses

_DRAINING_SECONDS = 1.0
_BUSY_SECONDS = 5.0
_DISK_SECONDS = 10.0
# A file server may be away for a while; a full disk needs a person, whom the log warns meanwhile.
_DISK_TRIES = 90
# A machine whose memory is full may have room a little later.
_UNOPENED_SECONDS = 5.0


@dataclass(frozen=True)
class Again:
    """Another try.

    Attributes:
        after: Seconds to wait.
        share: Factor on the trial's part of a machine.
        unopened: Losses so far, for the next decision.
    """

    after: float
    share: int
    unopened: UnopenedLosses | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Decides about another try.

    Attributes:
        retries: Tries without progress after the first one.
        largest_share: Factor at which a trial shares its GPU, or machine, with no other.
    """

    retries: int
    largest_share: int

    def __call__(self, task: TrialTask, outcome: Outcome) -> Again | None:
        """Return the next try of a trial whose try has ended, or None when it is over."""
        share = task.share
        if outcome == Outcome.PAUSED:
            return Again(_DRAINING_SECONDS, share)
        if outcome in (Outcome.OUT_OF_MEMORY, Outcome.NOT_STARTED):
            return Again(0.0, share)
        if outcome == Outcome.BUSY:
            return Again(_BUSY_SECONDS, share)
        if outcome == Outcome.DISK_ERROR:
            return Again(_DISK_SECONDS, share) if task.disk_errors < _DISK_TRIES else None
        return self._after_loss(task) if outcome == Outcome.LOST else None

    def _after_loss(self, task: TrialTask) -> Again | None:
        try:
            return self._after_readable_loss(task)
        except DamagedFileError:  # the plan names it as damaged
            return None

    def _after_readable_loss(self, task: TrialTask) -> Again | None:
        """Retry a trial whose process was lost, with more of the machine from the second time on.

        A process that dies twice at one step often ran out of memory, which the kernel does not
        report; a larger share leaves fewer trials beside it.
        """
        folder, share = TrialFolder(task.folder), task.share
        larger = min(2 * share, self.largest_share)
        status = folder.read_status()
        if status and status.error and status.error.kind == "out_of_memory":
            return Again(0.0, larger) if share < self.largest_share else None
        unopened = _unopened_losses(folder, task.unopened)
        losses = folder.count_starts_without_progress() + unopened.losses
        if losses > self.retries:
            return None
        after = _UNOPENED_SECONDS if unopened.losses else 0.0
        return Again(after, larger if losses > 1 else share, unopened)


def _unopened_losses(folder: TrialFolder, before: UnopenedLosses | None) -> UnopenedLosses:
    starts = len(folder.read_starts())
    if before is None:
        return UnopenedLosses(starts, 0 if starts else 1)
    return UnopenedLosses(starts, before.losses + 1 if starts == before.starts else 0)
