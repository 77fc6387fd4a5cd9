"""Write ``status.json`` regularly, in a thread of the driver."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

from care.system.claim import LostClaimError
from care.system.files import DiskError
from sweeps.backends.slurm.backend import PoolBackend
from sweeps.backends.slurm.state_files import Best, PoolStatus
from sweeps.live import describe_left_out
from sweeps.progress import Board

_SECONDS = 2.0


class StatusFile:
    """Keeps ``status.json`` up to date while entered.

    Args:
        board: The sweep's trials.
        backend: Its workers.
    """

    def __init__(self, board: Board, backend: PoolBackend) -> None:
        self._board, self._backend = board, backend
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="status", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def _keep(self) -> None:
        self._write()
        while not self._over.wait(_SECONDS):
            self._write()

    def _write(self) -> None:
        # If the shared folder is unavailable, the next update writes it.
        with contextlib.suppress(DiskError, LostClaimError):
            self._backend.folder.write_status(self._status())

    def _status(self) -> PoolStatus:
        board = self._board
        best = board.best_point()
        return PoolStatus(
            at=time.time(),
            node=socket.gethostname(),
            counts=board.counts(),
            running=tuple(board.running()),
            metric=board.metric.name,
            column=board.column,
            best=None
            if best.point is None or best.mean is None
            else Best(point=best.point[1], mean=best.mean, n=len(best.seeds)),
            left_out=describe_left_out(best),
            seconds_left=board.seconds_left(),
            workers=tuple(self._backend.queued),
            joined=tuple(self._backend.joined),
        )
