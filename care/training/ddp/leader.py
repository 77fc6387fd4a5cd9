"""All the other processes of a trial, which rank 0 leads."""

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
# From an operation that failed because a follower was lost until that is known.
_SECONDS_TO_HEAR = 5.0


class Followers:
    """The processes beside this one; there are none before the first :meth:`lead`.

    Args:
        config: The trial; ``runtime.processes`` says how many train it.
        folder: Its folder.
        device: Where this process trains.
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
        """Train an epoch, or what is left of it, together.

        Args:
            train: This process's part. The first one begins at the folder's newest checkpoint,
                each one after it where the one before ended.

        Raises:
            LostFollowerError: A follower has ended; what ``train`` did is worth nothing.
            MemoryError: One had no memory left; likewise.
        """
        if self._size == 1:
            return train()
        try:
            if not self._processes:
                self._start()
            for process in self._processes:
                process.order(EPOCH)
            done = train()
        except Exception as error:
            self._blame(error)
            raise
        self.check()
        return done

    def check(self) -> None:
        """Raise what :meth:`lead` would if a follower has ended; before something is saved."""
        if self._loss:
            raise self._loss

    def close(self) -> None:
        """End the followers, if there are any, between epochs; :meth:`lead` starts new ones."""
        if not self._processes:
            return
        for process in self._processes:
            process.release()
        # NCCL is left by all at once.
        leave()
        for process in self._processes:
            process.end(at_once=False)
        self._forget()

    def kill(self) -> None:
        """End the followers, if there are any, whatever they do."""
        if not self._processes:
            return
        for process in self._processes:
            process.end(at_once=True)
        leave(broken=True)
        self._forget()

    def _forget(self) -> None:
        self._processes = []
        self._folder_to_meet.cleanup()

    def _start(self) -> None:
        self._ready = 0
        # Processes read there when this one has joined already, and NCCL when it first sends.
        self._folder_to_meet = tempfile.TemporaryDirectory(prefix="care-")
        meeting = Path(self._folder_to_meet.name) / "meeting"
        for rank in range(1, self._size):
            told = self._assignment(rank, meeting)
            self._processes.append(FollowerProcess(told, self._on_ready, self._on_loss))
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

    def _on_loss(self, loss: Exception) -> None:
        with self._changed:
            if self._loss:  # the others fall with the first
                return
            self._loss = loss
            self._changed.notify_all()
        abort()

    def _blame(self, error: Exception) -> None:
        """Raise a follower's loss in place of the error that it caused."""
        if classify(error) == "error":
            with self._changed:
                self._changed.wait_for(lambda: self._loss, _SECONDS_TO_HEAR)
        if self._loss and error is not self._loss:
            raise self._loss from error
