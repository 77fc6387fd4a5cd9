"""Run a sweep on this machine, open to others of the network: a pool without SLURM."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from care.errors import CareError
from care.system.claim import Claim
from sweeps.backends.slurm.allocation import Allocation
from sweeps.backends.slurm.backend import PoolBackend
from sweeps.backends.slurm.keeper import Keeper
from sweeps.backends.slurm.network import address_of
from sweeps.backends.slurm.preemption import Deadline
from sweeps.backends.slurm.ray_node import RayNode
from sweeps.backends.slurm.state_files import PoolFolder, Request
from sweeps.resources import Resources

_log = logging.getLogger(__name__)


class OpenBackend(PoolBackend):
    """This machine and those that join it by ``care worker``.

    Args:
        folder: The sweep's files.
        resources: The sweep's share of this machine.
        request: Written once this process drives the sweep.
    """

    def __init__(self, folder: PoolFolder, resources: Resources, request: Request) -> None:
        super().__init__(folder, resources)
        self._request = request

    @property
    def slots(self) -> int:
        """Trials side by side with one more machine like this one.

        Packs are made for so many: else this machine would take all trials of a small sweep.
        """
        return 2 * self.resources.concurrency

    def hold(self, claim: Claim) -> None:
        """Write the files of the pool, now that no other driver has it."""
        self.folder.prepare(self._request)
        super().hold(claim)

    @contextlib.contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start Ray's head, and join it with this machine's share."""
        with super().start(log) as scratch, self._this_machine():
            yield scratch

    @contextlib.contextmanager
    def _this_machine(self) -> Iterator[None]:
        cluster, resources = self._request.cluster, self.resources
        devices = {} if resources.machine_gpus else {"CUDA_VISIBLE_DEVICES": ""}
        given = Allocation(resources.cores, resources.machine_gpus, None, devices)
        deadline = Deadline(None, cluster.grace_seconds)
        name = f"{socket.gethostname()}-{os.getpid()}"
        ray_log = self.folder.jobs / f"ray-worker-{name}.log"
        address = address_of(cluster.interface)
        with RayNode(
            cluster.scratch, address, self.folder.token, ray_log, self._request.code
        ) as ray:
            keeper = Keeper(self.folder, name, ray, deadline, cluster, given)
            thread = threading.Thread(target=_run, args=(keeper,), name="keeper", daemon=True)
            thread.start()
            try:
                yield
            finally:
                deadline.end()
                thread.join()
                self.folder.remove_worker(name)


def _run(keeper: Keeper) -> None:
    try:
        keeper.run()
    except (CareError, OSError) as error:
        _log.warning("This machine trains no more trials of this run (%s)", error)
