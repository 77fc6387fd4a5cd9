"""The trials of a launch that users hold and release while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from care.trials.identity import identities
from sweeps.holds import HoldWatch
from sweeps.progress import Board
from sweeps.tune.messages import TrialTask
from sweeps.tune.queue import TaskQueue

_log = logging.getLogger(__name__)


class HeldTrials:
    """Sets held trials aside in the queue and shows them on the board.

    A trial that trains reads the wish itself and pauses (:mod:`sweeps.tune.trial_actor`).

    Args:
        watch: Reads the sweep's holds.
        board: Shows the trials.
        queue: The tasks of the launch.
        changed: Called with the identity of each trial that changed.
    """

    def __init__(
        self, watch: HoldWatch, board: Board, queue: TaskQueue, changed: Callable[[str], None]
    ) -> None:
        self._watch, self._board, self._queue, self._changed = watch, board, queue, changed
        self._shown: set[str] = set()
        watch.look()
        board.is_held = lambda group, seed: watch.of(group, seed) is not None
        queue.is_held = self._is_held

    def look(self) -> None:
        """Follow the wishes of users since the last call."""
        if self._watch.look():
            self._queue.sort_held()
        elif self._queue.set_aside == self._shown:
            return
        self._shown = self._queue.set_aside
        for identity in self._board.sort_held(self._shown):
            self._changed(identity)
            config = self._board.configs[identity]
            hold = self._watch.of(identities(config)[1], config.seed)
            word = f"held {hold.wish}" if hold else "released"
            _log.info("%s: %s", self._board.trials[identity].label, word)

    def _is_held(self, task: TrialTask) -> bool:
        return self._watch.of(task.group_id, task.config.seed) is not None
