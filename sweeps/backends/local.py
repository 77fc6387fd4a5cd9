"""A Ray of this process's own on this machine: nobody else's is joined, and none is left behind."""

from __future__ import annotations

import contextlib
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

_OBJECT_STORE_BYTES = 128 * 1024**2


class LocalBackend:
    """This machine.

    Attributes:
        resources: What of it the sweep gets.
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
        """The same."""
        return self.resources.concurrency

    @contextlib.contextmanager
    def start(self, log: Path) -> Iterator[Path]:
        """Have a Ray of this process's own; see :func:`local_ray`."""
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
        """A machine is as large as it is."""


@contextlib.contextmanager
def local_ray(cores: int, gpus: int, log: Path) -> Iterator[Path]:
    """Start Ray with ``cores`` and ``gpus``; end it and remove its files afterwards.

    Args:
        cores: Cores that Ray may hand out.
        gpus: GPUs likewise.
        log: File for what Ray and Tune have to say; the terminal is for the sweep's own table.

    Yields:
        A scratch folder that lives as long as this Ray.

    Raises:
        CareError: There is no room for Ray's session, or its folder cannot be made.
    """
    # A token of this Ray's own: none is left in the home folder, and no other Ray accepts it.
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
            yield scratch
    finally:
        remove_scratch(scratch)


def _scratch(parent: Path) -> Path:
    try:
        return make_scratch(parent)
    except OSError as error:
        raise CareError(
            f"{parent}: cannot make Ray's folder there ({error.strerror}). Name another folder in "
            f"TMPDIR ({LONGEST_PARENT} characters at most)."
        ) from error


def try_ray(log: Path) -> None:
    """Raise whatever Ray raises if it cannot start here and run a task."""
    with local_ray(1, 0, log):
        import ray

        ray.get(ray.remote(_nothing).remote(), timeout=60)


def _nothing() -> None:
    """A task."""


def _short_folder() -> Path:
    """The temporary folder, or /tmp where its path would be too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return Path(folder if len(folder) <= LONGEST_PARENT else "/tmp")
