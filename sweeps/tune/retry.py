"""Whether a trial that is not over gets another try, when, and with how much of a machine.

What is counted is tries without progress, which the trial's own log of starts tells: a node may be
pre-empted any number of times, but a trial that kills its process at one and the same place is
given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from care.system.files import DamagedFileError
from care.trials.folder import TrialFolder

_DRAINING_SECONDS = 1.0
_BUSY_SECONDS = 5.0
_DISK_SECONDS = 10.0
# A file server may be away for a while; a full disk needs a person, who reads of it meanwhile.
_DISK_TRIES = 90
# A machine whose memory is full may have room a little later.
_UNOPENED_SECONDS = 5.0


@dataclass(frozen=True)
class Unopened:
    """Losses of a trial's process before it had opened the trial, in a row.

    Attributes:
        starts: Lines of the trial's log of starts at the last loss.
        losses: Losses since that log grew.
    """

    starts: int
    losses: int


@dataclass(frozen=True)
class Again:
    """Another try.

    Attributes:
        after: Seconds to wait.
        share: Factor on the trial's part of a machine.
        unopened: What the next decision needs to know of the losses so far.
    """

    after: float
    share: int
    unopened: Unopened | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Decides about another try.

    Attributes:
        retries: Tries without progress after the first one.
        largest_share: Factor at which a trial shares its GPU, or machine, with no other.
    """

    retries: int
    largest_share: int

    def __call__(self, task: dict[str, Any], outcome: str | None) -> Again | None:
        """What becomes of a task whose try has ended; None when it is over.

        Args:
            task: As the trainable took it.
            outcome: What the trainable said last; None when its process was lost, by an accident
                or because its memory was full.
        """
        share = task["share"]
        if outcome == "paused":
            return Again(_DRAINING_SECONDS, share)
        if outcome in ("crowded", "unpacked"):
            return Again(0.0, share)
        if outcome == "busy":
            return Again(_BUSY_SECONDS, share)
        if outcome == "disk":
            return Again(_DISK_SECONDS, share) if task["tries"] < _DISK_TRIES else None
        return None if outcome else self._after_loss(task)

    def _after_loss(self, task: dict[str, Any]) -> Again | None:
        try:
            return self._after_known_loss(task)
        except DamagedFileError:  # the plan names it as damaged
            return None

    def _after_known_loss(self, task: dict[str, Any]) -> Again | None:
        """Retry a trial whose process was lost, with more of the machine from the second time on.

        What kills a process at one place twice is often the memory, which the kernel does not
        report; a larger share leaves fewer trials beside it.
        """
        folder, share = TrialFolder(Path(task["folder"])), task["share"]
        larger = min(2 * share, self.largest_share)
        status = folder.read_status()
        if status and status.error and status.error.kind == "out_of_memory":
            return Again(0.0, larger) if share < self.largest_share else None
        unopened = _unopened(folder, task.get("unopened"))
        losses = folder.count_starts_without_progress() + unopened.losses
        if losses > self.retries:
            return None
        after = _UNOPENED_SECONDS if unopened.losses else 0.0
        return Again(after, larger if losses > 1 else share, unopened)


def _unopened(folder: TrialFolder, before: Unopened | None) -> Unopened:
    starts = len(folder.read_starts())
    if before is None:
        return Unopened(starts, 0 if starts else 1)
    return Unopened(starts, before.losses + 1 if starts == before.starts else 0)
