"""Where a sweep's trials run, as the driver sees it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from care.system.claim import Claim
from sweeps.resources import Resources


class Pool(Protocol):
    """A Ray and the machines in it: this machine, or nodes of a SLURM cluster.

    Attributes:
        resources: A machine's part in it, and a trial's part of a machine.
    """

    resources: Resources

    @property
    def concurrency(self) -> int | None:
        """Trials side by side; None for as many as the machines of the moment can take."""

    @property
    def slots(self) -> int:
        """Trials side by side at most, once all its machines are there."""

    def start(self, log: Path) -> AbstractContextManager[Path]:
        """Have a Ray that this process is connected to, and end it afterwards.

        Args:
            log: File for what Ray and Tune have to say.

        Returns:
            Yields a scratch folder of this machine that lives as long as the Ray.
        """

    def hold(self, claim: Claim) -> None:
        """Take the driver's claim on the sweep, for files that only its driver writes."""

    def end(self, *, interrupted: bool) -> None:
        """Take note that the driver is over; the claim is still held.

        Args:
            interrupted: Whether trials may be left.
        """

    def pause_trials(self) -> None:
        """Ask every running trial to checkpoint and pause; safe in a signal handler."""

    def wants(self, trials: int) -> None:
        """Told how many trials are still to run or running, whenever that changes."""
