"""Run a sweep on this machine, with a Ray of its own that ends with the process."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from care.errors import CareError
from care.system.claim import Claim
from sweeps.backends.disk_space import check_room, watched
from sweeps.backends.ray_environment import set_ray_environment
from sweeps.backends.ray_session import connected
from sweeps.backends.scratch import LONGEST_PARENT, folder_for_ray, make_scratch, remove_scratch
from sweeps.resources import Resources
from sweeps.tune.node import Node

_log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 128 * 1024**2


class LocalBackend:
    """This machine.

    Attributes:
        resources: The sweep's share of it.
        on_full: Called when the disk of Ray's session is full.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.on_full: Callable[[], None] = lambda: None
        self._node: Node | None = None

    @property
    def concurrency(self) -> int | None:
        """Trials side by side."""
        return self.resources.concurrency

    @property
    def slots(self) -> int:
        """Trials side by side."""
        return self.resources.concurrency

    @contextlib.contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Start Ray; see :func:`local_ray`."""
        with local_ray(self.resources.cores, self.resources.machine_gpus, log) as scratch:
            self._node = Node(scratch)
            with watched(scratch, self.on_full):
                yield scratch

    def pause_trials(self) -> None:
        """Ask every running trial to checkpoint and pause."""
        if self._node:
            self._node.pause_trials()

    def hold(self, claim: Claim) -> None:
        """Ignore the claim: no file is shared with another machine."""

    def end(self, *, interrupted: bool) -> None:
        """No-op: no machine waits for another driver."""

    def wants(self, trials: int) -> None:
        """No-op: a single machine cannot scale."""


@contextlib.contextmanager
def local_ray(cores: int, gpus: int, log: Path) -> Iterator[Path]:
    """Start Ray with ``cores`` and ``gpus``; end it and remove its files afterwards.

    Args:
        cores: Cores that Ray may hand out.
        gpus: GPUs that Ray may hand out.
        log: File for the messages of Ray and Tune.

    Yields:
        A scratch folder, which is removed when Ray ends.

    Raises:
        CareError: There is no room for Ray's session, or its folder cannot be made.
    """
    # A token for this Ray only: it is not stored in the home folder, and no other Ray accepts it.
    set_ray_environment(secrets.token_hex(32))
    parent = _short_folder()
    check_room(parent, _OBJECT_STORE_BYTES)
    scratch = _scratch(parent)
    os.environ.update(Node(scratch).environment)
    settings = {
        "num_cpus": cores,
        "num_gpus": gpus,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_temp_dir": str(folder_for_ray(scratch)),
    }
    try:
        with connected("local", log, **settings):
            _check_address()
            yield scratch
    finally:
        remove_scratch(scratch)


def _check_address() -> None:
    """Warn of a Ray that other machines reach: it was imported before its settings were made."""
    import ray.util

    address = ray.util.get_node_ip_address()
    if not ipaddress.ip_address(address).is_loopback:
        _log.warning(
            f"Ray listens on {address}, protected by its token only, because this process imported "
            "ray before care. Start the sweep in a process of its own: care sweep run."
        )


def _scratch(parent: Path) -> Path:
    try:
        return make_scratch(parent)
    except OSError as error:
        raise CareError(
            f"{parent}: cannot make Ray's folder there ({error.strerror}). Name another folder in "
            f"TMPDIR ({LONGEST_PARENT} characters at most)."
        ) from error


def try_ray(log: Path) -> None:
    """Start Ray and run a task; raise Ray's error if that fails."""
    with local_ray(1, 0, log):
        import ray

        ray.get(ray.remote(_nothing).remote(), timeout=60)


def _nothing() -> None:
    """Do nothing, as a task."""


def _short_folder() -> Path:
    """Return the temporary folder, or /tmp if its path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return Path(folder if len(folder) <= LONGEST_PARENT else "/tmp")
