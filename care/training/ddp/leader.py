"""Start, lead and end the other processes of a trial from rank 0."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from care.config import TrialConfig
from care.distributed.group import Group
from care.distributed.rendezvous import abort, join, leave
from care.training.ddp.assignment import Assignment
from care.training.ddp.process import EPOCH, FollowerProcess
from care.trials.failure import classify

T = TypeVar("T")
# A lost follower makes an operation fail first; its loss is known within this time.
_DEATH_SECONDS = 5.0


class Followers:
    """The other processes of a trial, started by the first :meth:`lead`.

    Args:
        config: The trial; ``runtime.processes`` is the number of processes.
        folder: The trial's folder.
        device: Device of this process.
        threads: CPU threads of each process.
    """

    def __init__(
        self, config: TrialConfig, folder: Path, device: torch.device, threads: int
    ) -> None:
        self._config, self._folder = config, folder
        self._device, self._threads = device, threads
        self._size = config.runtime.processes
        self._processes: list[FollowerProcess] = []
        self._loss: Exception | None = None
        self._changed = threading.Condition()
        self._ready = 0

    def lead(self, train: Callable[[], T]) -> T:
        """Train an epoch, or the rest of one, together with the followers.

        Args:
            train: This process's part. The first call starts at the folder's newest checkpoint,
                each later one at the end of the last.

        Raises:
            LostFollowerError: A follower has ended; the result of ``train`` is invalid.
            MemoryError: A follower ran out of memory; the result of ``train`` is invalid.
        """
        if self._size == 1:
            return train()
        try:
            if not self._processes:
                self._start()
            for process in self._processes:
                process.order(EPOCH)
            result = train()
        except Exception as error:
            self._raise_cause(error)
            raise
        self.check()
        return result

    def check(self) -> None:
        """Check, before anything is saved, that no follower has ended.

        Raises:
            LostFollowerError: A follower has ended.
            MemoryError: A follower ran out of memory.
        """
        if self._loss:
            raise self._loss

    def close(self) -> None:
        """End all followers between epochs; :meth:`lead` starts new ones."""
        if not self._processes:
            return
        for process in self._processes:
            process.release()
        # NCCL requires that all processes leave together.
        leave()
        for process in self._processes:
            process.end(at_once=False)
        self._clear()

    def kill(self) -> None:
        """Kill all followers, even within a step."""
        if not self._processes:
            return
        for process in self._processes:
            process.end(at_once=True)
        leave(broken=True)
        self._clear()

    def _clear(self) -> None:
        self._processes = []
        self._rendezvous_folder.cleanup()

    def _start(self) -> None:
        self._ready = 0
        # Kept until the end: followers read it after this process has joined, and NCCL at its
        # first message.
        self._rendezvous_folder = tempfile.TemporaryDirectory(prefix="care-")
        meeting = Path(self._rendezvous_folder.name) / "meeting"
        for rank in range(1, self._size):
            assignment = self._assignment(rank, meeting)
            self._processes.append(FollowerProcess(assignment, self._on_ready, self._on_death))
        with self._changed:
            self._changed.wait_for(lambda: self._loss or self._ready == self._size - 1)
        self.check()
        join(Group(0, self._size), meeting, self._device)

    def _assignment(self, rank: int, meeting: Path) -> Assignment:
        return Assignment(
            config=self._config.model_dump_json(),
            folder=str(self._folder.absolute()),
            rendezvous=str(meeting),
            rank=rank,
            size=self._size,
            threads=self._threads,
        )

    def _on_ready(self) -> None:
        with self._changed:
            self._ready += 1
            self._changed.notify_all()

    def _on_death(self, loss: Exception) -> None:
        with self._changed:
            if self._loss:  # later losses follow from the first
                return
            self._loss = loss
            self._changed.notify_all()
        abort()

    def _raise_cause(self, error: Exception) -> None:
        """Raise a follower's loss instead of the error that it caused here."""
        if classify(error) == "error":
            with self._changed:
                self._changed.wait_for(lambda: self._loss, _DEATH_SECONDS)
        if self._loss and error is not self._loss:
            raise self._loss from error
