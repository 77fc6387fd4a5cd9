"""The machines that a sweep's trials run on, as the driver sees them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from care.system.claim import Claim
from sweeps.resources import Resources


class Backend(Protocol):
    """A Ray cluster: this machine, or nodes of a SLURM cluster.

    Attributes:
        resources: Of one machine, and a trial's part of them.
    """

    resources: Resources

    @property
    def concurrency(self) -> int | None:
        """Most trials side by side; None for as many as the present machines can take."""

    @property
    def slots(self) -> int:
        """Most trials side by side once all machines have joined."""

    def start(self, log: Path) -> AbstractContextManager[Path]:
        """Start Ray and connect this process to it; stop Ray on leaving.

        Args:
            log: File for the messages of Ray and Tune.

        Returns:
            Yields a scratch folder of this machine that lives as long as the Ray.
        """

    def hold(self, claim: Claim) -> None:
        """Keep the driver's claim on the sweep, for files that only its driver writes."""

    def end(self, *, interrupted: bool) -> None:
        """Record that the driver has ended; the claim is still held.

        Args:
            interrupted: Whether an interrupt ended it, so that trials may be missing.
        """

    def pause_trials(self) -> None:
        """Ask every running trial to checkpoint and pause; safe in a signal handler."""

    def wants(self, trials: int) -> None:
        """Adapt to the number of trials that are left; called whenever it changes."""
