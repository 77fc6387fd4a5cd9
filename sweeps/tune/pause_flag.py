"""The request to pause, as a process that trains polls it, and how often such a process reports."""

from __future__ import annotations

import time

from sweeps.tune.node import Node

PAUSING_SECONDS = 0.5
"""The wait before a trial is returned unopened to a node that pauses."""
REPORT_SECONDS = 1.0
"""Short epochs are reported together, about once in this time."""
_STOP_POLL_SECONDS = 0.25


class PauseFlag:
    """Reports whether the trials of a node should checkpoint and pause, checked now and then."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._checked_at = 0.0
        self._pausing = False

    def __call__(self) -> bool:
        """Return whether they should."""
        if not self._pausing and time.monotonic() - self._checked_at > _STOP_POLL_SECONDS:
            self._pausing = self._node.pausing
            self._checked_at = time.monotonic()
        return self._pausing
