"""One trial in the process that trains it, alone or with others of its pack."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from care.config import TrialConfig
from care.data.shared_batches import SharedBatches
from care.system.claim import Claim, LostClaimError
from care.system.files import DamagedFileError
from care.training.trial_run import TrialRun
from care.trials.folder import TrialFolder
from care.trials.state import State
from sweeps.event_log import RungEntry, created
from sweeps.tune.node import Node


class Member:
    """A trial that this process has claimed, or tried to.

    Args:
        task: ``trial_id``, ``tree`` (a dumped :class:`TrialConfig`), ``folder`` and ``replay``
            (whether epochs that are done are reported again, which a scheduler needs).
        node: Where this process runs.

    Attributes:
        trial_id: Its identity.
        replayed: Epochs that are still to be reported again.
    """

    def __init__(self, task: dict[str, Any], node: Node) -> None:
        self.trial_id = str(task["trial_id"])
        self.replayed: list[dict[str, Any]] = []
        self._config = TrialConfig.model_validate(task["tree"])
        self._folder = TrialFolder(Path(task["folder"]))
        self._replay = bool(task["replay"])
        self._node = node
        self._warnings: list[str] = []
        self._claim: Claim | None = None
        self._run: TrialRun | None = None
        self._created = ""

    @property
    def run(self) -> TrialRun:
        """Its run, once it is open."""
        assert self._run is not None
        return self._run

    def open(self, shared: SharedBatches | None = None) -> bool:
        """Claim and open it; False when it is somebody else's.

        Args:
            shared: Shared with the other members of a pack.
        """
        self._claim = Claim.take(self._folder.path)
        if self._claim is None:
            return False
        self._node.enter(self._folder.path)
        self._folder = TrialFolder(self._folder.path, self._claim)
        run = TrialRun(self._config, self._folder, self._warnings.append, shared)
        if self._replay:
            # A finished trial's last epoch is reported with its final measures, not before.
            done = self._folder.read_metrics()
            self.replayed = done[:-1] if run.finished else done
        self._run = run
        self._created = created(self._folder)
        return True

    @property
    def superseded(self) -> bool:
        """Whether another process has taken the trial over from this one."""
        try:
            self._folder.writer.check()
        except LostClaimError:
            return True
        return False

    def finished_line(self) -> dict[str, Any]:
        """The last epoch of a trial that is finished, with its measures."""
        return {**self._folder.read_metrics()[-1], **(self._folder.read_evaluation() or {})}

    def is_stopped(self, stopped: Mapping[str, RungEntry]) -> bool:
        """Return whether the scheduler ended the trial that lies in the folder now."""
        entry = stopped.get(self.trial_id)
        return entry is not None and entry.created == self._created

    def close(self) -> None:
        """Release it, wherever it stands."""
        if self._claim is None:
            return
        try:
            self._pause()
        finally:
            self._claim.release()
            self._node.leave(self._folder.path)
            self._run = self._claim = None

    def _pause(self) -> None:
        # A damaged status is named by the next plan.
        with contextlib.suppress(LostClaimError, DamagedFileError):
            status = self._folder.read_status()
            if self._run is not None and status and status.state == State.RUNNING:
                self._run.pause()

    def put_back(self) -> None:
        """Release a trial that ran out of memory and mark it paused, so that it is resumed."""
        status = self._folder.read_status()
        epoch = status.epoch if status else 0
        with contextlib.suppress(LostClaimError):
            self._folder.write_status(State.PAUSED, epoch, self._config.training.epochs)
        self.close()

    def tell(self, outcome: str, line: dict[str, Any] | None = None) -> dict[str, Any]:
        """A result about it."""
        warnings, self._warnings = self._warnings, []
        news = {"outcome": outcome, "done": outcome != "running", "warnings": warnings}
        return {**(line or {}), **news, "trial_id": self.trial_id, "created": self._created}
