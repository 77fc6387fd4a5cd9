"""Signals between a machine's trials and the process that keeps its Ray, in a local folder.

The keeper asks the trials to checkpoint and pause; each trial records that it runs here. The folder
is local, because a shared one may show a new file a minute late.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from care.errors import CareError
from care.system.files import DiskError

_VARIABLE = "CARE_NODE_FOLDER"


@dataclass(frozen=True)
class Node:
    """The folder of one keeper; Ray's processes find it by an environment variable."""

    folder: Path

    @classmethod
    def of_this_process(cls) -> Node:
        """Open the node that Ray started this process on.

        Raises:
            CareError: Another user owns its folder, or can write there.
        """
        folder = Path(os.environ[_VARIABLE])
        status = folder.lstat()
        private = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        if not (stat.S_ISDIR(status.st_mode) and private):
            raise CareError(f"{folder}: not a folder that only this user can write")
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        """Environment by which Ray's processes find this node."""
        return {_VARIABLE: str(self.folder)}

    def pause_trials(self) -> None:
        """Ask every trial here to checkpoint and pause; safe in a signal handler."""
        self._stop.touch()

    def resume(self) -> None:
        """Withdraw the request to pause, for trials of another Ray."""
        self._stop.unlink(missing_ok=True)

    @property
    def pausing(self) -> bool:
        """Whether the trials were asked to pause."""
        return self._stop.exists()

    def enter(self, trial: Path) -> None:
        """Record that the trial in the folder ``trial`` runs here."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            self._trials.mkdir(exist_ok=True)
            with os.fdopen(os.open(self._trials / trial.name, flags, 0o600), "w") as file:
                file.write(str(trial))
        except OSError as error:
            raise DiskError(self._trials / trial.name, error) from error

    def leave(self, trial: Path) -> None:
        """Remove the record of a trial that ran here."""
        (self._trials / trial.name).unlink(missing_ok=True)

    def trials(self) -> list[Path]:
        """List the folders of trials that run here, or did when their process was killed."""
        return [Path(entry.read_text()) for entry in sorted(self._trials.glob("*"))]

    @property
    def _stop(self) -> Path:
        return self.folder / "stop"

    @property
    def _trials(self) -> Path:
        return self.folder / "trials"
