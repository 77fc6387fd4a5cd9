"""A sweep's folder that waits for its disk instead of losing a decision."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from care.system.files import DiskError
from sweeps.store import SweepFolder

_PAUSE_SECONDS = 5.0
_TRIES = 180


class PatientFolder(SweepFolder):
    """Writes its log again while the disk is full or away, for a quarter of an hour.

    The driver has nothing more urgent to do: the trials wait for the disk as well.

    Args:
        folder: The sweep's.
        stopping: Returns whether there is no time to wait.
        say: Called with a line for the user.
    """

    def __init__(
        self, folder: SweepFolder, stopping: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        super().__init__(folder.path, folder.writer)
        self._stopping, self._say = stopping, say

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves a scheduler for its own restore, which is never used."""
        return {}

    def log(self, event: dict[str, Any]) -> None:
        """Append a decision before it takes effect.

        Raises:
            LostClaimError: Another driver has taken the sweep over.
            DiskError: The disk did not come back.
        """
        for attempt in range(_TRIES):
            try:
                return super().log(event)
            except DiskError as error:
                if self._stopping():
                    raise
                if attempt == 0:
                    self._say(f"{error} It is tried again every few seconds.")
                time.sleep(_PAUSE_SECONDS)
        return super().log(event)
